"""Location of the room server: mounted in this app, embedded in this process, or remote."""

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
from streamlit_crdt.backend.default_store import (
    allows_memory_fallback,
    is_store_configured,
    resolve_store,
    wait_until_unlocked,
)
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
from streamlit_crdt_server.hub.creation_limits import Creator
from streamlit_crdt_server.names import is_loopback
from streamlit_crdt_server.rewriting import RoomPast

POLL_S: Final = 1.0
"""Interval in seconds at which a tab polls its session while it has no socket to the room server."""

OPEN_TIMEOUT_S: Final = 5.0
"""Time limit in seconds for opening a room in this process. A script run waits for it."""

_log = logging.getLogger("streamlit_crdt")


class ReplicaIds(Protocol):
    """Replica ids that former sessions of a room have left, each with its clock."""

    def take(self) -> tuple[int, int] | None: ...

    def give_back(self, replica_id: int, clock: int) -> None: ...


class RoomPeer(Protocol):
    """Peer of a session in a room of this process: a `LocalPeer`, or a wrapper of one.

    Attributes:
        on_request: Called in the event loop when `take_request` may have a vector. It must not block.
    """

    on_request: Callable[[], None] | None

    @property
    def replica_ids(self) -> ReplicaIds | None: ...

    @property
    def epoch(self) -> str: ...

    @property
    def past(self) -> RoomPast:
        """Epochs and replica ids of the room before it was rewritten."""

    @property
    def is_closed(self) -> bool: ...

    @property
    def was_deleted(self) -> bool: ...

    def push(self, update: bytes) -> Future[None]:
        """Queue an update for the room. The future completes when the update is saved."""

    def drain(self) -> bytes | None:
        """Return the updates received since the last call, merged into one; None without any."""

    def read_state(self) -> Future[bytes]:
        """Return the whole content of the room as it is later. The future stays pending if it cannot be read."""

    def take_request(self) -> bytes | None:
        """Return the state vector of a room that lacks updates of this peer; None if it lacks none."""

    def close(self, *, for_good: bool = False) -> None: ...


class RoomBackend(Protocol):
    """Location of the room server.

    Attributes:
        namespace: namespace of this app's rooms, "" without one.
        poll_s: interval in seconds at which a tab without a socket polls its session. None if a poll finds no updates.
        is_tab_only: whether only the tab reaches the room.
        keys: keys that sign tokens for the rooms. None if the server requires no token, or if the keys are unknown.
    """

    @property
    def namespace(self) -> str: ...

    @property
    def poll_s(self) -> float | None: ...

    @property
    def is_tab_only(self) -> bool: ...

    @property
    def keys(self) -> KeyRing | None: ...

    def open(self, room: str, session_id: str | None = None) -> RoomPeer | None:
        """Open a room of this process, with the session id of the tab's token. Return None for a remote room."""

    def socket_address(self, room: str) -> Mapping[str, Any]:
        """Return the address of the tab's socket, as in the header of a frame."""

    def list_rooms(self) -> list[RoomEntry]:
        """Return this app's rooms, sorted by name.

        Raises:
            ServerError, ServerUnavailableError: the server cannot list its rooms.
        """

    def delete_room(self, room: str) -> None:
        """Delete a room of this app in memory and on disk. Raises as `list_rooms` does."""


@dataclass(frozen=True, slots=True)
class LocalBackend:
    """Hub in this process.

    Attributes:
        hub: the hub.
        location: path at which it is mounted in Streamlit's ASGI app, on the page's own port, or the embedded server
            with a port of its own.
    """

    hub: Hub
    location: str | EmbeddedServer
    poll_s: float | None = POLL_S
    is_tab_only: bool = False

    @property
    def namespace(self) -> str:
        return self.hub.settings.namespace

    @property
    def keys(self) -> KeyRing | None:
        return self.hub.keys

    def open(self, room: str, session_id: str | None = None) -> RoomPeer | None:
        return self.hub.open_local(room, session=session_id, creator=_visitor(), timeout_s=OPEN_TIMEOUT_S)

    def socket_address(self, room: str) -> Mapping[str, Any]:
        if isinstance(self.location, EmbeddedServer):
            return {"port": self.location.port, "path": f"/{room}"}
        base = str(st.get_option("server.baseUrlPath") or "").strip("/")
        prefix = f"/{base}" if base else ""
        return {"path": f"{prefix}{self.location}/{room}"}

    def list_rooms(self) -> list[RoomEntry]:
        return self.hub.list_rooms(self.namespace)

    def delete_room(self, room: str) -> None:
        self.hub.delete_room_and_wait(qualified(room, self.namespace))


@dataclass(frozen=True, slots=True)
class RemoteBackend:
    """Stand-alone server. Sessions reach its rooms through their tabs."""

    address: str
    namespace: str = ""
    poll_s: float | None = None

    @property
    def is_tab_only(self) -> bool:
        return not _compat.is_app_test()

    @property
    def keys(self) -> KeyRing | None:
        return server_keys(self.address)

    def open(self, room: str, session_id: str | None = None) -> RoomPeer | None:
        return None

    def socket_address(self, room: str) -> Mapping[str, Any]:
        return {"url": f"{self.address.rstrip('/')}/{room}"}

    def list_rooms(self) -> list[RoomEntry]:
        return admin_client.list_rooms(self.address, self.keys, self.namespace)

    def delete_room(self, room: str) -> None:
        admin_client.delete_room(self.address, self.keys, self.namespace, room)


def _visitor() -> Creator:
    """Return the visitor of the calling session: the user who is logged in, and the address of the browser.

    A guest has no user: each session of a browser is another guest. Without Streamlit's server there is no visitor.
    """
    if not _compat.has_server():
        return Creator()
    login = st.user.to_dict() if getattr(st.user, "is_logged_in", False) else {}
    user = str(login.get("sub") or login.get("email") or "")
    return Creator(user or None, st.context.ip_address)


@functools.cache
def server_keys(address: str) -> KeyRing | None:
    """Return the keys with which the server at `address` verifies tokens. If they are unknown, warn and return None.

    App and server share a secret from the settings. On one machine both also find the key file of the user.
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
            "this app cannot sign tokens for the room server at %s, so the server will reject its tabs: set "
            "STREAMLIT_CRDT_SECRET to the server's secret, or set STREAMLIT_CRDT_REQUIRE_TOKEN=false for app and "
            "server to allow access without a token",
            address,
        )
    return ring


BackendOverride = Callable[[], RoomBackend | None]
"""Returns the backend of the session whose script calls it; None for a session that it does not override."""


class _ProcessBackends:
    """Room server of this process, at most one, and its overrides."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.mounted: LocalBackend | None = None
        self.embedded: LocalBackend | None = None
        self.overrides: tuple[BackendOverride, ...] = ()


_process: Final = _ProcessBackends()


def mount(hub: Hub, path: str) -> None:
    """Make a running hub the backend of this process."""
    _process.mounted = LocalBackend(hub, path)


def unmount(hub: Hub) -> None:
    """Undo `mount`, unless another hub is mounted now."""
    if _process.mounted is not None and _process.mounted.hub is hub:
        _process.mounted = None


@contextmanager
def overriding(override: BackendOverride) -> Iterator[None]:
    """Call `override` for the backend of a session during the block, before the overrides that exist. For tests."""
    with _process.lock:
        _process.overrides = (override, *_process.overrides)
    try:
        yield
    finally:
        with _process.lock:
            _process.overrides = tuple(one for one in _process.overrides if one is not override)


def find(server: str | None) -> RoomBackend:
    """Return the backend of the calling session. Start the embedded server if there is no other.

    Args:
        server: address of a remote server, ws:// or wss://. None for the server of this process.

    Raises:
        ValueError: `server` is not a ws:// or wss:// address.
        PortTakenError: the port of STREAMLIT_CRDT_PORT is in use.
        StoreError: the store cannot be opened, and rooms in memory would hide its rooms (rule S4).
    """
    if server is not None and not server.startswith(("ws://", "wss://")):
        raise ValueError(f"server={server!r} is not a WebSocket address: write ws://host:port or wss://host.")
    for override in _process.overrides:
        if (backend := override()) is not None:
            return backend
    if server is not None:
        settings = Settings.load()
        if settings.freeze_gc:
            enable_freeze_after_runs()
        return RemoteBackend(server, settings.namespace)
    if _process.mounted is not None:
        return _process.mounted
    with _process.lock:
        if _process.embedded is None:
            embedded = _start_embedded()
            _process.embedded = LocalBackend(embedded.hub, embedded)
        return _process.embedded


def _start_embedded() -> EmbeddedServer:
    if Settings.load().freeze_gc:
        enable_freeze_after_runs()
    store = resolve_store(_compat.script_folder())
    try:
        return _start_when_unlocked(store)
    except StoreError as error:
        if not allows_memory_fallback(error, store):
            raise
        _log.warning("rooms are kept in memory and are lost when this app ends: %s", error)
        return _start_on_free_port(None)


def _start_when_unlocked(store: str | None) -> EmbeddedServer:
    """Start the server. If another process has locked the default file, wait briefly for that process to end."""
    try:
        return _start_on_free_port(store)
    except StoreBusyError:
        if is_store_configured() or not wait_until_unlocked(store):
            raise
        return _start_on_free_port(store)


def _start_on_free_port(store: str | None) -> EmbeddedServer:
    """Start the server on the default port. If it is in use and no setting names it, choose a free port."""
    address = str(st.get_option("server.address") or "0.0.0.0")
    try:
        return _start(Settings.load(host=address, store=store))
    except PortTakenError:
        if Settings.names_port():
            raise
        return _start(Settings.load(host=address, store=store, port=0))


def _start(settings: Settings) -> EmbeddedServer:
    keys = ring_from_settings(settings) or process_ring()  # also without require_token: tokens name the user
    server = EmbeddedServer(settings, keys=keys)
    server.start()
    return server
