"""Names: what a room may be called (it is in addresses and logs), and which hosts are this machine."""

from __future__ import annotations

import ipaddress
import re

from streamlit_crdt_server.errors import RoomNameRefused

NAMESPACE_PATTERN = r"[A-Za-z0-9._-]{1,64}"
NAMESPACE_SEPARATOR = "~"
ROOM_NAME_PATTERN = rf"(?:{NAMESPACE_PATTERN}{NAMESPACE_SEPARATOR})?[A-Za-z0-9._-]{{1,128}}"
"""A room of an app that has a namespace is called `namespace~room`; no app can name a room of another namespace."""


def check_room_name(name: str) -> str:
    """Return `name`, or raise RoomNameRefused unless a room may be called so."""
    if not re.fullmatch(ROOM_NAME_PATTERN, name) or name in (".", ".."):
        raise RoomNameRefused(name)
    return name


def qualified(room: str, namespace: str) -> str:
    """Return what the room server calls `room` of an app with this namespace; "" is none."""
    return f"{namespace}{NAMESPACE_SEPARATOR}{room}" if namespace else room


def is_loopback(host: str) -> bool:
    """Whether a host name or address, without brackets, stands for this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
