"""Permissions of a connection in a room: the one place that decides rule A1."""

from __future__ import annotations

from pycrdt import Channel

from streamlit_crdt_server.auth.tokens import Claims, Role


def claims_of(channel: Channel) -> Claims | None:
    """Return the claims of a connection's token. None for a channel without a token.

    A channel without claims comes from the program itself, or tokens are not required. The WebSocket endpoint refuses
    sockets without a token while tokens are required.
    """
    claims = getattr(channel, "claims", None)
    return claims if isinstance(claims, Claims) else None


def session_of(channel: Channel) -> str | None:
    """Return the session of a connection. None if unknown."""
    session = getattr(channel, "session", None)
    return session if isinstance(session, str) else None


def may_write(channel: Channel, room: str) -> bool:
    """Return whether updates from this connection may reach the document of `room`. Decided anew for each update."""
    claims = claims_of(channel)
    return claims is None or claims.role_in(room) is Role.EDITOR
