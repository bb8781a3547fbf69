"""WebSocket connection of a `SyncClient`: a thread with an event loop that reconnects until it is stopped.

asyncio runs in its own thread: the program's event loop may be busy when the server needs an answer, and a program
without an event loop must not need one.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from contextlib import ExitStack, suppress
from typing import Final

from websockets.asyncio.client import ClientConnection as WebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI, WebSocketException
from websockets.typing import Subprotocol

from streamlit_crdt.client.credentials import TTL_S, TokenFactory, is_local
from streamlit_crdt.client.errors import EntryRefusedError, RoomDeletedError
from streamlit_crdt.client.sync_client import SyncClient
from streamlit_crdt.errors import ServerUnavailableError, UpdateRefusedError
from streamlit_crdt_server import CloseCode, MalformedFrameError
from streamlit_crdt_server.asgi.credentials import FRAGMENTS, REPLICA, SUBPROTOCOL, TOKEN_PREFIX
from streamlit_crdt_server.protocol import awareness, renewal
from streamlit_crdt_server.rewriting import kept_operations

_log = logging.getLogger("streamlit_crdt")

TICK_S: Final = 0.01
"""Seconds between two sends. Edits in between leave as one update: a server closes a connection that sends more than
a few thousand messages a second."""

MAX_BYTES_PER_S: Final = 8 * 1024 * 1024
"""Limit for large updates, a quarter of the room server's default limit. A server closes a faster connection."""

HEARTBEAT_S: Final = 30.0
"""Seconds between frames of an idle client. A server closes a connection that is idle for some minutes."""

MIN_DELAY_S: Final = 0.1
MAX_DELAY_S: Final = 5.0
"""Seconds between attempts to connect: doubled each time, and reduced by a random part of up to a half, so that all
clients of a server do not reconnect at once."""

STEADY_AFTER_S: Final = 5.0
"""Seconds after which a connection resets the delay. Otherwise a server that closes each connection at once would be
contacted ten times a second."""

CLOSE_TIMEOUT_S: Final = 1.0
"""Seconds to wait for the server's closing handshake."""

JOIN_TIMEOUT_S: Final = 5.0
"""Seconds that `stop` waits for the thread."""

MAX_RECEIVED_FRAME_BYTES: Final = 128 * 1024 * 1024
"""Limit of a frame from the server, twice the default limit of a room. A larger one closes the connection. One value
may be larger than the frames to which a server cuts."""

MAX_UNREAD_BYTES: Final = 1024 * 1024
"""Limit of the bytes that wait for the server beside the frame that is sent: answers to pings that it does not read.
Beyond it the connection is closed."""

_CONNECTION_ERRORS: Final = (
    OSError,
    TimeoutError,
    WebSocketException,
    MalformedFrameError,
    UpdateRefusedError,
)


class _ConnectHere(connect):
    """Connection that follows no redirect. websockets would send the token to the other server, in the subprotocols."""

    def process_redirect(self, exc: Exception) -> Exception:
        return exc


class _BoundedWebSocket(WebSocket):
    """WebSocket whose memory and closing time are limited, whatever the server sends.

    websockets answers each ping at once, also if the server does not read, and it drops what arrives after a closing
    frame without a limit of time.

    Attributes:
        sent_frame_bytes: size of the frame that is sent.
    """

    sent_frame_bytes = 0
    _is_ending = False

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.get_write_buffer_size() > self.sent_frame_bytes + MAX_UNREAD_BYTES:
            self.transport.abort()
        elif not self._is_ending and self.protocol.close_expected():
            self._is_ending = True
            asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self.transport.abort)


class ClientConnection:
    """Connection that is kept open from `start` to `stop`. Any thread may call both."""

    def __init__(self, room: str, address: str, sign: TokenFactory) -> None:
        """Create a connection that is not started.

        Args:
            room: the room's full name, with its namespace.
            address: the server's address.
            sign: called for a token at each attempt to connect.
        """
        self.sync_client = SyncClient(room, self._wake, MAX_RECEIVED_FRAME_BYTES)
        self._room = room
        self._address = address
        self._sign = sign
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_awake = self._is_stopped = False
        self._token: str | None = None
        self._signed_at = 0.0
        self._thread = threading.Thread(target=self._serve, name=f"streamlit-crdt-{room}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Close the connection and end the thread. A second call does nothing."""
        with self._lock:
            self._is_stopped = True
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._main.cancel)
        self._thread.join(JOIN_TIMEOUT_S)

    def _wake(self) -> None:
        with self._lock:
            if self._loop is not None and not self._is_awake:
                self._is_awake = True
                self._loop.call_soon_threadsafe(self._has_frames.set)

    # -- in the thread -------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        try:
            with suppress(asyncio.CancelledError):
                asyncio.run(self._run())
        except BaseException as error:  # outer edge of the thread: report any error to the program
            _log.exception("room %r: the connection failed and will not be opened again", self._room)
            self.sync_client.fail(ServerUnavailableError(self._address, f"{type(error).__name__}: {error}"))

    async def _run(self) -> None:
        with self._lock:
            self._has_frames = asyncio.Event()
            self._main = asyncio.current_task() or asyncio.ensure_future(asyncio.sleep(0))
            self._loop = asyncio.get_running_loop()
        try:
            await self._reconnect_until_stopped()
        finally:
            with self._lock:
                self._loop = None

    async def _reconnect_until_stopped(self) -> None:
        delay_s, reason = MIN_DELAY_S, ""
        while self.sync_client.progress.fault is None and not self._is_stopped:
            began_at = time.monotonic()
            try:
                await self._connect_once()
            except _CONNECTION_ERRORS as error:
                self._on_connection_error(error)
                if self.sync_client.progress.reason != reason:
                    reason = self.sync_client.progress.reason
                    _log.warning("room %r: no connection to %s: %s", self._room, self._address, reason)
            if time.monotonic() - began_at > STEADY_AFTER_S:
                delay_s, reason = MIN_DELAY_S, ""
            await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))
            delay_s = min(2 * delay_s, MAX_DELAY_S)

    def _on_connection_error(self, error: Exception) -> None:
        """Record the error. It is final if the room was deleted, or if the server refused the first connection."""
        self.sync_client.close(_describe(error))
        is_refused = isinstance(error, InvalidStatus) and error.response.status_code in (401, 403)
        if is_refused and not self.sync_client.is_entered:
            had_token = self._token is not None
            self.sync_client.fail(EntryRefusedError(self._room, self._address, had_token))
        elif isinstance(error, InvalidURI):
            self.sync_client.fail(error)
        elif isinstance(error, ConnectionClosed) and _close_code(error) == CloseCode.OTHER_EPOCH:
            self.sync_client.fail(RoomDeletedError(self._room))
        elif isinstance(error, ConnectionClosed) and _close_code(error) == CloseCode.REWRITTEN:
            self.sync_client.follow_rewrite(kept_operations("" if error.rcvd is None else error.rcvd.reason))

    async def _connect_once(self) -> None:
        self._token, self._signed_at = self._sign(), time.monotonic()
        epoch = self.sync_client.progress.epoch
        offered = [] if self._token is None else [SUBPROTOCOL, f"{TOKEN_PREFIX}{self._token}"]
        query = f"?{FRAGMENTS}=1&{REPLICA}={self.sync_client.replica.replica_id}"
        query += "" if epoch is None else f"&epoch={epoch}"
        opening = _ConnectHere(
            f"{self._address}/{self._room}{query}",
            subprotocols=[Subprotocol(text) for text in offered] or None,
            proxy=None if is_local(self._address) else True,
            compression=None,
            max_size=MAX_RECEIVED_FRAME_BYTES,
            close_timeout=CLOSE_TIMEOUT_S,
            create_connection=_BoundedWebSocket,
        )
        with ExitStack() as stack:
            async with opening as socket:
                assert isinstance(socket, _BoundedWebSocket)
                stack.callback(socket.transport.abort)  # `stop` may cancel the closing handshake
                await socket.send(self.sync_client.open())
                await self._run_connection(socket)

    async def _run_connection(self, socket: _BoundedWebSocket) -> None:
        """Run reader and writer until one of them ends. Then cancel the other, and raise the error."""
        tasks = [asyncio.ensure_future(self._read(socket)), asyncio.ensure_future(self._write(socket))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        for outcome in ended:
            if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
                raise outcome

    async def _read(self, socket: WebSocket) -> None:
        while self.sync_client.progress.fault is None:
            self.sync_client.receive(bytes(await socket.recv(decode=False)))

    async def _write(self, socket: _BoundedWebSocket) -> None:
        """Send frames as they become available, and a heartbeat. Ends with an error when the connection closes."""
        while True:
            wait_s = self.sync_client.wait_s
            with suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_S if wait_s is None else min(wait_s, HEARTBEAT_S)):
                    await self._has_frames.wait()
            self._has_frames.clear()
            with self._lock:
                self._is_awake = False
            frames = self.sync_client.next_frames() or [awareness(())]
            for frame in frames:
                for message in (*self._renewal(), frame):
                    socket.sent_frame_bytes = len(message)
                    await socket.send(message)
                await asyncio.sleep(len(frame) / MAX_BYTES_PER_S)
            await asyncio.sleep(TICK_S)

    def _renewal(self) -> list[bytes]:
        """Return a frame with a new token when half of the old token's lifetime has passed.

        A server that reported no epoch is not a streamlit-crdt server, and gets no such frame.
        """
        if time.monotonic() - self._signed_at < TTL_S / 2 or self.sync_client.progress.epoch is None:
            return []
        self._signed_at = time.monotonic()
        former, self._token = self._token, self._sign()
        return [] if self._token in (None, former) else [renewal(self._token)]


def _close_code(error: ConnectionClosed) -> int | None:
    return None if error.rcvd is None else error.rcvd.code


def _describe(error: Exception) -> str:
    if isinstance(error, InvalidStatus):
        return f"the server answered HTTP {error.response.status_code}"
    if isinstance(error, ConnectionClosed) and error.rcvd is not None:
        return f"the server closed the connection ({error.rcvd.code} {error.rcvd.reason})".replace(" )", ")")
    return str(error) or type(error).__name__
