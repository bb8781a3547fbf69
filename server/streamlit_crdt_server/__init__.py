"""Room server for Yjs clients, based on pycrdt-websocket."""

import warnings

from streamlit_crdt_server.asgi.app import create_app
from streamlit_crdt_server.asgi.websocket import WebSocketChannel
from streamlit_crdt_server.auth.key_ring import (
    derive_ring,
    process_ring,
    ring_from_settings,
    standalone_ring,
    user_ring,
)
from streamlit_crdt_server.auth.tokens import (
    AdminScope,
    Claims,
    KeyRing,
    Role,
    mint,
    mint_admin_token,
    verify,
)
from streamlit_crdt_server.errors import (
    AdminForbiddenError,
    AnswerTimeoutError,
    CannotListenError,
    DiskLimitError,
    FrameTooLargeError,
    HostRefused,
    HubNotRunningError,
    MalformedFrameError,
    OpenTimeoutError,
    OriginRefused,
    PendingLimitError,
    PortTakenError,
    QueryRefused,
    RoomForbiddenError,
    RoomFullError,
    RoomNameRefused,
    RoomUnavailableError,
    ServerError,
    ServerStoppedError,
    SettingsError,
    StoreBusyError,
    StoreCorruptError,
    StoreError,
    StoreFullError,
    StoreReadOnlyError,
    StoreUnavailableError,
    StoreVersionError,
    TokenError,
    TokenExpiredError,
    TokenForgedError,
    TokenKeyUnknownError,
    TokenMalformedError,
    TokenMissingError,
    TokenUsedError,
    TooManyConnectionsError,
    TooManyNewRoomsError,
    TooManyRoomsError,
    UpdateRefusedError,
    WrongThreadError,
)
from streamlit_crdt_server.gc_freeze import freeze_collector
from streamlit_crdt_server.hub.hub import Hub
from streamlit_crdt_server.hub.registry import RoomEntry
from streamlit_crdt_server.metrics import Metrics
from streamlit_crdt_server.names import qualified
from streamlit_crdt_server.protocol import CloseCode
from streamlit_crdt_server.room.peers import LocalPeer
from streamlit_crdt_server.room.room import Room
from streamlit_crdt_server.runner import EmbeddedServer, serve
from streamlit_crdt_server.settings import Settings
from streamlit_crdt_server.storage.sqlite_store import SQLiteStore
from streamlit_crdt_server.storage.store import MemoryStore, Store, StoredRoom
from streamlit_crdt_server.storage.store_url import open_store

__all__ = [
    "AdminForbiddenError",
    "AdminScope",
    "AnswerTimeoutError",
    "CannotListenError",
    "Claims",
    "CloseCode",
    "DiskLimitError",
    "EmbeddedServer",
    "FrameTooLargeError",
    "HostRefused",
    "Hub",
    "HubNotRunningError",
    "KeyRing",
    "LocalPeer",
    "MalformedFrameError",
    "MemoryStore",
    "Metrics",
    "OpenTimeoutError",
    "OriginRefused",
    "PendingLimitError",
    "PortTakenError",
    "QueryRefused",
    "Role",
    "Room",
    "RoomEntry",
    "RoomForbiddenError",
    "RoomFullError",
    "RoomNameRefused",
    "RoomUnavailableError",
    "SQLiteStore",
    "ServerError",
    "ServerStoppedError",
    "Settings",
    "SettingsError",
    "Store",
    "StoreBusyError",
    "StoreCorruptError",
    "StoreError",
    "StoreFullError",
    "StoreReadOnlyError",
    "StoreUnavailableError",
    "StoreVersionError",
    "StoredRoom",
    "TokenError",
    "TokenExpiredError",
    "TokenForgedError",
    "TokenKeyUnknownError",
    "TokenMalformedError",
    "TokenMissingError",
    "TokenUsedError",
    "TooManyConnectionsError",
    "TooManyNewRoomsError",
    "TooManyRoomsError",
    "UpdateRefusedError",
    "WebSocketChannel",
    "WrongThreadError",
    "create_app",
    "derive_ring",
    "freeze_collector",
    "mint",
    "mint_admin_token",
    "open_store",
    "process_ring",
    "qualified",
    "ring_from_settings",
    "serve",
    "standalone_ring",
    "user_ring",
    "verify",
]

_FORMER_NAMES = {
    "Errand": "AdminScope",
    "ErrandForbiddenError": "AdminForbiddenError",
    "Socket": "WebSocketChannel",
    "mint_errand": "mint_admin_token",
}


def __getattr__(name: str) -> object:
    """Return the object behind a former name, which works until version 0.3."""
    if name not in _FORMER_NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    new = _FORMER_NAMES[name]
    warnings.warn(f"streamlit_crdt_server.{name} is now called {new}.", DeprecationWarning, stacklevel=2)
    return globals()[new]
