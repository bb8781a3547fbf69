"""The command `streamlit-crdt` with the subcommands demo, run, serve, token and repair.

A wrong argument or setting prints one sentence that says what to do, and exits with code 2 before anything starts.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import re
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

from streamlit_crdt.backend.default_store import DEFAULT_FILE, is_store_configured
from streamlit_crdt.errors import CommandError, CrdtError
from streamlit_crdt_server import PortTakenError, Role, ServerError, Settings, mint, serve, standalone_ring
from streamlit_crdt_server.names import ANY_ROOM, check_room_name
from streamlit_crdt_server.storage.repair import inspect_store, repair_store
from streamlit_crdt_server.storage.store_url import store_path

EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
EXIT_NOT_REPAIRED = 1

RUN_USAGE = """usage: streamlit-crdt run SCRIPT [streamlit options] [-- script arguments]

Run a Streamlit script with the room server on the same port, under /crdt.
All options of 'streamlit run' are accepted, for example --server.port 8502; see  streamlit run --help
STREAMLIT_CRDT_* variables configure the room server; see  streamlit-crdt serve --help  for their names."""


_NO_OPTION = ("secret",)
"""Settings without an option: other users of the machine can read a program's arguments."""

_SERVE_DEFAULTS: dict[str, Any] = {"store": DEFAULT_FILE}
"""Defaults of the command that differ from those of the library, which writes no file by default."""

_TOKEN_PARSER: dict[str, Any] = {
    "description": "Print a token for a room, signed with the secret of the room server: --secret-file, "
    "STREAMLIT_CRDT_SECRET, or this user's key file. The token is valid for every holder until it expires.",
    "formatter_class": argparse.ArgumentDefaultsHelpFormatter,
    "allow_abbrev": False,
}


_REPAIR_PARSER: dict[str, Any] = {
    "description": "List what can be read of a store file and what is lost, then ask before anything is changed. "
    "The repair writes a new file with everything that can be read, and keeps the damaged files beside it.",
    "allow_abbrev": False,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if words[:1] == ["run"]:  # Streamlit's parser handles the other arguments
            return _run(words[1:])
        chosen = _parser().parse_args(words)
        command: Callable[[argparse.Namespace], int] = chosen.start
        return command(chosen)
    except (CrdtError, ServerError) as error:
        print(f"streamlit-crdt: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


class _Parser(argparse.ArgumentParser):
    """A parser that raises its errors as CommandError."""

    def error(self, message: str) -> NoReturn:
        raise CommandError(f"{message}; see  {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="streamlit-crdt",
        description="Use one Streamlit app with several people at the same time.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"streamlit-crdt {_version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser(
        "demo", help="open the demo app with an embedded room server", allow_abbrev=False
    )
    demo.add_argument("--port", type=int, help="port of the app (default: 8501, or the next free port)")
    demo.set_defaults(start=_demo)

    commands.add_parser("run", help="run a script with the room server on the same port")

    server = commands.add_parser(
        "serve",
        help="run the stand-alone room server",
        description="Run the stand-alone room server. Each option can also be set by a variable: "
        "--max-rooms by STREAMLIT_CRDT_MAX_ROOMS, and so on.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    _add_settings(server)
    server.set_defaults(start=_serve)
    _add_token(commands.add_parser("token", help="print a token for another client", **_TOKEN_PARSER))
    _add_repair(commands.add_parser("repair", help="repair a damaged store file", **_REPAIR_PARSER))
    return parser


def _version() -> str:
    return importlib.metadata.version("streamlit-crdt")


def _demo(chosen: argparse.Namespace) -> int:
    _require_streamlit()
    from streamlit_crdt.deploy.launch import demo

    return demo(port=chosen.port)


def _run(words: Sequence[str]) -> int:
    if words[:1] in (["--help"], ["-h"]):
        print(RUN_USAGE)
        return 0
    _require_streamlit()
    from streamlit_crdt.deploy.launch import run

    return run(words)


def _require_streamlit() -> None:
    """Raise StreamlitTooOldError before `launch` imports names that an older Streamlit lacks."""
    from streamlit_crdt._compat import require_streamlit

    require_streamlit()


def _serve(chosen: argparse.Namespace) -> int:
    given = {name: value for name, value in vars(chosen).items() if name != "start"}
    settings = Settings.load(**(given if is_store_configured() else _SERVE_DEFAULTS | given))
    try:
        asyncio.run(serve(settings))
    except PortTakenError as error:
        raise CommandError(
            f"port {error.port} on {error.host} is in use by another program: stop that program or choose another "
            f"port with --{error.setting.replace('_', '-')}."
        ) from error
    return 0


def _add_token(parser: argparse.ArgumentParser) -> None:
    rooms = parser.add_mutually_exclusive_group(required=True)
    rooms.add_argument("room", nargs="?", metavar="ROOM", help="room of the token")
    rooms.add_argument("--all-rooms", action="store_true", help="allow every room, with the same role")
    parser.add_argument("--role", choices=[str(role) for role in Role], default=str(Role.VIEWER))
    parser.add_argument(
        "--user", required=True, help="name of the user: shown to others, and counted by the server's limits"
    )
    parser.add_argument("--ttl-s", type=float, default=3600.0, metavar="N", help="seconds until it expires")
    parser.add_argument("--secret-file", metavar="FILE", help="file with the secret of the room server")
    parser.set_defaults(start=_token)


def _token(chosen: argparse.Namespace) -> int:
    given = {} if chosen.secret_file is None else {"secret_file": chosen.secret_file, "secret": ()}
    room = ANY_ROOM if chosen.all_rooms else check_room_name(chosen.room)
    try:
        token = mint(
            standalone_ring(Settings.load(**given)),
            rooms={room: Role(chosen.role)},
            user=chosen.user,
            name=chosen.user,
            session=f"cli-{secrets.token_hex(8)}",
            ttl_s=chosen.ttl_s,
            now=time.time(),
        )
    except ServerError:
        raise
    except ValueError as error:
        raise CommandError(f"the token could not be signed: {error}.") from error
    print(token)
    return 0


def _add_repair(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("store", metavar="FILE", help="store file; no process may use it")
    parser.add_argument("--yes", action="store_true", help="repair without a question")
    parser.set_defaults(start=_repair)


def _repair(chosen: argparse.Namespace) -> int:
    name = store_path(chosen.store)
    if name is None:
        raise CommandError("a store in memory has no file to repair.")
    path = Path(name)
    try:
        findings = inspect_store(path)
        print("\n".join(findings.describe()))
        if not findings.needs_repair:
            return 0
        if not (chosen.yes or _confirm("Write a new file with what can be read? [y/N] ")):
            print("Nothing was changed.")
            return EXIT_NOT_REPAIRED
        kept = repair_store(path)
    except ServerError:
        raise
    except OSError as error:
        raise CommandError(f"{path} cannot be repaired: {error.strerror or error}.") from error
    print(f"{path} is repaired. The damaged files are kept as {kept}*")
    return 0


def _confirm(question: str) -> bool:
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """Add an option for each setting. An option that is not given is absent from the result."""
    descriptions = _descriptions()
    for field in fields(Settings):
        if field.name in _NO_OPTION:
            continue
        option = "--" + field.name.replace("_", "-")
        default = _SERVE_DEFAULTS.get(field.name, field.default)
        text = f"{descriptions.get(field.name, '')} (default: {_format_default(default)})".replace("%", "%%")
        parser.add_argument(option, help=text.strip(), **_argument_type(str(field.type)))


def _argument_type(annotation: str) -> dict[str, Any]:
    if annotation == "bool":
        return {"action": argparse.BooleanOptionalAction}
    if annotation.startswith("tuple"):
        return {"action": "append", "metavar": "VALUE"}
    annotation = annotation.removesuffix(" | None")
    kinds: dict[str, type] = {"int": int, "float": float}
    return {"type": kinds.get(annotation, str), "metavar": "N" if annotation in kinds else "VALUE"}


def _format_default(default: object) -> str:
    return "none" if default is None or default == () else str(default)


def _descriptions() -> dict[str, str]:
    """Return the description of each setting, from the Attributes section of the docstring of `Settings`."""
    _, _, attributes = (Settings.__doc__ or "").partition("Attributes:")
    entries = re.findall(r"^ +(\w+): (.*(?:\n {12}.*)*)", attributes, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}
