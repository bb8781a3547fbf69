"""Settings of a room server, from arguments, environment variables and defaults.

Arguments override `STREAMLIT_CRDT_*` variables, which override the defaults. A misspelled variable is an error, because
a limit that silently does not apply would be noticed too late.
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
from streamlit_crdt_server.yjs.nesting import MAX_LOADED_NESTING, MAX_NESTING

PREFIX = "STREAMLIT_CRDT_"

_FOREIGN_VARIABLES = ("SERVER", "DEBUG", "DEMO_", "E2E_", "TEST_", "BENCH_")
"""Prefixes of variables that belong to the Streamlit app and the tests. They are no settings of the server."""


_LIMIT_PREFIXES = ("max_", "warn_", "evict_", "flush_", "silent_", "handshake_", "close_")
"""Prefixes of settings that must be greater than 0."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one room server; `load()` also reads the environment.

    Attributes:
        host: Address to listen on. An address other than loopback admits other machines.
        port: Port to listen on; 0 picks a free one.
        metrics_port: Port of `/metrics`; 0 picks a free one. None serves it on `port`, but only on a loopback address
            and only for requests of this machine.
        metrics_host: Address of `metrics_port`.
        store: File of the rooms, as a path or `sqlite:///path`. None or `memory` keeps rooms in memory until the
            server stops.
        namespace: Namespace of the app's rooms, so that several apps can share a server or a file. 1 to 64 of the
            characters A-Z a-z 0-9 . _ - . Empty for none.
        freeze_gc: Whether the garbage collector ignores the objects loaded at startup (see `gc_freeze`).
        require_token: Whether a connection needs a token. Without tokens, every client that can reach the port can
            read and write every room.
        secret: Secrets that sign tokens, at least 16 characters each. The first signs, all verify.
        secret_file: File with one secret per line, instead of `secret`.
        allow_origin: Origins, as `scheme://host[:port]`, whose pages may connect in addition to the server's own.
            `*` allows all.
        max_frame_bytes: A larger frame closes its connection with 4413.
        max_awareness_bytes: The same for the content of an awareness frame.
        max_state_vector_bytes: The same for the part of a state vector that the room's own document does not explain.
        max_sent_frame_bytes: Size to which the server cuts the frames that it sends. A stock Yjs client receives a
            larger frame for a value that is larger.
        max_nesting: Levels of shared types inside each other in a document. An update beyond them closes its
            connection with 4400. Streamlit sessions and `connect()` read at most 64 levels.
        max_presences_per_connection: Client ids that one connection may announce.
        max_presence_bytes_per_client_id: Bytes of one presence, as JSON. A larger one is ignored.
        max_presence_bytes_per_connection: The same for all presences of one connection.
        max_presence_bytes_per_user: The same for all connections of one user in one room.
        max_presence_bytes_per_room: The same for one room. Each connection may have its equal share, by
            `max_connections_per_room`, in any case.
        max_backlog_bytes_per_peer: Unsent bytes above which a peer is closed. It resyncs when it reconnects.
        max_inbox_bytes_per_room: Bytes that wait to be applied above which a room stops reading its sockets.
        warn_room_bytes: Size of a document above which the log contains a warning.
        max_room_bytes: Size above which a document is read-only. An edit closes its connection with 4414.
        max_messages_per_s_per_connection: A connection that sends more, on average over ten seconds, is read more
            slowly.
        max_bytes_per_s_per_connection: The same for the bytes of its frames.
        max_throttled_s_per_connection: Seconds for which a connection that exceeds one of these two is read more
            slowly. If they are not enough, it is closed with 4303.
        max_cpu_ms_per_s_per_connection: CPU time in milliseconds that the frames of a connection may take until they
            are applied, on average. A connection that takes more is read more slowly.
        max_cpu_burst_ms_per_connection: The same at once.
        max_cpu_debt_ms_per_connection: CPU time in milliseconds beyond these two above which a connection is closed
            with 4303.
        max_validating_bytes: Bytes of frames above 256 KiB that are validated at a time. Further frames wait.
        max_connections: Connections of the server. One more closes the oldest one without an accepted WebSocket.
            WebSockets beyond three quarters are refused with HTTP 503. None allows three quarters of the limit of open
            files, and at most 10 000.
        max_connections_per_room: Connections of one room. Further connections are refused.
        max_connections_per_user: The same for one user, by the user id of the token.
        max_connections_per_address: The same for one address other than this machine's own. Behind a proxy on another
            machine, all clients have the address of the proxy, unless the ASGI server trusts its forwarded headers.
        max_rooms: Rooms open at a time.
        max_new_rooms_per_min_per_user: Rooms that a user may create per minute, by the user id of the token. A burst of
            five minutes is allowed. Opening a room of a new name creates it.
        max_new_rooms_per_min_per_address: The same for one address, as in `max_connections_per_address`.
        max_rooms_per_user: Rooms that a user has created and that exist.
        max_rooms_per_address: Rooms that were created from one address since the start of the server, and exist.
        max_disk_bytes_per_room: Bytes of a room in the store above which it is read-only. An edit closes its connection
            with 4414.
        max_disk_bytes_per_user: The same for all rooms that a user has created.
        evict_after_s: Seconds without a peer after which a room leaves memory. Its log stays.
        rewrite_over_bytes: Size of a document above which a room that leaves memory is rewritten without its past, if
            that saves more than half. 0 never rewrites a room.
        flush_timeout_s: Seconds that a closing room may take to save its unsaved updates while its store fails.
        silent_peer_timeout_s: Seconds without a frame after which a socket is closed. A hidden browser tab may send
            only once a minute.
        handshake_timeout_s: Seconds in which a connection must have sent a complete request. The ASGI server of a
            mounted app has its own limit.
        close_timeout_s: Seconds that a socket has to accept the closing message.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"
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
    max_sent_frame_bytes: int = 1024 * 1024
    max_nesting: int = MAX_NESTING
    max_presences_per_connection: int = 16
    max_presence_bytes_per_client_id: int = 32 * 1024
    max_presence_bytes_per_connection: int = 64 * 1024
    max_presence_bytes_per_user: int = 256 * 1024
    max_presence_bytes_per_room: int = 2 * 1024 * 1024
    max_backlog_bytes_per_peer: int = 8 * 1024 * 1024
    max_inbox_bytes_per_room: int = 32 * 1024 * 1024
    warn_room_bytes: int = 16 * 1024 * 1024
    max_room_bytes: int = 64 * 1024 * 1024
    max_messages_per_s_per_connection: int = 2000
    max_bytes_per_s_per_connection: int = 32 * 1024 * 1024
    max_throttled_s_per_connection: float = 30.0
    max_cpu_ms_per_s_per_connection: int = 500
    max_cpu_burst_ms_per_connection: int = 2000
    max_cpu_debt_ms_per_connection: int = 60_000
    max_validating_bytes: int = 32 * 1024 * 1024
    max_connections: int | None = None
    max_connections_per_room: int = 1000
    max_connections_per_user: int = 200
    max_connections_per_address: int = 2000
    max_rooms: int = 10_000
    max_new_rooms_per_min_per_user: int = 100
    max_new_rooms_per_min_per_address: int = 300
    max_rooms_per_user: int = 1000
    max_rooms_per_address: int = 10_000
    max_disk_bytes_per_room: int = 256 * 1024 * 1024
    max_disk_bytes_per_user: int = 2 * 1024 * 1024 * 1024
    evict_after_s: float = 300.0
    rewrite_over_bytes: int = 64 * 1024
    flush_timeout_s: float = 10.0
    silent_peer_timeout_s: float = 150.0
    handshake_timeout_s: float = 10.0
    close_timeout_s: float = 1.0

    def __post_init__(self) -> None:
        store_path(self.store)
        if not self.host:
            raise SettingsError("host is empty: set it to an address to listen on, such as 127.0.0.1")
        for name, port in (("port", self.port), ("metrics_port", self.metrics_port)):
            if port is not None and not 0 <= port <= 65535:
                raise SettingsError(f"{name}={port} is not a port: use 1 to 65535, or 0 to pick a free one")
        if self.namespace and not re.fullmatch(NAMESPACE_PATTERN, self.namespace):
            raise SettingsError(
                f"namespace={self.namespace!r} is invalid: use 1 to 64 of the characters A-Z a-z 0-9 . _ -"
            )
        if self.secret and self.secret_file is not None:
            raise SettingsError("secret and secret_file are both set: remove one of them")
        if self.max_nesting > MAX_LOADED_NESTING:
            raise SettingsError(f"max_nesting={self.max_nesting} must be at most {MAX_LOADED_NESTING}")
        for origin in self.allow_origin:
            _check_origin(origin)
        for setting in fields(self):
            value = getattr(self, setting.name)
            if setting.name.startswith("rewrite_") and value < 0:
                raise SettingsError(f"{setting.name}={value} must not be negative")
            is_limit = setting.name.startswith(_LIMIT_PREFIXES) and value is not None
            if is_limit and not value > 0:
                raise SettingsError(f"{setting.name}={value} must be greater than 0")

    @classmethod
    def load(cls, *, environ: Mapping[str, str] | None = None, **overrides: Any) -> Self:
        """Return settings from arguments, then from `STREAMLIT_CRDT_*` variables, then from the defaults.

        Raises:
            SettingsError: A name is unknown, a value cannot be parsed, or two settings contradict each other.
        """
        known = {field.name: field.type for field in fields(cls)}
        for name in overrides:
            if name not in known:
                raise SettingsError(_unknown(f"setting {name!r}", name, known))
        values = _from_environ(os.environ if environ is None else environ, known)
        return cls(**(values | _tuples(overrides, known)))

    @classmethod
    def names_port(cls, *, environ: Mapping[str, str] | None = None) -> bool:
        """Return whether the environment sets the port, so that the server must not pick another one."""
        return bool((os.environ if environ is None else environ).get(f"{PREFIX}PORT"))


def _tuples(overrides: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Convert lists, and single texts, to tuples for settings that are tuples."""
    converted = dict(overrides)
    for name, value in overrides.items():
        if isinstance(value, list):
            converted[name] = tuple(value)
        elif isinstance(value, str) and str(known[name]).startswith("tuple"):
            converted[name] = (value,)
    return converted


def _from_environ(environ: Mapping[str, str], known: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for variable, text in environ.items():
        rest = variable.removeprefix(PREFIX)
        if rest == variable or rest.startswith(_FOREIGN_VARIABLES):
            continue
        name = rest.lower()
        if name not in known or variable != PREFIX + name.upper():
            raise SettingsError(_unknown(f"variable {variable}", name, known))
        try:
            values[name] = _PARSERS[str(known[name])](text.strip())
        except ValueError as error:
            raise SettingsError(f"{variable}={text!r} cannot be parsed: {error}") from error
    return values


def _unknown(what: str, name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}" if close else f"the settings are {', '.join(known)}"
    return f"{what} does not exist: {hint}?" if close else f"{what} does not exist: {hint}"


def _check_origin(origin: str) -> None:
    scheme, separator, host = origin.partition("://")
    if origin != "*" and not (scheme and separator and host and "/" not in host):
        raise SettingsError(
            f"allow_origin={origin!r} is not an origin: use a form such as https://app.example.com"
        )


def _parse_bool(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError("use true or false")


def _parse_list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


_PARSERS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": _parse_bool,
    "str | None": lambda text: text or None,
    "int | None": lambda text: int(text) if text else None,
    "tuple[str, ...]": _parse_list,
}
