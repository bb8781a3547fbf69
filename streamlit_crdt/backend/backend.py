"""Where a room lives, seen from a session: mounted in this app, embedded in this process, or on a server elsewhere.

The keys that this app shares with a stand-alone room server.
"""

from __future__ import annotations

import functools
import logging
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

import streamlit as st

from streamlit_crdt import _compat
from streamlit_crdt.backend import admin_client
from streamlit_crdt.backend.default_store import is_chosen, may_do_without, store_beside, wait_until_free
from streamlit_crdt_server import (
    EmbeddedServer,
    Hub,
    KeyRing,
    PortTakenError,
    RoomEntry,
    Settings,
    SettingsError,
    StoreBusyError,
    StoreError,
    process_ring,
    qualified,
    ring_from_settings,
    user_ring,
)
from streamlit_crdt_server.gc_freeze import enable_freeze_after_runs
from streamlit_crdt_server.names import is_loopback

_log = logging.getLogger("streamlit_crdt")


@functools.cache
def server_keys(address: str) -> KeyRing | None:
    """Return the keys that the server at `address` verifies tokens with; None, and one warning, if they are not here.

    They are the secret that is set, for the app as for the server; on this machine both find this user's key file.
    """
    try:
        settings = Settings.load()
        if not settings.require_token:
            return None
        ring = ring_from_settings(settings)
        if ring is None and is_loopback(urllib.parse.urlsplit(address).hostname or ""):
            ring = user_ring()
    except SettingsError as error:
        _log.warning("this app cannot sign tokens for the room server at %s: %s", address, error)
        return None
    if ring is None:
        _log.warning(
            "this app cannot sign tokens for the room server at %s, which will refuse its tabs: set "
            "STREAMLIT_CRDT_SECRET to the secret that the server has; or STREAMLIT_CRDT_REQUIRE_TOKEN=false for "
            "both, to let everybody in",
            address,
        )
    return ring


_log = logging.getLogger("streamlit_crdt")

POLL_S: Final = 1.0
"""How often a tab that cannot reach the room's port asks its session instead."""

OPEN_TIMEOUT_S: Final = 5.0


class Peer(Protocol):
    """A session's part in a room of this process: a `LocalPeer`, or what stands before one."""

    @property
    def epoch(self) -> str: ...

    @property
    def is_closed(self) -> bool: ...

    @property
    def was_deleted(self) -> bool: ...

    def push(self, update: bytes) -> Future[None]: ...

    def drain(self) -> bytes | None: ...

    def close(self, *, for_good: bool = False) -> None: ...


class RoomBackend(Protocol):
    """Where rooms live.

    Attributes:
        namespace: of this app's rooms there, "" if none.
        poll_s: seconds between polls of a tab without a socket; None where polling the session would find nothing.
        tab_brings_the_room: whether only the tab can reach the room.
        keys: what tokens for the rooms are signed with; None where none are needed, or none can be made.
    """

    @property
    def namespace(self) -> str: ...

    @property
    def poll_s(self) -> float | None: ...

    @property
    def tab_brings_the_room(self) -> bool: ...

    @property
    def keys(self) -> KeyRing | None: ...

    def open(self, room: str, session: str | None = None) -> Peer | None:
        """Join a room that lives in this process, under the name that its tab's token has; None elsewhere."""

    def socket(self, room: str) -> Mapping[str, Any]:
        """Tell the tab where its socket goes."""

    def list_rooms(self) -> list[RoomEntry]:
        """Return this app's rooms, by name.

        Raises:
            ServerError, ServerUnavailableError: the server cannot tell.
        """

    def delete_room(self, room: str) -> None:
        """Delete a room of this app, in memory and on disk; raises as `list_rooms` does."""


@dataclass(frozen=True, slots=True)
class MountedBackend:
    """A hub mounted in Streamlit's own ASGI app, on the page's own port."""

    hub: Hub
    path: str
    poll_s: float | None = POLL_S
    tab_brings_the_room: bool = False

    @property
    def namespace(self) -> str:
        return self.hub.settings.namespace

    @property
    def keys(self) -> KeyRing | None:
        return self.hub.keys

    def open(self, room: str, session: str | None = None) -> Peer | None:
        return self.hub.open_local(room, session=session, timeout_s=OPEN_TIMEOUT_S)

    def socket(self, room: str) -> Mapping[str, Any]:
        base = str(st.get_option("server.baseUrlPath") or "").strip("/")
        prefix = f"/{base}" if base else ""
        return {"path": f"{prefix}{self.path}/{room}"}

    def list_rooms(self) -> list[RoomEntry]:
        return self.hub.list_rooms(self.namespace)

    def delete_room(self, room: str) -> None:
        self.hub.delete_room_and_wait(qualified(room, self.namespace))


@dataclass(frozen=True, slots=True)
class EmbeddedBackend:
    """A hypercorn in a thread of this process, on a port of its own."""

    server: EmbeddedServer
    poll_s: float | None = POLL_S
    tab_brings_the_room: bool = False

    @property
    def namespace(self) -> str:
        return self.server.hub.settings.namespace

    @property
    def keys(self) -> KeyRing | None:
        return self.server.hub.keys

    def open(self, room: str, session: str | None = None) -> Peer | None:
        return self.server.hub.open_local(room, session=session, timeout_s=OPEN_TIMEOUT_S)

    def socket(self, room: str) -> Mapping[str, Any]:
        return {"port": self.server.port, "path": f"/{room}"}

    def list_rooms(self) -> list[RoomEntry]:
        return self.server.hub.list_rooms(self.namespace)

    def delete_room(self, room: str) -> None:
        self.server.hub.delete_room_and_wait(qualified(room, self.namespace))


@dataclass(frozen=True, slots=True)
class RemoteBackend:
    """A stand-alone server, whose rooms only the tab takes part in."""

    address: str
    namespace: str = ""
    poll_s: float | None = None

    @property
    def tab_brings_the_room(self) -> bool:
        return not _compat.is_app_test()

    @property
    def keys(self) -> KeyRing | None:
        return server_keys(self.address)

    def open(self, room: str, session: str | None = None) -> Peer | None:
        return None

    def socket(self, room: str) -> Mapping[str, Any]:
        return {"url": f"{self.address.rstrip('/')}/{room}"}

    def list_rooms(self) -> list[RoomEntry]:
        return admin_client.list_rooms(self.address, self.keys, self.namespace)

    def delete_room(self, room: str) -> None:
        admin_client.delete_room(self.address, self.keys, self.namespace, room)


StandIn = Callable[[], RoomBackend | None]
"""Returns where the rooms of the session are whose script calls; None for a session that it has nothing to say of."""


class _Process:
    """The room server of this process, at most one, and what stands in for it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.mounted: MountedBackend | None = None
        self.embedded: EmbeddedBackend | None = None
        self.stand_ins: tuple[StandIn, ...] = ()


_process: Final = _Process()


def mount(hub: Hub, path: str) -> None:
    """Make a running hub the one that `crdt_sync` uses in this process."""
    _process.mounted = MountedBackend(hub, path)


def unmount(hub: Hub) -> None:
    if _process.mounted is not None and _process.mounted.hub is hub:
        _process.mounted = None


@contextmanager
def standing_in(stand_in: StandIn) -> Iterator[None]:
    """Let `stand_in` say where the rooms of some sessions are, as tests do; the newest is asked first."""
    with _process.lock:
        _process.stand_ins = (stand_in, *_process.stand_ins)
    try:
        yield
    finally:
        with _process.lock:
            _process.stand_ins = tuple(one for one in _process.stand_ins if one is not stand_in)


def find(server: str | None) -> RoomBackend:
    """Return where rooms live; starts the embedded server if there is no other.

    Raises:
        ValueError: `server` is not a ws:// or wss:// address.
        PortTakenError: the port that STREAMLIT_CRDT_PORT asks for is in use.
        StoreError: the store cannot be opened, and going on without it would hide the rooms that are in it (rule S4).
    """
    if server is not None and not server.startswith(("ws://", "wss://")):
        raise ValueError(f"server={server!r} is not a WebSocket address: write ws://host:port or wss://host.")
    for stand_in in _process.stand_ins:
        if (place := stand_in()) is not None:
            return place
    if server is not None:
        settings = Settings.load()
        if settings.freeze_gc:
            enable_freeze_after_runs()
        return RemoteBackend(server, settings.namespace)
    if _process.mounted is not None:
        return _process.mounted
    with _process.lock:
        if _process.embedded is None:
            _process.embedded = EmbeddedBackend(_start_embedded())
        return _process.embedded


def _start_embedded() -> EmbeddedServer:
    if Settings.load().freeze_gc:
        enable_freeze_after_runs()
    store = store_beside(_compat.script_folder())
    try:
        return _started_once_free(store)
    except StoreError as error:
        if not may_do_without(error, store):
            raise
        _log.warning("rooms are kept in memory, and end with this app: %s", error)
        return _started(None)


def _started_once_free(store: str | None) -> EmbeddedServer:
    """Start, and give the one before a moment to end if it still owns the default file."""
    try:
        return _started(store)
    except StoreBusyError:
        if is_chosen() or not wait_until_free(store):
            raise
        return _started(store)


def _started(store: str | None) -> EmbeddedServer:
    address = str(st.get_option("server.address") or "0.0.0.0")
    try:
        return _started_on(Settings.load(host=address, store=store))
    except PortTakenError:
        if Settings.names_port():
            raise
        return _started_on(Settings.load(host=address, store=store, port=0))


def _started_on(settings: Settings) -> EmbeddedServer:
    keys = (
        ring_from_settings(settings) or process_ring()
    )  # where none is needed, tokens tell whose a socket is
    server = EmbeddedServer(settings, keys=keys)
    server.start()
    return server
