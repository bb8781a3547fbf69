"""Where a room lives, seen from a session: mounted in this app, embedded in this process, or on a server elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import streamlit as st

from streamlit_crdt import _compat
from streamlit_crdt.collector import freeze_after_first_run
from streamlit_crdt_server import EmbeddedServer, Hub, LocalPeer, PortTakenError, Settings

POLL_S: Final = 1.0
"""How often a tab that cannot reach the room's port asks its session instead."""

OPEN_TIMEOUT_S: Final = 5.0


class Place(Protocol):
    """Where rooms live.

    Attributes:
        poll_s: seconds between polls of a tab without a socket; None where polling the session would find nothing.
        tab_brings_the_room: whether only the tab can reach the room.
    """

    @property
    def poll_s(self) -> float | None: ...

    @property
    def tab_brings_the_room(self) -> bool: ...

    def open(self, room: str) -> LocalPeer | None:
        """Join a room that lives in this process; None elsewhere."""

    def socket(self, room: str) -> Mapping[str, Any]:
        """Tell the tab where its socket goes."""


@dataclass(frozen=True, slots=True)
class Mounted:
    """A hub mounted in Streamlit's own ASGI app, on the page's own port."""

    hub: Hub
    path: str
    poll_s: float | None = POLL_S
    tab_brings_the_room: bool = False

    def open(self, room: str) -> LocalPeer | None:
        return self.hub.open_local(room, timeout_s=OPEN_TIMEOUT_S)

    def socket(self, room: str) -> Mapping[str, Any]:
        base = str(st.get_option("server.baseUrlPath") or "").strip("/")
        prefix = f"/{base}" if base else ""
        return {"path": f"{prefix}{self.path}/{room}"}


@dataclass(frozen=True, slots=True)
class Embedded:
    """A hypercorn in a thread of this process, on a port of its own."""

    server: EmbeddedServer
    poll_s: float | None = POLL_S
    tab_brings_the_room: bool = False

    def open(self, room: str) -> LocalPeer | None:
        return self.server.hub.open_local(room, timeout_s=OPEN_TIMEOUT_S)

    def socket(self, room: str) -> Mapping[str, Any]:
        return {"port": self.server.port, "path": f"/{room}"}


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A stand-alone server, which only the tab talks to."""

    address: str
    poll_s: float | None = None

    @property
    def tab_brings_the_room(self) -> bool:
        return not _compat.is_app_test()

    def open(self, room: str) -> LocalPeer | None:
        return None

    def socket(self, room: str) -> Mapping[str, Any]:
        return {"url": f"{self.address.rstrip('/')}/{room}"}


class _Process:
    """The room server of this process, at most one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.mounted: Mounted | None = None
        self.embedded: Embedded | None = None


_process: Final = _Process()


def mount(hub: Hub, path: str) -> None:
    """Make a running hub the one that `crdt_sync` uses in this process."""
    _process.mounted = Mounted(hub, path)


def unmount(hub: Hub) -> None:
    if _process.mounted is not None and _process.mounted.hub is hub:
        _process.mounted = None


def find(server: str | None) -> Place:
    """Return where rooms live; starts the embedded server if there is no other.

    Raises:
        ValueError: `server` is not a ws:// or wss:// address.
        PortTakenError: the port that STREAMLIT_CRDT_PORT asks for is in use.
    """
    if server is not None:
        if not server.startswith(("ws://", "wss://")):
            raise ValueError(
                f"server={server!r} is not a WebSocket address: write ws://host:port or wss://host."
            )
        if Settings.load().freeze_gc:
            freeze_after_first_run()
        return Elsewhere(server)
    if _process.mounted is not None:
        return _process.mounted
    with _process.lock:
        if _process.embedded is None:
            _process.embedded = Embedded(_start_embedded())
        return _process.embedded


def _start_embedded() -> EmbeddedServer:
    if Settings.load().freeze_gc:
        freeze_after_first_run()
    address = str(st.get_option("server.address") or "0.0.0.0")
    settings = Settings.load(host=address, require_token=False)
    server = EmbeddedServer(settings)
    try:
        server.start()
    except PortTakenError:
        if Settings.names_port():
            raise
        server = EmbeddedServer(Settings.load(host=address, port=0, require_token=False))
        server.start()
    return server
