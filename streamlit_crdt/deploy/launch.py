"""Start of Streamlit for `streamlit-crdt demo` and `streamlit-crdt run`.

Streamlit's command line parses Streamlit's options, because their names and types are defined there. Streamlit is
started by its public entry points: `streamlit run` for the demo, and `st.App.run()` for a mounted room server.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import streamlit as st
from click.core import ParameterSource
from streamlit import config

from streamlit_crdt._compat import command_line, load_config, makes_its_own_app
from streamlit_crdt.backend.default_store import VARIABLE, check_unlocked, resolve_store
from streamlit_crdt.deploy.asgi import crdt_app
from streamlit_crdt.errors import CommandError

DEMO_SCRIPT = Path(__file__).parent / "demo" / "app.py"

DEMO_WELCOME = """
  streamlit-crdt demo: open the address below in two browser windows, side by side.
  Move a filter, type a note or count a cup in one window, and watch the other.
"""


def demo(*, port: int | None = None) -> int:
    """Run the demo with `streamlit run` and an embedded room server. Return the exit code."""
    # No questions at the first start: no prompt for an e-mail address, no usage statistics.
    options = ["--server.showEmailPrompt=false", "--browser.gatherUsageStats=false"]
    if port is not None:
        _require_free_port(port, "--port")
        options.append(f"--server.port={port}")
    # Rooms in memory: a store file would be written beside the script, in the installed package.
    os.environ.setdefault(VARIABLE, "memory")
    print(DEMO_WELCOME, flush=True)
    command_line().main(
        args=["run", str(DEMO_SCRIPT), *options], prog_name="streamlit", standalone_mode=False
    )
    return 0


def run(words: Sequence[str]) -> int:
    """Run a script as `streamlit run` does, with the room server mounted on the same port. Return the exit code."""
    target, options, script_arguments = _parse(words)
    script = _script(target)
    # Streamlit looks for .streamlit/config.toml and pages/ beside argv[0].
    sys.argv = [str(script), *script_arguments]
    # st.App() sets the path of the script, and with it that of config.toml. Then load_config reads the settings once,
    # together with the options. crdt_app() reads some of them, and Streamlit warns if [server] changes after a read.
    st.App(script)
    load_config(options)
    store = resolve_store(script.parent)
    app = st.App(script, **crdt_app(store=store))
    check_unlocked(store)
    if config.is_manually_set("server.port"):
        _require_free_port(
            config.get_option("server.port"), "--server.port", config.get_option("server.address")
        )
    app.run(config=options)
    return 0


def _parse(words: Sequence[str]) -> tuple[str, dict[str, Any], list[str]]:
    """Split the arguments into the script, the given Streamlit options, and the script's own arguments."""
    try:
        context = command_line().main_run.make_context("streamlit-crdt run", list(words))
    except click.UsageError as error:
        raise CommandError(f"{error.format_message()} See  streamlit run --help") from error
    except SystemExit as error:  # Streamlit rejects a secret on the command line by SystemExit
        raise CommandError(str(error)) from error
    names = {option.name: option.opts[0].removeprefix("--") for option in context.command.params}
    options = {
        names[name]: value
        for name, value in context.params.items()
        if name not in ("target", "args")
        and context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    return context.params["target"], options, list(context.params["args"])


def _script(target: str) -> Path:
    if "://" in target:
        raise CommandError(f"{target} is a URL: download the script and give its path.")
    path = Path(target)
    if path.is_dir():
        path = path / "streamlit_app.py"
    if not path.is_file():
        raise CommandError(f"file {path} does not exist: give the path of a Streamlit script.")
    if path.suffix not in (".py", ".py3"):
        raise CommandError(
            f"{path} is not a Python file: give the path of a Streamlit script that ends in .py."
        )
    if makes_its_own_app(path):
        raise CommandError(
            f"{path} creates its own ASGI app: pass **crdt_app() to its st.App and start it with  streamlit run {path}"
        )
    return path.resolve()


def _require_free_port(port: int, option: str, address: str | None = None) -> None:
    """Raise CommandError if the port cannot be bound."""
    try:
        family = socket.AF_INET6 if address and ":" in address else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address or "", port))
    except OverflowError as error:
        raise CommandError(f"{port} is not a port: give one from 1 to 65535 with {option}.") from error
    except OSError as error:
        is_taken = error.errno == errno.EADDRINUSE
        reason = "is in use by another program" if is_taken else f"cannot be opened ({error.strerror})"
        raise CommandError(
            f"port {port} {reason}: stop that program or choose another port with {option}."
        ) from error
