"""What a room may be called."""

from __future__ import annotations

import re
from typing import Final

from streamlit_crdt.errors import RoomNameError

_ROOM_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)


def checked_name(room: object) -> str:
    """Return a room's name as a plain text.

    Raises:
        RoomNameError: no room can be called so.
    """
    if not isinstance(room, str) or not _ROOM_NAME.fullmatch(room) or room in (".", ".."):
        raise RoomNameError(room)
    return str(room)
