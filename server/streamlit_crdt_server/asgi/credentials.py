"""Parameters of a WebSocket request: the token, the epoch that the client has, and support for fragments.

A token is sent as a subprotocol, `token.<jwt>`, because browsers cannot set headers on a WebSocket and addresses end up
in logs. Stock Yjs clients can only extend the address; there the token is removed from the request on arrival.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Receive, Scope, Send

from streamlit_crdt_server.errors import QueryRefused, TokenMalformedError

SUBPROTOCOL = "streamlit-crdt"
TOKEN_PREFIX = "token."

FRAGMENTS = "fragments"
"""Parameter of a client that receives large frames in fragments: `fragments=1`."""

REPLICA = "replica"
"""Parameter with the replica id of the client. If the room was rewritten, the close reason says what it has of it."""

_MAX_FIELDS = 16
_QUERY = "streamlit_crdt.query"
_EPOCH = re.compile(r"[0-9a-f]{1,64}")
_REPLICA = re.compile(r"[0-9]{1,16}")


@dataclass(frozen=True, slots=True)
class Credentials:
    """The unverified credentials of a request. The repr omits the token."""

    token: str | None = field(repr=False)
    epoch: str | None
    takes_fragments: bool = False
    replica_id: int | None = None


class HideQuery:
    """An ASGI middleware that removes the query from a request before it can be logged.

    It changes the scope in place, because ASGI servers write their access logs from the same dictionary. It cannot
    change a log entry from before the call: uvicorn logs whole requests at level `debug`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            scope[_QUERY] = scope.get("query_string", b"")
            scope["query_string"] = b""
        await self._app(scope, receive, send)


def read_credentials(scope: Scope) -> Credentials:
    """Read the credentials of a request.

    Raises:
        QueryRefused: The query cannot be parsed, or has no valid epoch.
        TokenMalformedError: The request has more than one token.
    """
    query: bytes = scope.get(_QUERY) or scope.get("query_string") or b""
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict"
        )
    except ValueError as error:
        raise QueryRefused("it cannot be parsed") from error
    offered = scope.get("subprotocols", ())
    tokens = [text.removeprefix(TOKEN_PREFIX) for text in offered if text.startswith(TOKEN_PREFIX)]
    tokens += [value for name, value in pairs if name == "token"]
    epochs = [value for name, value in pairs if name == "epoch"]
    if len(tokens) > 1:
        raise TokenMalformedError("the request has more than one token")
    if len(epochs) > 1 or not all(map(_EPOCH.fullmatch, epochs)):
        raise QueryRefused("its epoch is invalid")
    replicas = [int(value) for name, value in pairs if name == REPLICA and _REPLICA.fullmatch(value)]
    return Credentials(
        next(iter(tokens), None),
        next(iter(epochs), None),
        (FRAGMENTS, "1") in pairs,
        next(iter(replicas), None),
    )


def choose_subprotocol(scope: Scope) -> str | None:
    """Return the subprotocol to accept: `SUBPROTOCOL` if offered, else the first one that is not a token.

    A token must not be accepted, because the response would contain it.
    """
    offered = [text for text in scope.get("subprotocols", ()) if not text.startswith(TOKEN_PREFIX)]
    return SUBPROTOCOL if SUBPROTOCOL in offered else next(iter(offered), None)
