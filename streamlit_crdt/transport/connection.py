"""Connection of a session to a room: directly if the room is in this process, and through the session's tab.

Both paths may be open at the same time. Either may lose or repeat an update: merging is idempotent.
"""

from __future__ import annotations

import functools
import itertools
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Final

from streamlit_crdt import _compat
from streamlit_crdt.backend.backend import ReplicaIds, RoomBackend, RoomPeer
from streamlit_crdt.document.edits import without_saved
from streamlit_crdt.document.replica import LOCAL, ROOM, TAB, Replica
from streamlit_crdt.errors import FrameError, UpdateRefusedError
from streamlit_crdt.transport.channel import Channel
from streamlit_crdt.transport.frame import Frame, Status, StatusReport
from streamlit_crdt.transport.frontend_build import frontend_build_id, part_bytes
from streamlit_crdt.transport.gaps import ReplicaGaps
from streamlit_crdt.transport.local_connection import LocalConnection
from streamlit_crdt.transport.unsaved_edits import UnsavedEdits

_MAX_FORMER_TABS: Final = 100
"""Tabs whose late frames are rejected, because they carry the document of a room before it was rewritten."""

_ANSWERS: Final = ThreadPoolExecutor(2, "streamlit-crdt-answers")
"""Threads that answer requests of rooms. An answer may take as long as loading the room."""

_log = logging.getLogger("streamlit_crdt")


class RoomConnection:
    """Connection of one session to one room.

    `reset` replaces `replica`, `channel` and `unsaved`.

    Attributes:
        room: name of the room, with its namespace.
        session_id: id of the session at the room server, here and in the token of its tab.
        is_read_only: whether the session is a viewer, so that no update is pushed (rule A1).
        is_synced: whether the replica has had the room's content. Nothing is written before that (rule R4). A tab that
            reloads or mounts again does not reset it.
        replica: replica of the session.
        channel: the session's end of the channel to its tab.
        unsaved: unsaved edits of the session.
        generation: distinguishes the rooms of this name that the session was in: "" for the first, then "#2", "#3",
            ... It is part of the page's keys, so that no widget or tab of a deleted room is used again.
    """

    def __init__(
        self, room: str, backend: RoomBackend, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.room = room
        self._clock = clock
        self.session_id = secrets.token_hex(8)
        self.is_read_only = False
        self.generation = ""
        self._generations = itertools.count(2)
        self._local = LocalConnection(room, backend, self.session_id)
        self.is_synced = False
        self._report_lock = threading.Lock()
        self._is_deletion_reported = False
        self._replica_ids: ReplicaIds | None = None
        self._requested_state: Future[bytes] | None = None
        self._incoming: Replica | None = None
        """Receives the new document from the new tab, after the room was rewritten. The session keeps the former one
        until then."""
        self._kept = 0
        self._former_tabs: deque[int] = deque(maxlen=_MAX_FORMER_TABS)
        self.replica: Replica
        self.channel: Channel
        self.unsaved: UnsavedEdits
        self._replace_replica(Replica())

    # -- the room in this process ----------------------------------------------------------------------------------

    def attach(self) -> None:
        """Open the room and synchronize with it. No other thread may use the session."""
        self.sync(self.open())

    def open(self) -> RoomPeer | None:
        """Open the room if it is in this process. Return the argument for `sync`.

        This call may wait for the room's event loop, so the caller must not hold the session's lock.
        """
        peer = self._local.open()
        if peer is None and self.is_deleted:
            self._report_deletion()
        return peer

    def sync(self, peer: RoomPeer | None) -> None:
        """Push the whole replica to a peer that was just opened, then drain. Under the session's lock."""
        if peer is not None and (self.is_moving or peer is self._local.rewritten):
            self._move_to(peer)
        elif peer is not None and not self.is_read_only:
            if version := self.replica.version:
                self._local.push(peer, self.replica.diff(), range(version + 1), self.unsaved)
            self._gaps.note_whole_state()  # the first drain brings it
            self._reuse_id(peer)
        if peer is not None and peer is self.peer:
            peer.on_request = functools.partial(self._answer_later, peer, self.replica, self.unsaved)
        self.drain()
        self.is_synced = self.is_synced or self.is_local

    def _move_to(self, peer: RoomPeer) -> None:
        """Replace the document by that of the rewritten room, and repeat the unsaved edits there (rule N4)."""
        unsaved, clocks, self._incoming = self.unsaved, peer.past.clocks, None
        self._local.adopt(peer)  # first: the repeated edits are pushed
        try:
            self.replica.restart(peer.drain() or b"", lambda: without_saved(unsaved.take(), clocks))
        except UpdateRefusedError:
            _log.exception("room %r sent a document that cannot be read", self.room)
        self._renew_tab()

    @property
    def is_moving(self) -> bool:
        """True if the room was rewritten, and the new tab has not brought the new document yet."""
        return self._incoming is not None

    @property
    def _receiving(self) -> Replica:
        """The replica that gets what the tab brings."""
        return self.replica if self._incoming is None else self._incoming

    def follow_rewrite(self, kept: int) -> None:
        """Replace the tab, which has reported that the room was rewritten.

        If only the tab reaches the room, the script continues with the former document until the new tab has brought
        the new one. The unsaved edits are repeated then.

        Args:
            kept: number of this replica's operations that the new document contains.
        """
        if not self.is_local:
            self._incoming, self._kept = Replica(), kept
            self._local.reset()
        self._renew_tab()

    def _end_move(self) -> None:
        """Replace the document by that of the new tab, and repeat the unsaved edits there (rule N4)."""
        incoming, self._incoming = self._incoming, None
        if incoming is None:
            return
        clocks = {self.replica.replica_id: self._kept}
        self.replica.restart(incoming.diff(), lambda: without_saved(self.unsaved.take(), clocks))
        self.channel.continue_with(self.replica)
        self._forget_requests()
        self._framed_version = 0

    def _forget_requests(self) -> None:
        """Forget what the former document lacked, and the state that was requested for it."""
        self._gaps = ReplicaGaps(self._receiving, self._clock)
        self._requested_state = None

    def _renew_tab(self) -> None:
        """Replace the tab: its document is that of the room before it was rewritten."""
        if self.channel.tab_id is not None:
            self._former_tabs.append(self.channel.tab_id)
        self.generation = f"#{next(self._generations)}"
        self.channel = Channel(self._receiving, build=frontend_build_id(), part_bytes=part_bytes())
        self._forget_requests()
        self._framed_version = 0

    def drain(self) -> None:
        """Apply the updates that the room in this process received since the last call. Under the session's lock."""
        peer = self.peer
        if peer is None:
            return
        if (state := self._take_state()) and self._apply(state):
            self._gaps.note_whole_state()
        if update := peer.drain():
            self._apply(update)
        self._answer(peer, self.replica, self.unsaved)
        self._request_missing()

    def _answer_later(self, peer: RoomPeer, replica: Replica, unsaved: UnsavedEdits) -> None:
        """Answer the room's request in another thread: a script run may hold the replica's lock. Event loop."""
        with suppress(RuntimeError):  # the interpreter ends
            _ANSWERS.submit(self._try_answer, peer, replica, unsaved)

    def _try_answer(self, peer: RoomPeer, replica: Replica, unsaved: UnsavedEdits) -> None:
        try:
            self._answer(peer, replica, unsaved)
        except Exception:
            _log.exception("room %r: the answer to a request for missing updates failed", self.room)

    def _answer(self, peer: RoomPeer, replica: Replica, unsaved: UnsavedEdits) -> None:
        """Push what the room lacks if it requests that (rule S6). Any thread.

        A replica gets another document only after its peer was closed, and a closed peer accepts no push. The document
        of a deleted or rewritten room is therefore never pushed into its successor.
        """
        vector = peer.take_request()
        if vector is not None and not self.is_read_only:
            versions = range(replica.version + 1)  # read first: the update contains at least these
            self._local.push(peer, replica.diff(vector), versions, unsaved)

    def _apply(self, update: bytes) -> bool:
        """Apply an update of the room. Return whether the replica accepted it."""
        try:
            self.replica.apply(update, origin=ROOM)
        except UpdateRefusedError:
            self._on_refused_update()
            return False
        self._gaps.note(ROOM)
        return True

    def _on_refused_update(self) -> None:
        _log.exception(
            "room %r sent an update that cannot be applied; its whole content is requested", self.room
        )
        self._gaps.note_refusal()

    def _request_missing(self) -> None:
        """Request everything that the replica lacks, from the peers whose turn it is (rule S6)."""
        asked, peer = self._gaps.take_request(), self.peer
        if ROOM in asked and peer is not None:
            self._requested_state = peer.read_state()
        if TAB in asked:
            self.channel.request_state()

    def _take_state(self) -> bytes | None:
        """Return the requested content of the room once it has arrived."""
        state = self._requested_state
        if state is None or not state.done():
            return None
        self._requested_state = None
        return state.result()

    def _reuse_id(self, peer: RoomPeer) -> None:
        """Continue with the replica id of a former session, if this one is new (rule N4)."""
        self._replica_ids = peer.replica_ids
        if self._replica_ids is None or not self.replica.is_empty:
            return
        if (free := self._replica_ids.take()) is None or (content := peer.drain()) is None:
            return
        try:
            self.replica.reuse_id(*free, content)
        except UpdateRefusedError:
            self._on_refused_update()

    def end(self) -> None:
        """End the session. Return its replica id for later sessions, if everything that it wrote is saved."""
        ids = self._replica_ids
        if ids is None or self.is_deleted:
            return
        replica_id, clock = self.replica.retire()
        if clock and not self.unsaved_count:
            ids.give_back(replica_id, clock)

    def close(self, *, for_good: bool = False) -> None:
        """Leave the room. `for_good` says that the session leaves it, and not only the session's page."""
        self._local.close(for_good=for_good)

    @property
    def peer(self) -> RoomPeer | None:
        return self._local.peer

    @property
    def is_local(self) -> bool:
        """True if the session is a peer of the room in this process."""
        return self._local.peer is not None

    # -- deletion and epoch ----------------------------------------------------------------------------------------

    @property
    def is_deleted(self) -> bool:
        """True if the room was deleted while the session was in it. The session keeps its values until it leaves."""
        return self._local.is_deleted

    @property
    def epoch(self) -> str | None:
        """Epoch of the room. None until the room or the tab has reported it."""
        return self._local.epoch

    def accept_epoch(self, epoch: str | None) -> None:
        """Compare the epoch of a frame with the room's. Adopt it if the room's is unknown.

        Raises:
            FrameError: the frame belongs to a deleted room of this name. Replicas of two epochs are never merged.
        """
        peer = self.peer
        if peer is not None and epoch in peer.past.epochs:
            self._renew_tab()
            raise FrameError("its epoch is that of the room before it was rewritten")
        if epoch is not None and self.epoch not in (None, epoch):
            raise FrameError("its epoch is that of a deleted room")
        self._local.epoch = self.epoch or epoch

    def mark_deleted(self) -> None:
        """Stay out of every room of this name until `reset`."""
        self._local.mark_deleted()
        self._report_deletion()

    def close_deleted(self) -> None:
        """Leave a room that this session has deleted. The deletion is not logged."""
        self._local.close(for_good=True)
        with self._report_lock:
            self._is_deletion_reported = True
        self._local.mark_deleted()

    def reset(self) -> None:
        """Replace the replica of a deleted room: replicas of two epochs are never merged. Under the session's lock."""
        self._local.reset()
        self._is_deletion_reported = False
        self.generation = f"#{next(self._generations)}"
        self.is_synced = False
        self._incoming = None
        self._replace_replica(Replica())

    def _report_deletion(self) -> None:
        with self._report_lock:
            if self._is_deletion_reported:
                return
            self._is_deletion_reported = True
        keys = ", ".join(map(repr, self.unsaved.keys()))
        _log.warning(
            "room %r was deleted; this session keeps its values without sharing them%s",
            self.room,
            f", including unsaved edits of {keys}" if keys else "",
        )

    # -- status ----------------------------------------------------------------------------------------------------

    def receive(self, frame: Frame, report: StatusReport) -> None:
        """Apply a frame of the tab. Raises as `Channel.receive` does.

        Raises:
            FrameError: the tab is a former one, whose document is that of the room before it was rewritten.
        """
        if frame.id in self._former_tabs:
            raise FrameError("its tab has the document of the room before it was rewritten")
        try:
            self.channel.receive(frame, report, has_update=self.is_local or not frame.in_room)
        except UpdateRefusedError:
            self.channel.request_state()  # updates of earlier frames, which are acknowledged, may have been pending
            if self.is_local:
                self._gaps.note_refusal()
            raise
        self._gaps.note(TAB)
        self._request_missing()
        self.is_synced = self.is_synced or self.channel.is_synced
        if self.channel.is_synced:
            self._end_move()

    @property
    def status(self) -> Status:
        """True if edits reach the other participants now. Without a browser, only the room in this process counts."""
        if self.is_deleted:
            return "offline"
        if self.is_local:
            return "connected"
        return "offline" if _compat.is_app_test() else self.channel.status

    @property
    def unsaved_count(self) -> int:
        return self.unsaved.count

    @property
    def is_tab_behind(self) -> bool:
        """True if only the tab reaches the room, and the last frame does not contain every edit of the replica."""
        is_tab_only = not (self.is_local or self.is_deleted or self.is_moving)
        return is_tab_only and self.replica.version > self._framed_version

    @property
    def wake_s(self) -> float | None:
        """Seconds after which the tab must send a frame, so that missing updates are requested (rule S6)."""
        return self._gaps.wake_s

    def mark_framed(self) -> None:
        """Record that a frame to the tab is built from the replica's current version."""
        self._framed_version = self.replica.version

    # -- write-through ---------------------------------------------------------------------------------------------

    def _replace_replica(self, replica: Replica) -> None:
        self.replica = replica
        self.channel = Channel(replica, build=frontend_build_id(), part_bytes=part_bytes())
        self.unsaved = UnsavedEdits()
        self._gaps = ReplicaGaps(replica, self._clock)
        self._requested_state = None
        self._framed_version = 0
        replica.record_edits()
        replica.subscribe(functools.partial(self._write_through, replica))

    def _write_through(self, replica: Replica, update: bytes, origin: str) -> None:
        """Push an update into the room in this process, so that other participants do not wait for this browser."""
        peer, unsaved, version = self.peer, self.unsaved, replica.version
        if replica is not self.replica or origin == ROOM:
            return
        if origin == LOCAL:
            unsaved.add(version, replica.take_edits())
        if peer is not None and not (peer.was_deleted or self.is_read_only):
            versions = range(version, version + 1) if origin == LOCAL else range(0)
            self._local.push(peer, update, versions, unsaved)
