"""A replica in this very process that takes part in a room like one more connection.

A Streamlit session runs in threads of its own; the room lives in the server's event loop. Nothing here makes
a thread wait for the loop: `push` leaves an update at the door and `drain` takes what lies there.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING

from pycrdt import merge_updates

from streamlit_crdt_server.batch import settle
from streamlit_crdt_server.errors import HubNotRunningError
from streamlit_crdt_server.protocol import EMPTY_UPDATE, CloseCode
from streamlit_crdt_server.yjs.safe_apply import validate_update

if TYPE_CHECKING:
    from streamlit_crdt_server.rooms import Room

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
