"""A replica in this very process that takes part in a room like one more connection.

A Streamlit session runs in threads of its own; the room lives in the server's event loop. Nothing here makes
a thread wait for the loop: `push` leaves an update at the door and `drain` takes what lies there.

A peer: whatever a room sends updates to. Here the seam, and the peer behind a socket.

The shipped `YRoom` starts a task per message and client, which costs four times the CPU of Node's server, and
lets memory grow for as long as a client does not read. Here a peer has one writer and a bounded backlog; who
exceeds it is closed and resyncs when it returns, which is cheap because every hop states what it has (rule
N1).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Protocol

from anyio import CancelScope, Event, move_on_after
from pycrdt import Channel, merge_updates

from streamlit_crdt_server.errors import HubNotRunningError
from streamlit_crdt_server.protocol import CloseCode, SaveStatus, saved_answer
from streamlit_crdt_server.room.permissions import session_of
from streamlit_crdt_server.settings import Settings
from streamlit_crdt_server.yjs.lib0 import EMPTY_UPDATE
from streamlit_crdt_server.yjs.safe_apply import validate_update

if TYPE_CHECKING:
    from streamlit_crdt_server.room.room import Room


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


_log = logging.getLogger(__name__)

_MERGE_AFTER = 256
"""So many updates wait one by one; then they become one, so that a session which never drains costs
little."""

MIN_LONG_BYTES = 256 * 1024
LONG_RATIO = 2
"""Above so many bytes, and above so many times the room's last state, what waits is replaced by the room's
state: a session that never drains costs no more than the room, however often that is overwritten."""


class LocalPeer:
    """A replica in this process. `Hub.open_local` makes it; `close()` ends it.

    Every method may be called from any thread, `deliver` excepted, which belongs to the room.

    Attributes:
        room: The room's name.
        session: As of `Peer`: its tab's socket names the same one.
        is_leaving: As of `Peer`.
        was_deleted: Whether it was closed because its room was deleted, so that opening it again gives another room.
        on_update: Called in the loop's thread when `drain()` has something new. It must not block, and may be
            called although `drain()` was faster.
    """

    def __init__(
        self,
        room: Room,
        state: bytes,
        post: Callable[[Callable[[], None]], None],
        *,
        session: str | None = None,
    ) -> None:
        """Make a peer whose first `drain()` gives `state`.

        Args:
            room: Where it takes part.
            state: The room's state as one update.
            post: Runs a callable in the loop's thread, soon; raises RuntimeError once the loop is closed.
            session: See Attributes.
        """
        self.session = session
        self.is_leaving = False
        self.was_deleted = False
        self.room = room.name
        self.on_update: Callable[[], None] | None = None
        self._room = room
        self._post = post
        self._lock = threading.Lock()
        self._waiting = [state] if state != EMPTY_UPDATE else []
        self._waiting_bytes = self._state_bytes = len(state)
        self._unanswered: set[Future[None]] = set()
        self._is_closed = False

    @property
    def epoch(self) -> str:
        """Which of the histories that had this room's name it takes part in: 32 hex digits."""
        return self._room.epoch

    @property
    def level(self) -> int:
        """What a saved update survives: 1 the room's closing, 2 the end of the process."""
        return self._room.level

    @property
    def is_failing(self) -> bool:
        """Whether the store fails at the moment: what was pushed is in memory, and saving is tried again."""
        return self._room.is_saving_failing

    @property
    def is_closed(self) -> bool:
        """Whether this peer has left, or its room has ended: open the room again."""
        return self._is_closed

    def push(self, update: bytes) -> Future[None]:
        """Give an update to the room and return at once.

        It is checked in this thread, so that a large one does not hold up the room's other peers.

        Returns:
            A future that is done when the room has applied the update, sent it to the others and saved it; it
            fails with `UpdateRefusedError`, with `RoomFullError`, or with `HubNotRunningError` if the room is
            gone. While the store fails it stays undone.
        """
        done: Future[None] = Future()
        try:
            update, reach = validate_update(update)
        except ValueError as error:
            done.set_exception(error)
            return done
        with self._lock:
            if self._is_closed:
                done.set_exception(HubNotRunningError())
                return done
            self._unanswered.add(done)
        done.add_done_callback(self._forget)
        try:
            self._post(lambda: self._room.submit(self, update, done, reach))
        except RuntimeError:  # the loop is closed
            self.dismiss()
        return done

    def drain(self) -> bytes | None:
        """Return everything that others wrote since the last call as one update, or None if that is nothing.

        The first call gives the whole room as it was when it was opened, and what came since. An update in
        which the room merged this peer's edits with others' holds both; applying one's own edits again
        changes nothing (rule R2).
        """
        self.is_leaving = False  # its session lives
        with self._lock:
            waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        if not waiting:
            return None
        return waiting[0] if len(waiting) == 1 else merge_updates(*waiting)

    def close(self, *, for_good: bool = False) -> None:
        """Leave the room. What was pushed before is still applied. May be called again.

        Args:
            for_good: Its session leaves; a socket of that session, which is about to end, counts no more.
        """
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        leave = self._room.depart if for_good else self._room.leave
        try:
            self._post(lambda: leave(self))
        except RuntimeError:
            return  # the loop is closed, and the room with it

    def deliver(self, frame: bytes, update: bytes | None = None) -> None:
        """Keep an update until it is drained; frames without one are for sockets. Called by the room."""
        if update is None or self._is_closed:
            return
        with self._lock:
            self._waiting.append(update)
            self._waiting_bytes += len(update)
            is_long = self._waiting_bytes > max(MIN_LONG_BYTES, LONG_RATIO * self._state_bytes)
            if len(self._waiting) > _MERGE_AFTER:
                self._waiting = [merge_updates(*self._waiting)]
        if is_long and (state := self._room.read_shared_state()) is not None:
            self._put(state)
        self._tell()

    def _tell(self) -> None:
        """Call `on_update`; what it raises is its author's to see and must not disturb other peers."""
        if self.on_update is None:
            return
        try:
            self.on_update()
        except Exception:
            _log.exception("room %r: on_update failed", self.room)

    def replace(self, state: bytes) -> None:
        """Start over from a whole state, after the room was loaded again."""
        self._put(state)
        self._tell()

    def _put(self, state: bytes) -> None:
        """Let `state` be all that waits. What is drained meanwhile is drained twice, which changes nothing."""
        with self._lock:
            self._waiting = [state]
            self._waiting_bytes = self._state_bytes = len(state)

    def dismiss(self, code: CloseCode = CloseCode.SERVICE_RESTART, reason: str = "") -> None:
        """End the peer because its room ends: pushes that were not answered fail, and so do later ones."""
        with self._lock:
            self.was_deleted = self.was_deleted or code is CloseCode.OTHER_EPOCH
            self._is_closed = True
            unanswered = tuple(self._unanswered)
        for done in unanswered:
            settle(done, HubNotRunningError())

    def _forget(self, done: Future[None]) -> None:
        with self._lock:
            self._unanswered.discard(done)


def settle(done: Future[None], error: Exception | None = None) -> None:
    """Answer somebody who waits, unless that was done already, or nobody waits any more."""
    if done.done() or not done.set_running_or_notify_cancel():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
