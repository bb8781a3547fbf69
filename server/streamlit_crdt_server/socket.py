"""One ASGI WebSocket as a `Channel` of pycrdt, and the questions asked before it is accepted.

The shipped `ASGIWebsocket` cannot close, hands text frames on as None, and its server accepts any page of any
site.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from pycrdt import Channel

from streamlit_crdt_server.errors import MalformedFrameError
from streamlit_crdt_server.names import is_loopback
from streamlit_crdt_server.protocol import CloseCode

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Socket(Channel):
    """An ASGI WebSocket that was asked for; `accept()` or `refuse()` comes first, and then frames."""

    def __init__(self, receive: Receive, send: Send, room: str) -> None:
        self._receive = receive
        self._send = send
        self._room = room
        self._is_open = True

    @property
    def path(self) -> str:
        """The room's name."""
        return self._room

    async def accept(self, subprotocol: str | None) -> None:
        """Let the client in. A client that offered subprotocols fails unless one of them is named."""
        await self._send({"type": "websocket.accept", "subprotocol": subprotocol})

    async def recv(self) -> bytes:
        """Return the next frame.

        Raises:
            StopAsyncIteration: The connection is closed.
            MalformedFrameError: A text frame came.
        """
        event = await self._receive()
        if event["type"] != "websocket.receive":
            self._is_open = False
            raise StopAsyncIteration
        content: bytes | None = event.get("bytes")
        if content is None:
            raise MalformedFrameError("a text frame, where the protocol has binary ones only")
        return content

    async def send(self, message: bytes) -> None:
        """Send a frame; does nothing once the connection is closed."""
        if self._is_open:
            await self._send({"type": "websocket.send", "bytes": message})

    async def close(self, code: CloseCode, reason: str = "") -> None:
        """Close the connection; does nothing if it is. The reason is cut to what a closing frame can hold."""
        if not self._is_open:
            return
        self._is_open = False
        try:
            await self._send({"type": "websocket.close", "code": int(code), "reason": reason[:100]})
        except (OSError, RuntimeError):
            return  # uvicorn says so if the client was faster


async def refuse(send: Send) -> None:
    """Answer a connection that was not accepted with HTTP 403."""
    await send({"type": "websocket.close", "code": 1008})


def header(scope: Scope, name: bytes) -> str | None:
    """The value of a request's header; None if it is absent."""
    for key, value in scope["headers"]:
        if key.lower() == name:
            return str(value.decode("latin-1"))
    return None


def is_origin_allowed(scope: Scope, allow_origin: Iterable[str]) -> bool:
    """Whether a page of this origin may connect: browsers send cookies along and ask nobody.

    Allowed are no origin (not a browser), the host that was asked for, whatever the port (the embedded
    server's port is not the page's), what `allow_origin` lists, and any page of this machine if the
    connection came over loopback.
    """
    origin = header(scope, b"origin")
    if origin is None:
        return True
    if "*" in allow_origin or _same_origin(origin, allow_origin):
        return True
    page_host = _hostname(origin)
    asked_host = _hostname("//" + (header(scope, b"host") or ""))
    if page_host is None:
        return False
    return page_host == asked_host or (is_loopback(page_host) and _came_over_loopback(scope))


def _came_over_loopback(scope: Scope) -> bool:
    server = scope.get("server")
    return server is not None and is_loopback(str(server[0]))


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _same_origin(origin: str, allowed: Iterable[str]) -> bool:
    return origin.rstrip("/").lower() in {entry.rstrip("/").lower() for entry in allowed}
