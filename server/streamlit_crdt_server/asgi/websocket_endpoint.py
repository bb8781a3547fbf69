"""The WebSocket endpoint: the checks of a connection before it is accepted.

A refused connection receives HTTP 403 before the WebSocket is accepted. y-websocket resets its back-off when a
connection opens, so a client that is accepted and then closed would reconnect ten times a second. All refusals look the
same, whether a room exists or not; the reason is in the log and in the metrics. Only a server that has all the
connections that it may have answers 503, to every client.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from starlette.types import Receive, Scope, Send

from streamlit_crdt_server.asgi.credentials import choose_subprotocol, read_credentials
from streamlit_crdt_server.asgi.origins import check_host, check_origin
from streamlit_crdt_server.asgi.rate_limits import ConnectionCounter, RateLimiter
from streamlit_crdt_server.asgi.room_path import read_room_name
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
    TooManyNewRoomsError,
    TooManyRoomsError,
)
from streamlit_crdt_server.hub.creation_limits import Creator
from streamlit_crdt_server.hub.hub import Hub
from streamlit_crdt_server.settings import Settings
from streamlit_crdt_server.throttled_log import ThrottledLog

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
    TooManyNewRoomsError: "too_many_new_rooms",
}
"""The `reason` label of an error in the metric `refusals`. Any other error is "unavailable"."""


class WebSocketEndpoint:
    """The ASGI endpoint of WebSockets: checks a connection, accepts it and passes it to the hub."""

    def __init__(
        self,
        hub: Hub,
        settings: Settings,
        *,
        keys: KeyRing | None,
        max_accepted: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Create an endpoint.

        Args:
            hub: Serves the accepted connections.
            settings: The limits, and the rules for connections.
            keys: The keys that verify tokens. If the settings require no token, a valid one only gives the session
                of a connection, so that its participant is counted once.
            max_accepted: Limit of all accepted WebSockets. None sets no limit.
            clock: Returns the time in seconds since the epoch.

        Raises:
            SettingsError: Tokens are required and there are no keys.
        """
        check_keys(settings, keys)
        self._hub = hub
        self._settings = settings
        self._keys = keys if settings.require_token else None
        self._session_keys = keys
        self._clock = clock
        self._connections = ConnectionCounter(settings, max_accepted)
        self._throttled = ThrottledLog(_log)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        address = _address(scope)
        try:
            room = read_room_name(scope)
            channel = self._check(scope, receive, send, room)
            user = None if channel.claims is None else channel.claims.user
            self._connections.check(room=room, user=user, address=address)
            await self._hub.check_creation(room, Creator(user, address))
        except ServerError as error:
            reason = REASONS.get(type(error), "unavailable")
            self._hub.metrics.refusals.labels(reason).inc()
            self._throttled.warning(reason, "refused a connection from %s: %s", address, error)
            await _refuse(scope, send, error)
            return
        with self._connections.counted(room=room, user=user, address=address):
            await channel.accept(choose_subprotocol(scope))
            await self._hub.serve(channel)

    def _check(self, scope: Scope, receive: Receive, send: Send, room: str) -> WebSocketChannel:
        """Check a request, and return its channel, which is not accepted yet.

        Raises:
            ServerError: The connection must be refused.
        """
        check_host(scope, self._settings)
        check_origin(scope, self._settings.allow_origin)
        credentials = read_credentials(scope)
        claims = None if self._keys is None else self._verify(credentials.token, room)
        session = self._session_of(credentials.token) if claims is None else claims.session
        self._hub.check_can_open(room)
        return WebSocketChannel(
            receive,
            send,
            room,
            claims=claims,
            session=session,
            epoch=credentials.epoch,
            takes_fragments=credentials.takes_fragments,
            replica_id=credentials.replica_id,
            verify=self._verify,
            rate_limiter=RateLimiter(self._settings, time.monotonic()),
            metrics=self._hub.metrics,
            clock=self._clock,
        )

    def _verify(self, token: str | None, room: str) -> Claims:
        """Return the claims of a token that opens `room`.

        Raises:
            TokenError: The token is missing or invalid, or does not open the room.
        """
        if token is None or self._keys is None:
            raise TokenMissingError()
        claims = verify(self._keys, token, now=self._clock())
        if claims.role_in(room) is None:
            raise RoomForbiddenError(room)
        return claims

    def _session_of(self, token: str | None) -> str | None:
        """Return the session of a token that is not required. None if it is missing or invalid."""
        if token is None or self._session_keys is None:
            return None
        try:
            return verify(self._session_keys, token, now=self._clock()).session
        except TokenError:
            return None


def _address(scope: Scope) -> str | None:
    client = scope.get("client")
    return None if client is None else str(client[0])


async def _refuse(scope: Scope, send: Send, error: ServerError) -> None:
    """Refuse a connection that is not accepted yet: with HTTP 503 if the server is full, otherwise with 403."""
    is_full = isinstance(error, TooManyConnectionsError) and error.kind == "server"
    if is_full and "websocket.http.response" in (scope.get("extensions") or {}):
        await send(
            {"type": "websocket.http.response.start", "status": 503, "headers": [(b"retry-after", b"1")]}
        )
        await send({"type": "websocket.http.response.body", "body": b""})
    else:
        await send({"type": "websocket.close", "code": 1008})
