"""Where a program's room server is, and the token that it shows there."""

from __future__ import annotations

import os
import secrets
import time
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any, Final

import jwt

from streamlit_crdt.access.participant import Role
from streamlit_crdt_server import KeyRing, Settings, mint, ring_from_settings, user_ring
from streamlit_crdt_server import Role as TokenRole
from streamlit_crdt_server.names import is_loopback

TTL_S: Final = 3600.0
"""How long a token that is signed here is valid. Half-way the server is shown a new one."""

SERVER_VARIABLE: Final = "STREAMLIT_CRDT_SERVER"

Sign = Callable[[], str | None]


def find_server(server: str | None) -> str:
    """Return the address of the room server: what is given, else STREAMLIT_CRDT_SERVER, else `streamlit-crdt serve`'s.

    Raises:
        ValueError: it is no ws:// or wss:// address.
        SettingsError: a STREAMLIT_CRDT_* variable says something impossible.
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


def is_here(address: str) -> bool:
    """Whether `address` is on this machine."""
    return is_loopback(urllib.parse.urlsplit(address).hostname or "")


def token_factory(address: str, room: str, *, role: Role, user: str) -> Sign:
    """Return what signs a token for `room` whenever one is needed, as  streamlit-crdt token  does; None for no token.

    Signed with the secret that is set, else, for a server on this machine, with this user's key file.

    Raises:
        SettingsError: the secret or the key file cannot be used.
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
    return user_ring() if ring is None and is_here(address) else ring


def role_in(token: str, room: str) -> Role:
    """Return the role that `token` gives in `room`, as far as can be read: the server alone can verify it."""
    rooms = _claims(token).get(
        "rooms"
    )  # none in another server's: whether that lets us write is seen when it does
    role = (rooms.get(room) or rooms.get("*")) if isinstance(rooms, dict) else None
    return "viewer" if role == "viewer" else "editor"


def name_in(token: str, otherwise: str) -> str:
    """Return the name of the user of `token`, likewise."""
    name = _claims(token).get("name")
    return name if isinstance(name, str) and name else otherwise


def _claims(token: str) -> Mapping[str, Any]:
    try:
        claims: Mapping[str, Any] = jwt.decode(
            token, options={"verify_signature": False, "verify_exp": False, "verify_aud": False}
        )
        return claims
    except jwt.InvalidTokenError:
        return {}
