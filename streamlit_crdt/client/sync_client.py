"""A replica at the other end of a y-websocket connection: what is sent, and what becomes of what comes. No I/O.

Nothing is queued. What the server lacks is read from the replica when there is somebody to take it: on a new connection
a diff against what the server says it has, later what the replica's log holds since. The log is bounded, and where it
was dropped a diff takes its place; so a job that writes while the server is away costs no more than its document.

A server is asked what it has saved behind each update, one question at a time. A server that does not answer that is
asked for its document instead: its answer says that it has what was sent before, which is less than saved.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from pycrdt import Doc

from streamlit_crdt.client.errors import RoomDeletedError
from streamlit_crdt.client.server_messages import Denied, News, Question, SavedAnswer, read
from streamlit_crdt.client.sync_progress import SyncProgress
from streamlit_crdt.document.panic_guard import refuse_panics
from streamlit_crdt.document.replica import LOCAL, TAB, Replica
from streamlit_crdt_server import protocol
from streamlit_crdt_server.protocol import SaveStatus

MAX_PLAIN_BYTES: Final = 256 * 1024
"""Leaving out what is not needed takes as long as loading the room does; below this it is not worth that."""


class SyncClient:
    """One program in one room, over one connection after the other.

    `open`, `receive`, `take` and `close` belong to the connection's thread; edits may come from any.

    Attributes:
        replica: what the program sees. Until `enter`, a connection may begin with a new one.
        progress: how far its edits have come.
    """

    def __init__(self, room: str, wake: Callable[[], None]) -> None:
        """Make one.

        Args:
            room: the room's name.
            wake: called by any thread when `take` has something new. It must not wait.
        """
        self.progress = SyncProgress()
        self._is_entered = False
        self._room = room
        self._wake = wake
        self._forget_connection()
        self._begin()

    def _begin(self) -> None:
        self.replica = Replica()
        self.replica.subscribe(self._note)

    def _note(self, _update: bytes, origin: str) -> None:
        if origin == LOCAL:
            self.progress.count_edit()
            self._wake()
        else:
            self.progress.count_news()

    def _forget_connection(self) -> None:
        self._vector: bytes | None = None
        self._sent: int | None = None
        self._asked: int | None = None
        self._has_asked = False
        self._awaited: deque[int] = deque()

    def open(self) -> bytes:
        """Begin a connection; return its first frame."""
        with self.progress.changed:
            if not self._is_entered and self.progress.epoch is None:
                self._begin()  # the room may be another one by now, and two histories are never merged
                self.progress.is_synced = False
        self._forget_connection()
        self._awaited.append(0)
        self.progress.set(is_denied=False)
        return protocol.sync_step1(self.replica.state_vector())

    def enter(self) -> bool:
        """Keep the replica from now on, if the room's content and what tells its history are here; say whether."""
        with self.progress.changed:
            progress = self.progress
            is_known = progress.epoch is not None or progress.is_silent
            self._is_entered = progress.is_synced and is_known and progress.fault is None
            return self._is_entered

    @property
    def is_entered(self) -> bool:
        return self._is_entered

    def close(self, reason: str) -> None:
        """End the connection: what was not answered on it is not answered."""
        self._forget_connection()
        self.progress.set(is_open=False, reason=reason)

    def end(self, fault: Exception) -> None:
        """End it for good."""
        self.progress.set(is_open=False, fault=fault, reason=str(fault))

    def receive(self, frame: bytes) -> None:
        """Take in what the server sent.

        Raises:
            MalformedFrameError, UpdateRefusedError: it cannot be understood; the replica is as it was.
        """
        match read(frame):
            case Question(state_vector):
                self._vector, self._sent = state_vector, None
                self._wake()
            case News(update, is_answer):
                self.replica.apply(update, origin=TAB)  # which need not be sent where it came from (R6)
                if is_answer:
                    self._answered()
            case SavedAnswer() as answer:
                self._learn(answer)
            case Denied():
                self.progress.set(is_denied=True, reason="this program may only look at the room")
            case None:
                pass

    def _answered(self) -> None:
        reached = self._awaited.popleft() if self._awaited else 0
        self.progress.set(is_synced=True, is_open=True, arrived=max(reached, self.progress.arrived))
        self._wake()

    def _learn(self, answer: SavedAnswer) -> None:
        if self.progress.epoch not in (None, answer.epoch):
            self.end(RoomDeletedError(self._room))
            return
        is_failing = answer.status is SaveStatus.FAILING
        self.progress.set(epoch=answer.epoch, is_silent=False, is_failing=is_failing)
        if answer.status is SaveStatus.REFUSED:
            self.progress.set(is_denied=True, reason="the room server refused edits")
        elif answer.status is SaveStatus.SAVED and answer.version == self._asked:
            self._asked = None
            if not self.progress.is_denied:
                self.progress.set(saved=max(answer.version, self.progress.saved))
            self._wake()

    def take(self) -> list[bytes]:
        """Return the frames that are to be sent now, in order."""
        if self._vector is None:
            return []
        made = self.progress.made  # read first: each edit that counts is in what is read below
        return [*self._updates(self._vector), *self._questions(made)]

    def _updates(self, server_has: bytes) -> list[bytes]:
        version, vector = self.replica.version, self.replica.state_vector()
        if self._sent is None:
            frames = [protocol.sync_step2(self._lacks(server_has))]
            self._vector = vector
        elif (update := self.replica.update_since(self._sent)) is None:
            frames = [protocol.sync_update(self._lacks(server_has))]
            self._vector = vector
        else:
            frames = [protocol.sync_update(update)] if update else []
        self._sent = version
        self.replica.acknowledge(version)
        return frames

    def _lacks(self, state_vector: bytes) -> bytes:
        """Return what a document at `state_vector` lacks; a long one without what only this replica's undo needs.

        Else a large value that was overwritten while the server was away would be in it once for each time, up to more
        than the server takes in one frame.
        """
        update = self.replica.diff(state_vector)
        if len(update) <= MAX_PLAIN_BYTES:
            return update
        with refuse_panics():
            visible: Doc[Any] = Doc()
            visible.apply_update(self.replica.diff())
            return visible.get_update(state_vector)

    def _questions(self, made: int) -> list[bytes]:
        frames = []
        if self._asked is None and (made > self.progress.saved or not self._has_asked):
            self._asked, self._has_asked = made, True
            frames.append(protocol.saved_query(made))
        if self.progress.epoch is None and not self._awaited and made > self.progress.arrived:
            self._awaited.append(made)
            frames.append(protocol.sync_step1(self.replica.state_vector()))
        return frames
