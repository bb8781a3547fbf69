"""One ASGI WebSocket as a `Channel` of pycrdt, with what its token allows and how long.

The shipped `ASGIWebsocket` cannot close, hands text frames on as None, and serves whoever came in once for ever.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from pycrdt import Channel

from streamlit_crdt_server import protocol
from streamlit_crdt_server.asgi.rate_limits import RateLimiter
from streamlit_crdt_server.auth.tokens import Claims, Role
from streamlit_crdt_server.errors import MalformedFrameError, TokenError
from streamlit_crdt_server.metrics import Metrics
from streamlit_crdt_server.protocol import CloseCode

_log = logging.getLogger(__name__)

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Verify = Callable[[str, str], Claims]


class WebSocketChannel(Channel):
    """An ASGI WebSocket that may be accepted; `accept()` comes first, and then frames.

    Attributes:
        claims: What its token says; None if none is required. A renewal replaces it.
        session: Which session it belongs to, see `Peer`.
        epoch: The document epoch that its client knows; None if it said nothing of it.
    """

    def __init__(
        self,
        receive: Receive,
        send: Send,
        room: str,
        *,
        claims: Claims | None = None,
        session: str | None = None,
        epoch: str | None = None,
        verify: Verify | None = None,
        meter: RateLimiter | None = None,
        metrics: Metrics | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Make a socket.

        Args:
            receive: ASGI's.
            send: ASGI's.
            room: The room's name.
            claims: See Attributes.
            session: See Attributes.
            epoch: See Attributes.
            verify: Returns the claims of a token if it opens a room, else raises TokenError.
            meter: What it may send; None sets no limit.
            metrics: Where its closing is counted.
            clock: The time in seconds since the epoch.
        """
        self.claims = claims
        self.session = session
        self.epoch = epoch
        self._receive = receive
        self._send = send
        self._room = room
        self._verify = verify
        self._meter = meter
        self._metrics = metrics
        self._clock = clock
        self._is_open = True
        self._last_end = 0.0 if claims is None else claims.expires_at

    @property
    def path(self) -> str:
        """The room's name."""
        return self._room

    async def accept(self, subprotocol: str | None) -> None:
        """Let the client in. A client that offered subprotocols fails unless one of them is named."""
        await self._send({"type": "websocket.accept", "subprotocol": subprotocol})

    async def recv(self) -> bytes:
        """Return the next frame that is for the room.

        Raises:
            StopAsyncIteration: The connection is closed: by the client, or here because its token ended, it has
                another user now, or it sent too much.
            MalformedFrameError: A text frame came.
        """
        while True:
            event = await self._next_event()
            if event["type"] != "websocket.receive":
                self._is_open = False
                raise StopAsyncIteration
            content: bytes | None = event.get("bytes")
            await self._count(len(content or event.get("text") or ""))
            if content is None:
                raise MalformedFrameError("a text frame, where the protocol has binary ones only")
            if not content.startswith(protocol.RENEWAL_PREFIX):
                return content
            await self._renew(protocol.parse_renewal(content))

    async def _next_event(self) -> Mapping[str, Any]:
        """Wait for the client, for as long as its token lasts (rule A2)."""
        if self.claims is None:
            return await self._receive()
        event = None
        try:
            async with asyncio.timeout(max(self.claims.expires_at - self._clock(), 0)):
                event = await self._receive()
        except TimeoutError:
            _log.debug("room %r: a token ended on an open socket", self._room)
        # Asked again, because a computer that slept has waited for less than went by.
        if event is None or self._clock() >= self.claims.expires_at:
            await self.close(CloseCode.TOKEN_EXPIRED, "the token has ended: come back with a new one")
            raise StopAsyncIteration
        return event

    async def _count(self, size_bytes: int) -> None:
        """Close the connection if it sends too much."""
        excess = None if self._meter is None else self._meter.find_excess(size_bytes, time.monotonic())
        if excess is not None:
            _log.warning("closed a socket of room %r: it exceeds %s", self._room, excess)
            await self.close(CloseCode.TOO_FAST, f"more than {excess} allows")
            raise StopAsyncIteration

    async def _renew(self, token: str) -> None:
        """Go on with a new token of the same session: at once if it may only look, else if it ends later.

        Later than all before, so that whoever became a viewer cannot become an editor again with the token from
        before. A session that has another user now is let go, because what a connection is counted by and known
        as does not change while it is open; its tab comes back with the new token.
        """
        if self.claims is None or self._verify is None:
            return
        try:
            renewed = self._verify(token, self._room)
        except TokenError as error:
            _log.warning("room %r: a renewal was ignored: %s", self._room, error)
            return
        if renewed.session != self.claims.session:
            _log.warning("room %r: a renewal was ignored: it is another session's", self._room)
        elif renewed.user != self.claims.user:
            await self.close(
                CloseCode.TOKEN_EXPIRED, "the session has another user: come back with the new token"
            )
            raise StopAsyncIteration
        elif renewed.role_in(self._room) is Role.VIEWER or renewed.expires_at > self._last_end:
            self._last_end = max(self._last_end, renewed.expires_at)
            self.claims = renewed
        else:
            _log.info("room %r: a renewal was ignored: it does not end later", self._room)

    async def send(self, message: bytes) -> None:
        """Send a frame; does nothing once the connection is closed."""
        if self._is_open:
            await self._send({"type": "websocket.send", "bytes": message})

    async def close(self, code: CloseCode, reason: str = "") -> None:
        """Close the connection; does nothing if it is. The reason is cut to what a closing frame can hold."""
        if not self._is_open:
            return
        self._is_open = False
        if self._metrics is not None:
            self._metrics.closes.labels(str(int(code))).inc()
        try:
            await self._send({"type": "websocket.close", "code": int(code), "reason": reason[:100]})
        except (OSError, RuntimeError):
            return  # uvicorn says so if the client was faster
