"""Valid names of rooms and namespaces, and loopback hosts. Room names appear in URLs and logs."""

from __future__ import annotations

import ipaddress
import re

from streamlit_crdt_server.errors import RoomNameRefused

NAMESPACE_PATTERN = r"[A-Za-z0-9._-]{1,64}"
NAMESPACE_SEPARATOR = "~"
ROOM_NAME_PATTERN = rf"(?:{NAMESPACE_PATTERN}{NAMESPACE_SEPARATOR})?[A-Za-z0-9._-]{{1,128}}"
"""Names of rooms. A room in a namespace is `namespace~room`, so that no app can name a room of another namespace."""


def check_room_name(name: str) -> str:
    """Return `name`, or raise RoomNameRefused if it is not a valid room name."""
    if not re.fullmatch(ROOM_NAME_PATTERN, name) or name in (".", ".."):
        raise RoomNameRefused(name)
    return name


def qualified(room: str, namespace: str) -> str:
    """Return the name of `room` on the server, with the namespace of its app unless that is ""."""
    return f"{namespace}{NAMESPACE_SEPARATOR}{room}" if namespace else room


def is_loopback(host: str) -> bool:
    """Return whether a host name, or an address without brackets, is a loopback address."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
