"""Rooms for programs that are no Streamlit app: cron jobs, notebooks, other services.

`exchange` knows the y-websocket protocol and no network, `line` the network, `member` what a room needs to know of who
is in it. `connect` puts them together.
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
