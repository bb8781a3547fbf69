"""The gate: what is asked of a connection before it is accepted.

Refusals are HTTP 403 before the socket is accepted: y-websocket resets its back-off when a connection opens, so
that accept-then-close makes it come back ten times a second. They all look the same, whether a room exists or
not; the reason is in the log and in the metrics.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from starlette.types import Receive, Scope, Send

from streamlit_crdt_server.asgi.credentials import choose_subprotocol, read_credentials
from streamlit_crdt_server.asgi.origins import check_host, check_origin
from streamlit_crdt_server.asgi.rate_limits import ConnectionCounter, RateLimiter
from streamlit_crdt_server.asgi.websocket import WebSocketChannel
from streamlit_crdt_server.auth.key_ring import check_keys
from streamlit_crdt_server.auth.tokens import Claims, KeyRing, verify
from streamlit_crdt_server.errors import (
    HostRefused,
    OriginRefused,
    QueryRefused,
    RoomForbiddenError,
    RoomNameRefused,
    ServerError,
    TokenError,
    TokenExpiredError,
    TokenForgedError,
    TokenKeyUnknownError,
    TokenMalformedError,
    TokenMissingError,
    TooManyConnectionsError,
    TooManyRoomsError,
)
from streamlit_crdt_server.hub.hub import Hub
from streamlit_crdt_server.settings import Settings

_log = logging.getLogger(__name__)

REASONS: dict[type[ServerError], str] = {
    HostRefused: "host",
    OriginRefused: "origin",
    QueryRefused: "query",
    RoomNameRefused: "room_name",
    TokenMissingError: "token_missing",
    TokenMalformedError: "token_malformed",
    TokenKeyUnknownError: "token_key_unknown",
    TokenForgedError: "token_forged",
    TokenExpiredError: "token_expired",
    RoomForbiddenError: "room_forbidden",
    TooManyConnectionsError: "too_many_connections",
    TooManyRoomsError: "too_many_rooms",
}
"""What the metric `refusals` says of an error; anything else is "unavailable"."""


class WebSocketEndpoint:
    """The ASGI endpoint of sockets: asks what is to be asked, accepts, and hands the socket to the hub."""

    def __init__(
        self, hub: Hub, settings: Settings, *, keys: KeyRing | None, clock: Callable[[], float] = time.time
    ) -> None:
        """Make a gate.

        Args:
            hub: Where the sockets go.
            settings: Who is let in.
            keys: What tokens are verified with. Where the settings require none, a good one tells whose a socket is,
                so that nobody is counted twice, and no more.
            clock: The time in seconds since the epoch.

        Raises:
            SettingsError: Tokens are required and there are no keys.
        """
        check_keys(settings, keys)
        self._hub = hub
        self._settings = settings
        self._keys = keys if settings.require_token else None
        self._known_by = keys
        self._clock = clock
        self._connections = ConnectionCounter(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        room = str(scope["path_params"]["room"])
        address = _address(scope)
        try:
            socket = self._admit(scope, receive, send, room)
            user = None if socket.claims is None else socket.claims.user
            self._connections.check(room=room, user=user, address=address)
        except ServerError as error:
            self._hub.metrics.refusals.labels(REASONS.get(type(error), "unavailable")).inc()
            _log.warning("refused a connection from %s: %s", address, error)
            await _refuse(send)
            return
        with self._connections.counted(room=room, user=user, address=address):
            await socket.accept(choose_subprotocol(scope))
            await self._hub.serve(socket)

    def _admit(self, scope: Scope, receive: Receive, send: Send, room: str) -> WebSocketChannel:
        """Make a socket that may be accepted, or raise a ServerError."""
        check_host(scope, self._settings)
        check_origin(scope, self._settings.allow_origin)
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        if raw_path.partition(b"?")[0].rpartition(b"/")[2] != room.encode():
            raise RoomNameRefused(raw_path.decode("latin-1"))  # encoded: two spellings would be one room
        ticket = read_credentials(scope)
        claims = None if self._keys is None else self._verify(ticket.token, room)
        session = self._session_of(ticket.token) if claims is None else claims.session
        self._hub.check_can_open(room)
        return WebSocketChannel(
            receive,
            send,
            room,
            claims=claims,
            session=session,
            epoch=ticket.epoch,
            verify=self._verify,
            meter=RateLimiter(self._settings, time.monotonic()),
            metrics=self._hub.metrics,
            clock=self._clock,
        )

    def _verify(self, token: str | None, room: str) -> Claims:
        """Return what a token says, if it opens `room`; else raise a TokenError."""
        if token is None or self._keys is None:
            raise TokenMissingError()
        claims = verify(self._keys, token, now=self._clock())
        if claims.role_in(room) is None:
            raise RoomForbiddenError(room)
        return claims

    def _session_of(self, token: str | None) -> str | None:
        """Return whose token it is, where none is needed; one that is not good says nothing."""
        if token is None or self._known_by is None:
            return None
        try:
            return verify(self._known_by, token, now=self._clock()).session
        except TokenError:
            return None


def _address(scope: Scope) -> str | None:
    client = scope.get("client")
    return None if client is None else str(client[0])


async def _refuse(send: Send) -> None:
    """Answer a connection that was not accepted with HTTP 403."""
    await send({"type": "websocket.close", "code": 1008})
