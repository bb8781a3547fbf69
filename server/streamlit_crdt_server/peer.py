"""A peer: whatever a room sends updates to. Here the seam, and the peer behind a socket.

The shipped `YRoom` starts a task per message and client, which costs four times the CPU of Node's server, and
lets memory grow for as long as a client does not read. Here a peer has one writer and a bounded backlog; who
exceeds it is closed and resyncs when it returns, which is cheap because every hop states what it has (rule
N1).
"""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import Protocol

from anyio import CancelScope, Event, move_on_after
from pycrdt import Channel

from streamlit_crdt_server.protocol import CloseCode, SaveStatus, saved_answer
from streamlit_crdt_server.roles import session_of
from streamlit_crdt_server.settings import Settings

_FRAME_OVERHEAD_BYTES = 64
"""What a waiting frame costs besides its bytes, so that a million empty ones count too."""

_FAULTS_OF_THE_PEER = (CloseCode.MALFORMED, CloseCode.TOO_LARGE, CloseCode.TOO_SLOW)


class Peer(Protocol):
    """What a room knows of whoever takes part in it. Called in the loop's thread; no method waits.

    Attributes:
        session: Which Streamlit session, or client, it belongs to; None if it does not say. Two of one name are one.
        is_leaving: Whether it has said goodbye; its connection may last a moment longer.
    """

    session: str | None
    is_leaving: bool

    def deliver(self, frame: bytes, update: bytes | None) -> None:
        """Take a frame for this peer; `update` is what a sync frame carries, None for other frames."""
        ...

    def dismiss(self, code: CloseCode, reason: str) -> None:
        """Let the peer go; unless the code forbids it, it may come back."""
        ...


class SocketPeer:
    """A peer behind a `Channel`. Its `write()` runs in one task for as long as the channel is served.

    Attributes:
        channel: Where its frames come from and go to.
        heard_at: When the last frame came, on the monotonic clock.
        scope: Cancelled when the peer is dismissed.
        close_code: Why it was dismissed; None while it is served.
        was_refused: Whether an update of it was not taken in, because it may only look on.
        session, is_leaving: As of `Peer`.
    """

    def __init__(self, channel: Channel, settings: Settings, log: logging.Logger) -> None:
        self.channel = channel
        self.heard_at = time.monotonic()
        self.scope = CancelScope()
        self.close_code: CloseCode | None = None
        self.was_refused = False
        self.session = session_of(channel)
        self.is_leaving = False
        self._saved_version = 0
        self._close_reason = ""
        self._settings = settings
        self._log = log
        self._backlog: deque[bytes] = deque()
        self._backlog_bytes = 0
        self._has_backlog = Event()

    def deliver(self, frame: bytes, update: bytes | None = None) -> None:
        """Put a frame into the backlog; close instead if too much waits already.

        A single frame may be as large as it likes, because a joiner needs the whole room.
        """
        if self.close_code is not None:
            return
        if self._backlog and self._backlog_bytes + len(frame) > self._settings.max_backlog_bytes_per_peer:
            self.dismiss(CloseCode.TOO_SLOW, "too much waits for this peer: it resyncs when it reconnects")
            return
        self._backlog.append(frame)
        self._backlog_bytes += len(frame) + _FRAME_OVERHEAD_BYTES
        self._has_backlog.set()

    def dismiss(self, code: CloseCode, reason: str) -> None:
        """End the serving of this peer; the first code given is the one that it is told."""
        if self.close_code is not None:
            return
        self.close_code = code
        self._close_reason = reason
        self._backlog.clear()
        level = logging.WARNING if code in _FAULTS_OF_THE_PEER else logging.INFO
        self._log.log(level, "closed a socket of room %r with %d: %s", self.channel.path, code, reason)
        self.scope.cancel()

    def answer_saved(self, version: int, level: int, epoch: str) -> None:
        """Tell it that all it sent before it asked for `version` is saved, unless a part of it was refused."""
        if self.was_refused:
            self.answer_unsaved(SaveStatus.REFUSED, level, epoch)
            return
        self._saved_version = version
        self.deliver(saved_answer(version, level, SaveStatus.SAVED, epoch))

    def answer_unsaved(self, status: SaveStatus, level: int, epoch: str) -> None:
        """Tell it that nothing after the last version that it was told of is saved, and why."""
        self.deliver(saved_answer(self._saved_version, level, status, epoch))

    async def write(self) -> None:
        """Send the backlog as it fills, in order, until cancelled or until the channel is gone."""
        while True:
            await self._has_backlog.wait()
            while self._backlog:
                frame = self._backlog.popleft()
                self._backlog_bytes -= len(frame) + _FRAME_OVERHEAD_BYTES
                await self.channel.send(frame)
            self._has_backlog = Event()

    async def say_goodbye(self) -> None:
        """Send the closing message, if the server ends this and the channel knows how to close.

        The wait is bounded: a peer that does not read does not take the closing message either.
        """
        close = getattr(self.channel, "close", None)
        if self.close_code is None or close is None:
            return
        with move_on_after(self._settings.close_timeout_s, shield=True):
            await close(self.close_code, self._close_reason)
