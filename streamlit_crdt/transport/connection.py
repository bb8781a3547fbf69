"""Connection of a session to a room: directly if the room is in this process, and through the session's tab.

Both paths may be open at the same time. Either may lose or repeat an update: merging is idempotent.
"""

from __future__ import annotations

import functools
import itertools
import json
import logging
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Final

import streamlit as st

from streamlit_crdt import _compat
from streamlit_crdt.backend.backend import ReplicaIds, RoomBackend, RoomPeer
from streamlit_crdt.document.replica import LOCAL, ROOM, TAB, Replica
from streamlit_crdt.errors import FrameError, UpdateRefusedError
from streamlit_crdt.transport.channel import PART_BYTES, Channel
from streamlit_crdt.transport.frame import Frame, Status, StatusReport
from streamlit_crdt.transport.gaps import ReplicaGaps
from streamlit_crdt.transport.unsaved_edits import UnsavedEdits
from streamlit_crdt_server import RoomFullError, ServerError

STATIC: Final = Path(__file__).parents[1] / "static"
SCRIPT_GLOB: Final = "streamlit-crdt-*.js"

REOPEN_AFTER_S: Final = 5.0
"""Delay in seconds before a failed open is retried. One attempt may block for seconds."""

_log = logging.getLogger("streamlit_crdt")


@functools.cache
def frontend_build_id() -> str:
    """Return the id of the built frontend. A tab with another id runs an older build.

    Raises:
        FileNotFoundError: the frontend is not built. A checkout needs `pip install -e .` (with Node) once.
    """
    path = STATIC / "build.json"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: build the frontend with  npm ci && npm run build")
    build = json.loads(path.read_text(encoding="utf-8"))["build"]
    return str(build)


def part_bytes() -> int:
    """Return the size of the parts in which a large update is sent: half of Streamlit's message limits at most."""
    limits = [PART_BYTES]
    for name in ("server.maxWidgetStateSize", "server.maxMessageSize"):
        with suppress(RuntimeError):  # not in every version
            limits.append(int(st.get_option(name)) * 1_000_000 // 2)
    return min(limits)


class LocalConnection:
    """Connection to a room in this process. Thread-safe.

    A rejected update closes the connection. The next script run opens it again and pushes the whole replica.

    Attributes:
        peer: the session's peer in the room. None while the connection is closed.
        epoch: epoch of the room when it was last opened, or as the tab reported it. None before either.
    """

    def __init__(self, room: str, backend: RoomBackend, session_id: str) -> None:
        self.epoch: str | None = None
        self._room = room
        self._backend = backend
        self._session_id = session_id
        self._opening = threading.Lock()
        """Held during an open, which waits for the room's event loop. The loop's thread never takes this lock."""
        self._lock = threading.Lock()
        """Held briefly, also by the loop's thread. No holder of this lock waits for the loop."""
        self._close_count = 0
        self.peer: RoomPeer | None = None
        self._open_not_before = 0.0
        self._is_full_reported = False
        self._is_deleted = False

    @property
    def is_deleted(self) -> bool:
        """True if the opened room was deleted. No room is opened then until `reset`."""
        peer = self.peer
        return self._is_deleted or (peer is not None and peer.was_deleted)

    def mark_deleted(self) -> None:
        """Open no room until `reset`: values of a deleted room must not enter a new room of the same name."""
        with self._lock:
            self._is_deleted, self.peer = True, None

    def reset(self) -> None:
        """Allow any room of this name again. The caller has replaced the replica of the deleted room."""
        with self._lock:
            self._is_deleted = False
            self.epoch = None
            self._open_not_before = 0.0

    def open(self) -> RoomPeer | None:
        """Open the room. Return the peer if this call opened it.

        A room with another epoch is not opened: the room of the known epoch was deleted (`is_deleted`).
        """
        with self._opening:
            if self.is_deleted:
                self.mark_deleted()
                return None
            with self._lock:
                if self.peer is not None and not self.peer.is_closed:
                    return None
                self.peer, close_count = None, self._close_count  # a closed room: its server stopped
            if (peer := self._open_peer()) is None:
                return None
            if self.epoch not in (None, peer.epoch):
                peer.close(for_good=True)
                self.mark_deleted()
                return None
            self.epoch = peer.epoch
            with self._lock:
                if close_count == self._close_count:
                    self.peer = peer
                    return peer
        peer.close()  # `close` was called during the open
        return None

    def _open_peer(self) -> RoomPeer | None:
        """Open the room unless the last failure is recent. A failure does not stop the app; it is retried."""
        if time.monotonic() < self._open_not_before:
            return None
        try:
            return self._backend.open(self._room, self._session_id)
        except ServerError as error:
            self._open_not_before = time.monotonic() + REOPEN_AFTER_S
            _log.warning(
                "room %r cannot be opened, the app continues with local values: %s", self._room, error
            )
            return None

    def close(self, *, for_good: bool = False) -> None:
        """Close the connection. Does not wait for an open in another thread, and discards its result.

        Args:
            for_good: the session leaves the room, and its tab leaves with it.
        """
        with self._lock:
            self._close_count += 1
            peer, self.peer = self.peer, None
            self._is_deleted = self._is_deleted or (peer is not None and peer.was_deleted)
        if peer is not None:
            peer.close(for_good=for_good)

    def _drop(self, peer: RoomPeer) -> None:
        """Close `peer`. A peer that was opened after it stays open."""
        with self._lock:
            if self.peer is peer and not peer.was_deleted:
                self.peer = None
        peer.close()

    def push(self, peer: RoomPeer, update: bytes, versions: range, unsaved: UnsavedEdits) -> None:
        """Push an update that contains these versions of the replica, and record the push in `unsaved`."""
        future = peer.push(update)
        unsaved.mark_pushed(versions, future)  # first: after a failure, a new push must find these edits
        future.add_done_callback(functools.partial(self._check_push, peer))

    def _check_push(self, peer: RoomPeer, future: Future[None]) -> None:
        """Drop the peer if its room did not accept an update.

        Runs in the loop's thread, for which an open in another thread may be waiting (rule N2). A full room is not
        dropped: it would reject the whole replica again in each run.
        """
        error = None if future.cancelled() else future.exception()
        if isinstance(error, RoomFullError):
            if not self._is_full_reported:
                self._is_full_reported = True
                _log.warning("an edit is not shared: %s", error)
        elif error is not None and self.peer is peer and not peer.was_deleted:
            _log.warning(
                "room %r did not accept an update (%s); retrying in the next script run", self._room, error
            )
            self._drop(peer)


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
        if peer is not None and not self.is_read_only:
            if version := self.replica.version:
                self._local.push(peer, self.replica.diff(), range(version + 1), self.unsaved)
            self._gaps.note_whole_state()  # the first drain brings it
            self._reuse_id(peer)
        self.drain()
        self.is_synced = self.is_synced or self.is_local

    def drain(self) -> None:
        """Apply the updates that the room in this process received since the last call. Under the session's lock."""
        peer = self.peer
        if peer is None:
            return
        if (state := self._take_state()) and self._apply(state):
            self._gaps.note_whole_state()
        if update := peer.drain():
            self._apply(update)
        vector = peer.take_request()
        if vector is not None and not self.is_read_only:
            self._local.push(peer, self.replica.diff(vector), range(0), self.unsaved)
        self._request_missing()

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
        """Apply a frame of the tab. Raises as `Channel.receive` does."""
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
        return not (self.is_local or self.is_deleted) and self.replica.version > self._framed_version

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
        replica.subscribe(functools.partial(self._write_through, replica))

    def _write_through(self, replica: Replica, update: bytes, origin: str) -> None:
        """Push an update into the room in this process, so that other participants do not wait for this browser."""
        peer, unsaved, version = self.peer, self.unsaved, replica.version
        if replica is not self.replica or origin == ROOM:
            return
        if origin == LOCAL:
            unsaved.add(version, replica.take_edited())
        if peer is not None and not (peer.was_deleted or self.is_read_only):
            versions = range(version, version + 1) if origin == LOCAL else range(0)
            self._local.push(peer, update, versions, unsaved)
