"""Address of the room server, and tokens for it."""

from __future__ import annotations

import base64
import json
import os
import secrets
import time
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any, Final

from streamlit_crdt.access.participant import Role
from streamlit_crdt_server import KeyRing, Settings, mint, ring_from_settings, user_ring
from streamlit_crdt_server import Role as TokenRole
from streamlit_crdt_server.names import is_loopback

TTL_S: Final = 3600.0
"""Seconds until a token signed by this client expires. The client sends a new one after half of that time."""

SERVER_VARIABLE: Final = "STREAMLIT_CRDT_SERVER"

TokenFactory = Callable[[], str | None]
"""Returns a token; None connects without one."""


def find_server(server: str | None) -> str:
    """Return the address of the room server: `server`, else STREAMLIT_CRDT_SERVER, else that of `streamlit-crdt serve`.

    Raises:
        ValueError: the address does not begin with ws:// or wss://.
        SettingsError: a STREAMLIT_CRDT_* variable has an invalid value.
    """
    address = server or os.environ.get(SERVER_VARIABLE)
    if not address:
        settings = Settings.load()
        host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
        address = f"ws://[{host}]:{settings.port}" if ":" in host else f"ws://{host}:{settings.port}"
    if not address.startswith(("ws://", "wss://")) or not urllib.parse.urlsplit(address).hostname:
        raise ValueError(
            f"server={address!r} is not a WebSocket address: write ws://host:port or wss://host."
        )
    return address.rstrip("/")


def is_local(address: str) -> bool:
    """Return True if `address` is a loopback address."""
    return is_loopback(urllib.parse.urlsplit(address).hostname or "")


def token_factory(address: str, room: str, *, role: Role, user: str) -> TokenFactory:
    """Return a function that signs a new token for `room` at each call, as  streamlit-crdt token  does.

    The key is the configured secret, else, for a server on this machine, this user's key file. The function returns
    None if no token is required or no key exists.

    Raises:
        SettingsError: the secret or the key file is not usable.
    """
    ring = _ring(address)
    session = f"job-{secrets.token_hex(8)}"

    def sign() -> str | None:
        if ring is None:
            return None
        return mint(
            ring,
            rooms={room: TokenRole(role)},
            user=user,
            name=user,
            session=session,
            ttl_s=TTL_S,
            now=time.time(),
        )

    return sign


def _ring(address: str) -> KeyRing | None:
    settings = Settings.load()
    if not settings.require_token:
        return None
    ring = ring_from_settings(settings)
    return user_ring() if ring is None and is_local(address) else ring


def role_in(token: str, room: str) -> Role:
    """Return the role that `token` claims in `room`, without verification. Only the server can verify the token.

    A token of another server may claim no rooms. Then the role is editor, and the server decides at the first edit.
    """
    rooms = _claims(token).get("rooms")
    role = (rooms.get(room) or rooms.get("*")) if isinstance(rooms, dict) else None
    return "viewer" if role == "viewer" else "editor"


def name_in(token: str, default: str) -> str:
    """Return the user's name that `token` claims, without verification."""
    name = _claims(token).get("name")
    return name if isinstance(name, str) and name else default


def _claims(token: str) -> Mapping[str, Any]:
    """Return the claims of a token of any server, without verification. Empty if it is no JWT."""
    payload = "".join(token.split(".")[1:2])
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}
