"""A room server for Yjs clients that is also a pycrdt-websocket server: the public names."""

from streamlit_crdt_server.app import create_app
from streamlit_crdt_server.embedded import EmbeddedServer
from streamlit_crdt_server.errors import (
    CannotListenError,
    FrameTooLargeError,
    HubNotRunningError,
    MalformedFrameError,
    OpenTimeoutError,
    OriginRefused,
    PortTakenError,
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
    TooManyRoomsError,
    UpdateRefusedError,
    WrongThreadError,
)
from streamlit_crdt_server.freeze import freeze_collector
from streamlit_crdt_server.hub import Hub
from streamlit_crdt_server.local import LocalPeer
from streamlit_crdt_server.protocol import CloseCode
from streamlit_crdt_server.rooms import Room
from streamlit_crdt_server.serving import serve
from streamlit_crdt_server.settings import Settings
from streamlit_crdt_server.socket import Socket
from streamlit_crdt_server.store import MemoryStore, Store, StoredRoom

__all__ = [
    "CannotListenError",
    "CloseCode",
    "EmbeddedServer",
    "FrameTooLargeError",
    "Hub",
    "HubNotRunningError",
    "LocalPeer",
    "MalformedFrameError",
    "MemoryStore",
    "OpenTimeoutError",
    "OriginRefused",
    "PortTakenError",
    "Room",
    "RoomNameRefused",
    "RoomUnavailableError",
    "ServerError",
    "ServerStoppedError",
    "Settings",
    "SettingsError",
    "Socket",
    "Store",
    "StoreBusyError",
    "StoreCorruptError",
    "StoreError",
    "StoreFullError",
    "StoreReadOnlyError",
    "StoreUnavailableError",
    "StoredRoom",
    "TooManyRoomsError",
    "UpdateRefusedError",
    "WrongThreadError",
    "create_app",
    "freeze_collector",
    "serve",
]
