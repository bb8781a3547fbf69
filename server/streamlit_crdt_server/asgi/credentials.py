"""What a connection brings along in its request: its token, and the epoch that it knows.

A token travels as a subprotocol, `token.<jwt>`, because browsers can set no header on a WebSocket and addresses
end up in logs. Stock clients can only add to the address; there it is taken out as soon as the request arrives.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Receive, Scope, Send

from streamlit_crdt_server.errors import QueryRefused, TokenMalformedError

SUBPROTOCOL = "streamlit-crdt"
TOKEN_PREFIX = "token."

_MAX_FIELDS = 16
_QUERY = "streamlit_crdt.query"
_EPOCH = re.compile(r"[0-9a-f]{1,64}")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What was read from a request. The token is not shown in its repr, and nothing is verified yet."""

    token: str | None = field(repr=False)
    epoch: str | None


class HideQuery:
    """An ASGI middleware that takes the query out of a request before anything can log it.

    It changes the request in place: the ASGI servers write their access logs from the same dictionary. What they
    write before they call the application is out of reach: uvicorn's level `debug` shows whole requests.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            scope[_QUERY] = scope.get("query_string", b"")
            scope["query_string"] = b""
        await self._app(scope, receive, send)


def read_credentials(scope: MutableMapping[str, Any]) -> Credentials:
    """Read what a request brings.

    Raises:
        QueryRefused: Its query does not parse, or says something twice.
        TokenMalformedError: It brings more than one token.
    """
    query: bytes = scope.get(_QUERY) or scope.get("query_string") or b""
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict"
        )
    except ValueError as error:
        raise QueryRefused("it does not parse") from error
    offered = scope.get("subprotocols", ())
    tokens = [text.removeprefix(TOKEN_PREFIX) for text in offered if text.startswith(TOKEN_PREFIX)]
    tokens += [value for name, value in pairs if name == "token"]
    epochs = [value for name, value in pairs if name == "epoch"]
    if len(tokens) > 1:
        raise TokenMalformedError("a connection brings one token, and not several")
    if len(epochs) > 1 or not all(map(_EPOCH.fullmatch, epochs)):
        raise QueryRefused("its epoch is none")
    return Credentials(next(iter(tokens), None), next(iter(epochs), None))


def choose_subprotocol(scope: MutableMapping[str, Any]) -> str | None:
    """Which of the offered subprotocols to name: ours, else another; never a token, which would be sent back."""
    offered = [text for text in scope.get("subprotocols", ()) if not text.startswith(TOKEN_PREFIX)]
    return SUBPROTOCOL if SUBPROTOCOL in offered else next(iter(offered), None)
