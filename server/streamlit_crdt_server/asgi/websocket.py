"""An ASGI WebSocket as a `Channel` of pycrdt, with the claims of its token, its expiry and its rate limits.

pycrdt-websocket's `ASGIWebsocket` cannot close, returns text frames as None, and never ends an accepted connection.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from pycrdt import Channel
from starlette.types import Message, Receive, Send

from streamlit_crdt_server import protocol
from streamlit_crdt_server.asgi.rate_limits import RateExceededError, RateLimiter
from streamlit_crdt_server.auth.tokens import Claims, Role
from streamlit_crdt_server.errors import MalformedFrameError, TokenError
from streamlit_crdt_server.metrics import Metrics
from streamlit_crdt_server.protocol import CloseCode

_log = logging.getLogger(__name__)

MIN_DELAY_S = 0.005
"""Shortest delay in seconds of a connection that exceeds a rate. A shorter debt is added to the next."""

Verify = Callable[[str, str], Claims]


class WebSocketChannel(Channel):
    """An ASGI WebSocket. Call `accept()` before the first frame.

    Attributes:
        room_name: The room's name.
        claims: The claims of its token. None if no token is required. A renewal replaces them.
        session: The session of the client, see `Peer`.
        epoch: The document epoch that the client has. None if it sent none.
        takes_fragments: Whether the client receives large frames in fragments.
        replica_id: The replica id with which the client writes. None if it sent none.
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
        takes_fragments: bool = False,
        replica_id: int | None = None,
        verify: Verify | None = None,
        rate_limiter: RateLimiter | None = None,
        metrics: Metrics | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Create a channel.

        Args:
            receive: The ASGI callable.
            send: The ASGI callable.
            room: The room's name.
            claims: See Attributes.
            session: See Attributes.
            epoch: See Attributes.
            takes_fragments: See Attributes.
            replica_id: See Attributes.
            verify: Returns the claims of a token for a room. Raises TokenError if the token does not open the room.
            rate_limiter: The limits of received frames. None sets no limit.
            metrics: Counts the close.
            clock: Returns the time in seconds since the epoch.
        """
        self.claims = claims
        self.session = session
        self.epoch = epoch
        self.takes_fragments = takes_fragments
        self.replica_id = replica_id
        self._receive = receive
        self._send = send
        self.room_name = room
        self._verify = verify
        self._rate_limiter = rate_limiter
        self._metrics = metrics
        self._clock = clock
        self._is_open = True
        self._last_expiry = 0.0 if claims is None else claims.expires_at

    @property
    def path(self) -> str:
        """The room's name."""
        return self.room_name

    async def accept(self, subprotocol: str | None) -> None:
        """Accept the connection. A client that offered subprotocols fails unless one of them is accepted."""
        await self._send({"type": "websocket.accept", "subprotocol": subprotocol})

    async def recv(self) -> bytes:
        """Return the next frame for the room. Token renewals are handled here.

        Raises:
            StopAsyncIteration: The connection is closed: by the client, or here because the token expired, the user
                changed, or a rate limit was exceeded.
            MalformedFrameError: A text frame was received.
        """
        while True:
            event = await self._next_event()
            if event["type"] != "websocket.receive":
                self._is_open = False
                raise StopAsyncIteration
            content: bytes | None = event.get("bytes")
            await self._count(len(content or event.get("text") or ""))
            if content is None:
                raise MalformedFrameError("the frame is text; the protocol has binary frames only")
            if not content.startswith(protocol.RENEWAL_PREFIX):
                return content
            await self._renew(protocol.parse_renewal(content))

    async def _next_event(self) -> Message:
        """Wait for the client until its token expires (rule A2)."""
        if self.claims is None:
            return await self._receive()
        event = None
        try:
            async with asyncio.timeout(max(self.claims.expires_at - self._clock(), 0)):
                event = await self._receive()
        except TimeoutError:
            _log.debug("room %r: a token expired on an open socket", self.room_name)
        # The clock is read again: a timeout does not advance while a computer sleeps.
        if event is None or self._clock() >= self.claims.expires_at:
            await self.close(CloseCode.TOKEN_EXPIRED, "the token expired; reconnect with a new one")
            raise StopAsyncIteration
        return event

    async def _count(self, size_bytes: int) -> None:
        """Wait if a frame exceeds a rate limit, so that its sender slows down. Close the connection if it does not."""
        if self._rate_limiter is None:
            return
        try:
            delay_s = self._rate_limiter.count(size_bytes, time.monotonic())
        except RateExceededError as excess:
            _log.warning("closed a socket of room %r: it exceeded %s", self.room_name, excess)
            await self.close(CloseCode.TOO_FAST, f"{excess} was exceeded")
            raise StopAsyncIteration from excess
        if delay_s > MIN_DELAY_S:
            await asyncio.sleep(delay_s)

    async def _renew(self, token: str) -> None:
        """Replace the claims by those of a new token of the same session.

        A viewer's token applies at once. Any other must expire later than all earlier ones: otherwise a participant
        that became a viewer could become an editor again with an earlier token. If the user of the session changed,
        the connection is closed, because its counters and its presence belong to one user; its tab reconnects with
        the new token.
        """
        if self.claims is None or self._verify is None:
            return
        try:
            renewed = self._verify(token, self.room_name)
        except TokenError as error:
            _log.warning("room %r: a renewal was ignored: %s", self.room_name, error)
            return
        if renewed.session != self.claims.session:
            _log.warning("room %r: a renewal was ignored: its session differs", self.room_name)
        elif renewed.user != self.claims.user:
            await self.close(
                CloseCode.TOKEN_EXPIRED, "the user of the session changed; reconnect with the new token"
            )
            raise StopAsyncIteration
        elif renewed.role_in(self.room_name) is Role.VIEWER or renewed.expires_at > self._last_expiry:
            self._last_expiry = max(self._last_expiry, renewed.expires_at)
            self.claims = renewed
        else:
            _log.info("room %r: a renewal was ignored: it does not expire later", self.room_name)

    async def send(self, message: bytes) -> None:
        """Send a frame. Does nothing after the connection was closed."""
        if self._is_open:
            await self._send({"type": "websocket.send", "bytes": message})

    async def close(self, code: CloseCode, reason: str = "") -> None:
        """Close the connection. Does nothing if it is closed. The reason is cut to 100 characters.

        A close frame has space for 123 bytes.
        """
        if not self._is_open:
            return
        self._is_open = False
        if self._metrics is not None:
            self._metrics.closes.labels(str(int(code))).inc()
        try:
            await self._send({"type": "websocket.close", "code": int(code), "reason": reason[:100]})
        except (OSError, RuntimeError):
            return  # uvicorn raises if the client closed first
