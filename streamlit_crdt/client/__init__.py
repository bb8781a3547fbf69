"""Headless client: `connect` for programs without Streamlit, for example cron jobs, notebooks and other services.

- `connect`: `connect` and `JobRoom`.
- `connection`: the thread with the WebSocket.
- `sync_client`, `sync_progress`: the y-websocket protocol, without I/O.
- `membership`: `Membership` of a client.
- `credentials`: address and token.
"""

from __future__ import annotations

from streamlit_crdt.client.connect import JobRoom, connect
from streamlit_crdt.client.errors import (
    EditsNotSavedError,
    EntryRefusedError,
    OutsideAppError,
    RoomDeletedError,
    RoomLeftError,
)

__all__ = [
    "EditsNotSavedError",
    "EntryRefusedError",
    "JobRoom",
    "OutsideAppError",
    "RoomDeletedError",
    "RoomLeftError",
    "connect",
]
