"""What can be set about a room server, and where a setting comes from.

Arguments win over `STREAMLIT_CRDT_*` variables, and those over the defaults. A misspelt variable is an error
instead of being ignored, because a limit that silently does not apply is found out on the day it was needed.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from streamlit_crdt_server.errors import SettingsError
from streamlit_crdt_server.names import NAMESPACE_PATTERN
from streamlit_crdt_server.storage.store_url import store_path

PREFIX = "STREAMLIT_CRDT_"

READ_BY_OTHERS = ("SERVER", "DEBUG", "DEMO_", "E2E_", "TEST_", "BENCH_")
"""Beginnings of variables with our prefix that belong to the Streamlit side and its tests."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one room server; `load()` also reads the environment.

    Attributes:
        host: Address to listen on. Anything but loopback lets other machines in.
        port: Port to listen on; 0 picks a free one.
        store: The file to keep rooms in, as a path or `sqlite:///path`; None or `memory` keeps them in memory
            until the server stops.
        namespace: Of the app's rooms, so that several apps can share a server or a file and each has rooms of
            its own; 1 to 64 of the characters A-Z a-z 0-9 . _ - . Empty: none.
        freeze_gc: Take what is loaded at start out of the garbage collector's sight (see `freeze`).
        require_token: Whether a connection needs a token. Without one anybody who can reach the port can read
            and write every room.
        secret: Secrets that tokens are signed with, at least 16 characters each: the first signs, all verify.
        secret_file: A file with one such secret per line, instead of `secret`.
        allow_origin: Origins, as `scheme://host[:port]`, whose pages may connect besides the server's own;
            `*` is any.
        max_frame_bytes: A larger frame closes its connection with 4413.
        max_awareness_bytes: The same for what one awareness frame carries.
        max_state_vector_bytes: The same for a state vector.
        max_presences_per_connection: How many client ids one connection may announce.
        max_backlog_bytes_per_peer: A peer that lets more than this wait for it is closed, and resyncs.
        max_inbox_bytes_per_room: With more than this waiting to be applied, a room stops reading its sockets.
        warn_room_bytes: A larger document is written about in the log.
        max_room_bytes: A larger document is read-only: who edits it is told with 4414.
        max_messages_per_s_per_connection: A connection that sends more, on average over ten seconds, is closed
            with 4303.
        max_bytes_per_s_per_connection: The same for what its frames hold.
        max_connections_per_room: Further connections are refused.
        max_connections_per_user: The same for one user, as the token names it.
        max_connections_per_address: The same for one address other than this machine's own. Behind a proxy on another
            machine everybody has the proxy's, unless the ASGI server is told to trust what it forwards.
        max_rooms: Rooms open at a time.
        evict_after_s: A room in which nobody was for so long leaves memory; its log stays.
        flush_timeout_s: How long a room that ends may take to save what waits, while its store fails.
        silent_peer_timeout_s: A socket from which nothing came for so long is closed. A hidden browser tab
            may speak once a minute only, hence two minutes and a half.
        close_timeout_s: How long a socket has to take the closing message.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    store: str | None = None
    namespace: str = ""
    freeze_gc: bool = True
    require_token: bool = True
    secret: tuple[str, ...] = field(default=(), repr=False)
    secret_file: str | None = None
    allow_origin: tuple[str, ...] = ()
    max_frame_bytes: int = 16 * 1024 * 1024
    max_awareness_bytes: int = 64 * 1024
    max_state_vector_bytes: int = 1024 * 1024
    max_presences_per_connection: int = 16
    max_backlog_bytes_per_peer: int = 8 * 1024 * 1024
    max_inbox_bytes_per_room: int = 32 * 1024 * 1024
    warn_room_bytes: int = 16 * 1024 * 1024
    max_room_bytes: int = 64 * 1024 * 1024
    max_messages_per_s_per_connection: int = 2000
    max_bytes_per_s_per_connection: int = 32 * 1024 * 1024
    max_connections_per_room: int = 1000
    max_connections_per_user: int = 200
    max_connections_per_address: int = 2000
    max_rooms: int = 10_000
    evict_after_s: float = 300.0
    flush_timeout_s: float = 10.0
    silent_peer_timeout_s: float = 150.0
    close_timeout_s: float = 1.0

    def __post_init__(self) -> None:
        store_path(self.store)
        if not self.host:
            raise SettingsError("host is empty: give an address to listen on, such as 127.0.0.1")
        if not 0 <= self.port <= 65535:
            raise SettingsError(f"port={self.port} is not a port: use 1 to 65535, or 0 to pick a free one")
        if self.namespace and not re.fullmatch(NAMESPACE_PATTERN, self.namespace):
            raise SettingsError(
                f"namespace={self.namespace!r} has other characters: use 1 to 64 of A-Z a-z 0-9 . _ -"
            )
        if self.secret and self.secret_file is not None:
            raise SettingsError("secret and secret_file are both set: keep one of them")
        for origin in self.allow_origin:
            _check_origin(origin)
        for setting in fields(self):
            value = getattr(self, setting.name)
            if (
                setting.name.startswith(("max_", "warn_", "evict_", "flush_", "silent_", "close_"))
                and not value > 0
            ):
                raise SettingsError(f"{setting.name}={value} must be greater than 0")

    @classmethod
    def load(cls, *, environ: Mapping[str, str] | None = None, **overrides: Any) -> Self:
        """Make settings from arguments, then from `STREAMLIT_CRDT_*` variables, then from the defaults.

        Raises:
            SettingsError: A name is unknown, a value does not parse, or two settings contradict each other.
        """
        known = {field.name: field.type for field in fields(cls)}
        for name in overrides:
            if name not in known:
                raise SettingsError(_unknown(f"setting {name!r}", name, known))
        values = _from_environ(os.environ if environ is None else environ, known)
        return cls(**(values | _tuples(overrides, known)))

    @classmethod
    def names_port(cls, *, environ: Mapping[str, str] | None = None) -> bool:
        """Whether the environment asks for a certain port, so that taking another one would surprise."""
        return bool((os.environ if environ is None else environ).get(f"{PREFIX}PORT"))


def _tuples(overrides: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Let a list be given for a tuple, and a single text for a tuple of one."""
    given = dict(overrides)
    for name, value in overrides.items():
        if isinstance(value, list):
            given[name] = tuple(value)
        elif isinstance(value, str) and str(known[name]).startswith("tuple"):
            given[name] = (value,)
    return given


def _from_environ(environ: Mapping[str, str], known: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for variable, text in environ.items():
        rest = variable.removeprefix(PREFIX)
        if rest == variable or rest.startswith(READ_BY_OTHERS):
            continue
        name = rest.lower()
        if name not in known or variable != PREFIX + name.upper():
            raise SettingsError(_unknown(f"the variable {variable}", name, known))
        try:
            values[name] = _PARSERS[str(known[name])](text.strip())
        except ValueError as error:
            raise SettingsError(f"{variable}={text!r} does not parse: {error}") from error
    return values


def _unknown(what: str, name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}" if close else f"the settings are {', '.join(known)}"
    return f"{what} does not exist: {hint}?" if close else f"{what} does not exist: {hint}"


def _check_origin(origin: str) -> None:
    scheme, separator, host = origin.partition("://")
    if origin != "*" and not (scheme and separator and host and "/" not in host):
        raise SettingsError(
            f"allow_origin {origin!r} is not an origin: write it like https://app.example.com"
        )


def _parse_bool(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError("write true or false")


def _parse_list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


_PARSERS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": _parse_bool,
    "str | None": lambda text: text or None,
    "tuple[str, ...]": _parse_list,
}
