"""The network below an exchange: a thread with an event loop, which connects again until the room is left.

asyncio in a thread of its own, because a program's own loop, if it has one, may be busy when the server wants an
answer, and because a job without one should not need one.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from contextlib import suppress
from typing import Final

from websockets.asyncio.client import ClientConnection as WebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI, WebSocketException
from websockets.typing import Subprotocol

from streamlit_crdt.client.credentials import TTL_S, Sign, is_here
from streamlit_crdt.client.errors import EntryRefusedError, RoomDeletedError
from streamlit_crdt.client.sync_client import SyncClient
from streamlit_crdt.errors import ServerUnavailableError, UpdateRefusedError
from streamlit_crdt_server import CloseCode, MalformedFrameError
from streamlit_crdt_server.asgi.credentials import SUBPROTOCOL, TOKEN_PREFIX
from streamlit_crdt_server.protocol import awareness, renewal

_log = logging.getLogger("streamlit_crdt")

TICK_S: Final = 0.01
"""What is edited within it leaves as one update: a server closes who sends more than some thousands in a second."""

MAX_BYTES_PER_S: Final = 8 * 1024 * 1024
"""Likewise for large updates; a quarter of what the room server allows by default."""

HEARTBEAT_S: Final = 30.0
"""A server closes a connection on which nothing came for some minutes."""

MIN_DELAY_S: Final = 0.1
MAX_DELAY_S: Final = 5.0
"""Between attempts to connect, doubled each time, less a random half: all of a server's jobs must not come at once."""

STEADY_AFTER_S: Final = 5.0
"""A connection that lasted so long ends the doubling: one that is closed at once would be made ten times a second."""

CLOSE_TIMEOUT_S: Final = 1.0
END_S: Final = 5.0

_LOST: Final = (OSError, TimeoutError, WebSocketException, MalformedFrameError, UpdateRefusedError)


class ClientConnection:
    """Keeps a connection open from `start` to `stop`, which any thread may call."""

    def __init__(self, room: str, address: str, sign: Sign) -> None:
        """Make one for `room` on the server at `address`, which is shown what `sign` gives."""
        self.exchange = SyncClient(room, self._wake)
        self._room = room
        self._address = address
        self._sign = sign
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_awake = self._is_over = False
        self._token: str | None = None
        self._signed_at = 0.0
        self._thread = threading.Thread(target=self._serve, name=f"streamlit-crdt-{room}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Close the connection and end the thread. May be called again."""
        with self._lock:
            self._is_over = True
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._main.cancel)
        self._thread.join(END_S)

    def _wake(self) -> None:
        with self._lock:
            if self._loop is not None and not self._is_awake:
                self._is_awake = True
                self._loop.call_soon_threadsafe(self._news.set)

    # -- in the thread -------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        try:
            with suppress(asyncio.CancelledError):
                asyncio.run(self._run())
        except BaseException as error:  # the thread's edge: whatever ends it, the program is told
            _log.exception("room %r: the connection failed and is not made again", self._room)
            self.exchange.end(ServerUnavailableError(self._address, f"{type(error).__name__}: {error}"))

    async def _run(self) -> None:
        with self._lock:
            self._news = asyncio.Event()
            self._main = asyncio.current_task() or asyncio.ensure_future(asyncio.sleep(0))
            self._loop = asyncio.get_running_loop()
        try:
            await self._connect_for_ever()
        finally:
            with self._lock:
                self._loop = None

    async def _connect_for_ever(self) -> None:
        delay_s, reason = MIN_DELAY_S, ""
        while self.exchange.progress.fault is None and not self._is_over:
            began_at = time.monotonic()
            try:
                await self._connect_once()
            except _LOST as error:
                self._lost(error)
                if self.exchange.progress.reason != reason:
                    reason = self.exchange.progress.reason
                    _log.warning("room %r: no connection to %s: %s", self._room, self._address, reason)
            if time.monotonic() - began_at > STEADY_AFTER_S:
                delay_s, reason = MIN_DELAY_S, ""
            await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))
            delay_s = min(2 * delay_s, MAX_DELAY_S)

    def _lost(self, error: Exception) -> None:
        """Note why there is no connection; it is for ever if the room was deleted, or this program not let in."""
        self.exchange.close(_in_words(error))
        is_refused = isinstance(error, InvalidStatus) and error.response.status_code in (401, 403)
        if is_refused and not self.exchange.is_entered:
            had_token = self._token is not None
            self.exchange.end(EntryRefusedError(self._room, self._address, had_token))
        elif isinstance(error, InvalidURI):
            self.exchange.end(error)
        elif isinstance(error, ConnectionClosed) and _code(error) == CloseCode.OTHER_EPOCH:
            self.exchange.end(RoomDeletedError(self._room))

    async def _connect_once(self) -> None:
        self._token, self._signed_at = self._sign(), time.monotonic()
        epoch = self.exchange.progress.epoch
        offered = [] if self._token is None else [SUBPROTOCOL, f"{TOKEN_PREFIX}{self._token}"]
        async with connect(
            f"{self._address}/{self._room}" + ("" if epoch is None else f"?epoch={epoch}"),
            subprotocols=[Subprotocol(text) for text in offered] or None,
            proxy=None if is_here(self._address) else True,
            compression=None,
            max_size=None,  # a room comes in one frame
            close_timeout=CLOSE_TIMEOUT_S,
        ) as socket:
            await socket.send(self.exchange.open())
            await self._converse(socket)

    async def _converse(self, socket: WebSocket) -> None:
        """Read and write until one of both cannot go on; then the other one must not either."""
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
        while self.exchange.progress.fault is None:
            self.exchange.receive(bytes(await socket.recv(decode=False)))

    async def _write(self, socket: WebSocket) -> None:
        """Send what there is, as it comes. Ends with the connection, which the reader sees too."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_S):
                    await self._news.wait()
            self._news.clear()
            with self._lock:
                self._is_awake = False
            frames = [*self._renewal(), *self.exchange.take()] or [awareness(())]
            for frame in frames:
                await socket.send(frame)
            await asyncio.sleep(max(TICK_S, sum(map(len, frames)) / MAX_BYTES_PER_S))

    def _renewal(self) -> list[bytes]:
        """Return the frame that brings a new token while the last one is still valid; none for a server not of ours."""
        if time.monotonic() - self._signed_at < TTL_S / 2 or self.exchange.progress.epoch is None:
            return []
        self._signed_at = time.monotonic()
        former, self._token = self._token, self._sign()
        return [] if self._token in (None, former) else [renewal(self._token)]


def _code(error: ConnectionClosed) -> int | None:
    return None if error.rcvd is None else error.rcvd.code


def _in_words(error: Exception) -> str:
    if isinstance(error, InvalidStatus):
        return f"the server answered HTTP {error.response.status_code}"
    if isinstance(error, ConnectionClosed) and error.rcvd is not None:
        return f"the server closed the connection ({error.rcvd.code} {error.rcvd.reason})".replace(" )", ")")
    return str(error) or type(error).__name__
