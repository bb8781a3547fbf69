"""What a room may be called: the name is in addresses, logs and, one day, in file names."""

from __future__ import annotations

import re

from streamlit_crdt_server.errors import RoomNameRefused

ROOM_NAME_PATTERN = r"[A-Za-z0-9._-]{1,128}"


def check_room_name(name: str) -> str:
    """Return `name`, or raise RoomNameRefused unless a room may be called so."""
    if not re.fullmatch(ROOM_NAME_PATTERN, name) or name in (".", ".."):
        raise RoomNameRefused(name)
    return name
