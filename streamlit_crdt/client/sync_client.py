"""Client side of the y-websocket protocol for one replica. No I/O.

Nothing is queued. Outgoing updates are read from the replica when the connection can send them: a diff against the
server's state vector on a new connection, later the updates in the replica's log since the last frame. The log is
bounded. Where it was truncated, a diff replaces it, so edits made while the server is unreachable need no more memory
than the document. A large update leaves in pieces, which the server applies in order. After a break the diff against
the server's new state vector contains what is missing.

After each update the client queries what the server has saved, one query at a time. A server that does not answer is
sent sync step 1 instead. Its step 2 confirms that it has received the earlier updates, which is less than saved.

Sync step 1 is also sent if an update from the server depends on missing ones for more than a second (rule S6).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from pycrdt import Doc

from streamlit_crdt.client.errors import RoomDeletedError
from streamlit_crdt.client.sync_progress import SyncProgress
from streamlit_crdt.document.edits import JOIN_OVER_EDITS, LocalEdit, UnsavedEdit, join_edits, without_saved
from streamlit_crdt.document.panic_guard import refuse_panics
from streamlit_crdt.document.replica import LOCAL, TAB, Replica
from streamlit_crdt.errors import UpdateRefusedError
from streamlit_crdt_server import MalformedFrameError, protocol
from streamlit_crdt_server.gap_timer import GapTimer
from streamlit_crdt_server.protocol import (
    FragmentBuffer,
    FragmentLimits,
    PermissionDenied,
    SavedAnswer,
    SaveStatus,
    SyncStep1,
    SyncStep2,
    SyncUpdate,
)
from streamlit_crdt_server.yjs.update_slices import cut_update

MAX_SENT_FRAME_BYTES: Final = 1024 * 1024
"""Size in bytes to which an update is cut. Servers and proxies close a connection at larger frames."""

MIN_SENT_FRAME_BYTES: Final = 1024
"""Smallest limit of a server's frames that a client follows. Below it an update would leave in a message per byte."""

MAX_VECTOR_BYTES: Final = 4 * 1024 * 1024
"""Limit in bytes of a server's state vector, beside what the size of the client's own explains. Decoding it takes a
hundred times its memory. Four MiB are half a million replica ids that the client lacks."""

MAX_ROOM_BYTES: Final = 512 * 1024 * 1024
"""Limit in bytes of the encoded document, eight times the server's default. A server that sends without end would
otherwise use up the client's memory."""

MAX_UNCOMPACTED_BYTES: Final = 256 * 1024
"""Bytes of a diff that is sent as it is. Removing deleted content takes as long as loading the room, which pays off
only for a larger diff."""


class SyncClient:
    """Protocol state of one client in one room, across reconnects.

    The connection's thread calls `open`, `receive`, `next_frames` and `close`. Any thread may edit the replica.

    Attributes:
        replica: the client's copy of the room. Until `enter` succeeds, each new connection may replace it.
        progress: counters and status.
    """

    def __init__(
        self,
        room: str,
        wake: Callable[[], None],
        max_received_bytes: int | None = None,
        *,
        max_room_bytes: int = MAX_ROOM_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create a client without a connection.

        Args:
            room: the room's name.
            wake: called by any thread when `next_frames` has frames. It must not block.
            max_received_bytes: limit of a frame from the server, also of one in fragments. None: no limit.
            max_room_bytes: limit of the document, beyond which no update of the server is applied.
            clock: returns the time in seconds.
        """
        self._clock = clock
        self._gap_timer: GapTimer[str] = GapTimer(clock())
        self.progress = SyncProgress()
        self._is_entered = False
        self._incoming: Replica | None = None
        self._unsaved: list[UnsavedEdit] = []
        self._join_over = JOIN_OVER_EDITS
        self._kept = 0
        self._room = room
        self._wake = wake
        self._max_received_bytes = max_received_bytes
        self._max_room_bytes = max_room_bytes
        self._reset_connection()
        self._reset_replica()

    def _reset_replica(self) -> None:
        self.replica = Replica()
        self._room_bytes = 0
        self.replica.record_edits()
        self._unsaved.clear()
        self.replica.subscribe(self._on_update)

    def _on_update(self, _update: bytes, origin: str) -> None:
        if origin == LOCAL:
            self._add_unsaved(self.progress.count_edit(), self.replica.take_edits())
            self._wake()
        else:
            self.progress.count_remote_update()

    def _add_unsaved(self, number: int, edits: tuple[LocalEdit, ...]) -> None:
        """Keep edits until they are saved. A server that reports no saves never rewrites a room."""
        with self.progress.changed:
            if not self.progress.lacks_save_status:
                self._unsaved.append(UnsavedEdit(number, edits))
            if len(self._unsaved) > self._join_over:
                join_edits(self._unsaved)
                self._unsaved = [each for each in self._unsaved if each.edits]
                self._join_over = max(JOIN_OVER_EDITS, 2 * len(self._unsaved))

    def _reset_connection(self) -> None:
        self._server_vector: bytes | None = None
        self._sent_version: int | None = None
        self._queried_count: int | None = None
        self._has_queried = False
        self._step1_counts: deque[int] = deque()
        self._received = FragmentBuffer(self._max_received_bytes)
        self._max_sent_bytes = MAX_SENT_FRAME_BYTES
        self._server_takes_fragments = False

    def open(self) -> bytes:
        """Begin a connection. Return its first frame, sync step 1."""
        with self.progress.changed:
            if not self._is_entered and self.progress.epoch is None:
                # The room may have been deleted and created again meanwhile; two epochs must never be merged.
                self._reset_replica()
                self.progress.is_synced = False
        self._reset_connection()
        self._step1_counts.append(0)
        self.progress.set(is_denied=False)
        if self._incoming is not None:
            self._incoming, self._room_bytes = Replica(), 0
        return protocol.sync_step1(self._receiving.state_vector())

    def follow_rewrite(self, kept: int) -> None:
        """Replace the document at the next connection, because the server has rewritten the room.

        Until then the program works with the former document. Its unsaved edits are repeated in the new one.

        Args:
            kept: number of this replica's operations that the new document contains.
        """
        self._incoming, self._kept = Replica(), kept
        self.progress.set(epoch=None)

    def _take_unsaved(self) -> list[LocalEdit]:
        clocks = {self.replica.replica_id: self._kept}
        with self.progress.changed:
            edits = [edit for each in self._unsaved for edit in each.edits]
            self._unsaved = []
        return without_saved(edits, clocks)

    def enter(self) -> bool:
        """Keep the replica from now on if the room is synced and its epoch is known. Return True on success.

        A server that does not report saves reports no epoch either; for such a server the sync suffices.
        """
        with self.progress.changed:
            progress = self.progress
            has_epoch = progress.epoch is not None or progress.lacks_save_status
            self._is_entered = progress.is_synced and has_epoch and progress.fault is None
            return self._is_entered

    @property
    def is_entered(self) -> bool:
        return self._is_entered

    def close(self, reason: str) -> None:
        """End the connection. Answers that are still missing will not arrive."""
        self._reset_connection()
        self.progress.set(is_open=False, reason=reason)

    def fail(self, fault: Exception) -> None:
        """End the client for good."""
        self.progress.set(is_open=False, fault=fault, reason=str(fault))

    def receive(self, frame: bytes) -> None:
        """Apply one frame from the server.

        Raises:
            MalformedFrameError: the frame cannot be decoded. The replica is unchanged.
            UpdateRefusedError: the update was rejected. The replica is unchanged.
        """
        whole = self._received.receive(frame)
        match None if whole is None else protocol.parse_server_frame(whole):
            case FragmentLimits(max_frame_bytes):
                if max_frame_bytes < MIN_SENT_FRAME_BYTES:
                    raise MalformedFrameError(f"the server's limit of {max_frame_bytes} bytes is too small")
                self._server_takes_fragments = True
                self._max_sent_bytes = min(MAX_SENT_FRAME_BYTES, max_frame_bytes)
            case SyncStep1(state_vector):
                max_bytes = MAX_VECTOR_BYTES + len(self.replica.state_vector())
                protocol.check_state_vector(state_vector, max_bytes)
                self._server_vector, self._sent_version = state_vector, None
                self._wake()
            case SyncStep2(update):
                self._apply(update)
                self._end_rewrite()
                self._on_sync_step2()
            case SyncUpdate(update):
                self._apply(update)
            case SavedAnswer() as answer:
                self._on_saved_answer(answer)
            case PermissionDenied():
                self.progress.set(is_denied=True, reason="the role of this client is viewer")
            case None:
                pass

    def _apply(self, update: bytes) -> None:
        """Apply an update of the server, unless the document is too large.

        `_room_bytes` is at least the size of the server's content. The document is encoded only when it is exceeded.
        """
        if self._room_bytes + len(update) > self._max_room_bytes:
            self._room_bytes = len(self._receiving.diff())
            if self._room_bytes + len(update) > self._max_room_bytes:
                raise UpdateRefusedError(f"the room is larger than {self._max_room_bytes} bytes")
        self._receiving.apply(update, origin=TAB)  # an origin that is not sent back (R6)
        self._room_bytes += len(update)
        if self.replica.oldest_pending is not None:
            self._wake()

    @property
    def _receiving(self) -> Replica:
        """The replica that gets the server's updates."""
        return self.replica if self._incoming is None else self._incoming

    def _end_rewrite(self) -> None:
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            self.replica.restart(incoming.diff(), self._take_unsaved)

    def _on_sync_step2(self) -> None:
        received = self._step1_counts.popleft() if self._step1_counts else 0
        self.progress.set(
            is_synced=True, is_open=True, received_count=max(received, self.progress.received_count)
        )
        self._wake()

    def _on_saved_answer(self, answer: SavedAnswer) -> None:
        if self.progress.epoch not in (None, answer.epoch):
            self.fail(RoomDeletedError(self._room))
            return
        is_failing = answer.status is SaveStatus.FAILING
        self.progress.set(epoch=answer.epoch, lacks_save_status=False, is_failing=is_failing)
        if answer.status is SaveStatus.REFUSED:
            self.progress.set(is_denied=True, reason="the room server rejected edits")
        elif answer.status is SaveStatus.SAVED and answer.version == self._queried_count:
            self._queried_count = None
            if not self.progress.is_denied:
                self._drop_saved(answer.version)
                self.progress.set(saved_count=max(answer.version, self.progress.saved_count))
            self._wake()

    def _drop_saved(self, count: int) -> None:
        with self.progress.changed:
            self._unsaved = [each for each in self._unsaved if each.version > count]

    def next_frames(self) -> list[bytes]:
        """Return the frames to send now, in order."""
        if self._server_vector is None or self._incoming is not None:
            return []
        edit_count = self.progress.edit_count  # before the updates are read: they include every counted edit
        return [*self._updates(self._server_vector), *self._queries(edit_count), *self._requests(edit_count)]

    @property
    def wait_s(self) -> float | None:
        """Seconds until `next_frames` may have a frame without a further edit or received frame. None: forever."""
        return None if self._server_vector is None else self._gap_timer.wait_s(self._clock())

    def _requests(self, edit_count: int) -> list[bytes]:
        """Return the request for updates on which pending ones depend, if one is due."""
        oldest = self.replica.oldest_pending
        if not self._gap_timer.take({} if oldest is None else {self._room: oldest}, self._clock()):
            return []
        self._step1_counts.append(edit_count)
        return [protocol.sync_step1(self.replica.state_vector())]

    def _updates(self, server_vector: bytes) -> list[bytes]:
        version, vector = self.replica.version, self.replica.state_vector()
        encode = protocol.sync_update
        if self._sent_version is None:
            encode = protocol.sync_step2
            update = self._diff(server_vector)
            self._server_vector = vector
        elif (since := self.replica.update_since(self._sent_version)) is None:
            update = self._diff(server_vector)
            self._server_vector = vector
        else:
            update = since
        self._sent_version = version
        self.replica.acknowledge(version)
        return self._encode(update, encode) if update else []

    def _encode(self, update: bytes, encode_last: Callable[[bytes], bytes]) -> list[bytes]:
        """Encode the pieces of an update as frames, and the last one by `encode_last`."""
        *pieces, last = cut_update(update, self._max_sent_bytes)
        frames: Iterable[bytes] = (*map(protocol.sync_update, pieces), encode_last(last))
        if not self._server_takes_fragments:
            return list(frames)
        return [message for frame in frames for message in protocol.fragments(frame, self._max_sent_bytes)]

    def _diff(self, state_vector: bytes) -> bytes:
        """Return the replica's diff against `state_vector`, a large one without content that only undo retains.

        Otherwise a large value that was overwritten while the server was unreachable would be included once for each
        assignment, and could exceed the server's frame limit.
        """
        update = self.replica.diff(state_vector)
        if len(update) <= MAX_UNCOMPACTED_BYTES:
            return update
        with refuse_panics():
            visible: Doc[Any] = Doc()
            visible.apply_update(self.replica.diff())
            return visible.get_update(state_vector)

    def _queries(self, edit_count: int) -> list[bytes]:
        frames = []
        if self._queried_count is None and (edit_count > self.progress.saved_count or not self._has_queried):
            self._queried_count, self._has_queried = edit_count, True
            frames.append(protocol.saved_query(edit_count))
        is_unreceived = edit_count > self.progress.received_count
        if self.progress.epoch is None and not self._step1_counts and is_unreceived:
            self._step1_counts.append(edit_count)
            frames.append(protocol.sync_step1(self.replica.state_vector()))
        return frames
