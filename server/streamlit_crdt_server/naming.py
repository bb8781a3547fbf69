"""Whose name stands beside a caret: the token's, whatever the client says (rule A3)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

from pycrdt import Channel

from streamlit_crdt_server.auth.tokens import Claims
from streamlit_crdt_server.errors import MalformedFrameError
from streamlit_crdt_server.protocol import Presence
from streamlit_crdt_server.roles import claims_of


def name_presences(channel: Channel, presences: Iterable[Presence]) -> tuple[Presence, ...]:
    """Put the name and id of a connection's token into what it says of itself, as `user.name` and `user.id`.

    That is where y-websocket's clients look for them. Without a token, it is as the client says.

    Raises:
        MalformedFrameError: A presence is something that no name can be put into, or is nested too deeply.
    """
    claims = claims_of(channel)
    if claims is None:
        return tuple(presences)
    return tuple(presence if presence.is_gone else _named(claims, presence) for presence in presences)


def _named(claims: Claims, presence: Presence) -> Presence:
    state = presence.state
    if not isinstance(state, dict):
        raise MalformedFrameError("a presence is not an object")
    said = state.get("user")
    user = (said if isinstance(said, dict) else {}) | {"name": claims.name, "id": claims.user}
    named = state | {"user": user}
    try:
        text = json.dumps(named, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text.encode()
    except (ValueError, RecursionError) as error:
        raise MalformedFrameError("a presence cannot be written down") from error
    return replace(presence, text=text, state=named)
