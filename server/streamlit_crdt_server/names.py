"""Valid names of rooms and namespaces, and client addresses. Room names appear in URLs and logs."""

from __future__ import annotations

import ipaddress
import re
import unicodedata

from streamlit_crdt_server.errors import RoomNameRefused

NAMESPACE_PATTERN = r"[A-Za-z0-9._-]{1,64}"
NAMESPACE_SEPARATOR = "~"

APP_ROOM_NAME_PATTERN = rf"(?:{NAMESPACE_PATTERN}{NAMESPACE_SEPARATOR})?[A-Za-z0-9._-]{{1,128}}"
"""Names of the rooms of Streamlit apps. A room in a namespace is `namespace~room`, so that no app can name a room of
another namespace."""

MAX_ROOM_NAME_BYTES = 256
"""Bytes of a room's name in UTF-8."""

ANY_ROOM = "*"
"""Key of a token's claims that matches every room. No room has this name."""


def check_room_name(name: str) -> str:
    """Return `name`, or raise RoomNameRefused if no room can have it.

    A name has 1 to 256 bytes of UTF-8 without control characters. `*` is reserved for tokens. A part between slashes
    cannot be `.` or `..`, because browsers and proxies remove such a part from an address.
    """
    try:
        size_bytes = len(name.encode())
    except UnicodeEncodeError as error:  # a lone surrogate
        raise RoomNameRefused(name) from error
    if (
        not 0 < size_bytes <= MAX_ROOM_NAME_BYTES
        or name == ANY_ROOM
        or any(unicodedata.category(character) == "Cc" for character in name)
        or any(part in (".", "..") for part in name.split("/"))
    ):
        raise RoomNameRefused(name)
    return name


def is_app_room_name(name: str) -> bool:
    """Return whether a Streamlit app can have a room of this name."""
    return re.fullmatch(APP_ROOM_NAME_PATTERN, name) is not None and name not in (".", "..")


def qualified(room: str, namespace: str) -> str:
    """Return the name of `room` on the server, with the namespace of its app unless that is ""."""
    return f"{namespace}{NAMESPACE_SEPARATOR}{room}" if namespace else room


def split_namespace(name: str) -> tuple[str, str]:
    """Return the namespace and the rest of a name. Inverse of `qualified`.

    The namespace is "" if the part before the first separator cannot be one.
    """
    namespace, separator, room = name.partition(NAMESPACE_SEPARATOR)
    if separator and room and re.fullmatch(NAMESPACE_PATTERN, namespace):
        return namespace, room
    return "", name


def is_loopback(host: str) -> bool:
    """Return whether a host name, or an address without brackets, is a loopback address."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _parse_address(host)
    return address is not None and address.is_loopback


def address_group(host: str) -> str:
    """Return the addresses that one client can have: an IPv4 address, or a network of 64 bits in IPv6."""
    address = _parse_address(host)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))
    return host if address is None else str(address)


def countable_address(host: str | None) -> str | None:
    """Return the group of an address, by which limits count. None if the client behind it is unknown.

    A loopback address belongs to a proxy, which all users share, or to a local user.
    """
    return None if host is None or is_loopback(host) else address_group(host)


def _parse_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an address, an IPv4 address also if a socket for both families shows it as IPv6."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped
