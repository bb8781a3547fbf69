"""The room's name in the path of a request.

A name is percent-encoded in a path. y-websocket does not encode it, so a slash in a name may also be a slash in the
path: `@scope/x` and `@scope%2Fx` name the same room. A name is decoded once, by the ASGI server.
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from starlette.types import Scope

from streamlit_crdt_server.errors import RoomNameRefused
from streamlit_crdt_server.names import check_room_name


def read_room_name(scope: Scope, *, prefix: str = "/") -> str:
    """Return the room's name in the path of a request.

    The name is not taken from the parameters of the route, which end before a line break.

    Args:
        scope: The request.
        prefix: The part of the path before the name, without the path of a mount.

    Raises:
        RoomNameRefused: The path is not UTF-8, or no room can have the name.
    """
    path = str(scope["path"])
    raw_path: bytes | None = scope.get("raw_path")
    if raw_path is not None:
        # ASGI servers replace invalid UTF-8, so that several paths would be the same name.
        decoded = unquote_to_bytes(raw_path.partition(b"?")[0])
        if decoded != path.encode("utf-8", "surrogatepass"):
            raise RoomNameRefused(decoded.decode("utf-8", "replace"))
    return check_room_name(path.removeprefix(str(scope.get("root_path", ""))).removeprefix(prefix))
