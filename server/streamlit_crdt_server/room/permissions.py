"""What a connection may do in a room: the one place that decides it (rule A1)."""

from __future__ import annotations

from pycrdt import Channel

from streamlit_crdt_server.auth.tokens import Claims, Role


def claims_of(channel: Channel) -> Claims | None:
    """What the token of a connection says; None for a channel that came without one.

    A channel without claims was handed over by the program itself, or tokens are switched off: the gate lets
    no socket pass without them while they are required.
    """
    claims = getattr(channel, "claims", None)
    return claims if isinstance(claims, Claims) else None


def session_of(channel: Channel) -> str | None:
    """Which session a connection belongs to, as far as it is known."""
    session = getattr(channel, "session", None)
    return session if isinstance(session, str) else None


def may_write(channel: Channel, room: str) -> bool:
    """Whether updates from this connection may reach the document of `room`; asked anew for each of them."""
    claims = claims_of(channel)
    return claims is None or claims.role_in(room) is Role.EDITOR
