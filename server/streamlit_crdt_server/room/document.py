"""The document of a room: observed, measured, and replaced after an update damaged it.

Updates whose dependencies are missing stay outside of the Yjs document (rule S6, see `update_order`). They are
neither sent nor acknowledged. The room saves them when it stops.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from logging import Logger
from typing import Any

from anyio import Event
from pycrdt import Doc, Subscription, TransactionEvent, merge_updates

from streamlit_crdt_server.errors import HubNotRunningError, PendingLimitError
from streamlit_crdt_server.room.batch import BatchApplication, QueuedUpdate, repair_surrogate_pairs
from streamlit_crdt_server.room.peers import Peer
from streamlit_crdt_server.settings import Settings
from streamlit_crdt_server.yjs import safe_apply
from streamlit_crdt_server.yjs.lib0 import EMPTY_UPDATE
from streamlit_crdt_server.yjs.log_recovery import BadRow, LoadedLog, load_log
from streamlit_crdt_server.yjs.nesting import depths_of
from streamlit_crdt_server.yjs.room_doc import Change, RoomDoc
from streamlit_crdt_server.yjs.safe_apply import DocumentDamagedError
from streamlit_crdt_server.yjs.structs import MIN_STRUCT_BYTES
from streamlit_crdt_server.yjs.surrogate_pairs import SurrogatePairs
from streamlit_crdt_server.yjs.update_decoder import decode_state_vector, read_update_meta
from streamlit_crdt_server.yjs.update_order import MAX_PENDING_BYTES, UpdateOrder

SIZE_STEPS = 64
"""A document near a limit is measured again after it may have grown by this fraction of `max_room_bytes`.

Measuring encodes the whole document, so its cost is proportional to the document's size.
"""


class WorkSignal:
    """A flag that wakes the task that flushes a room. Event loop only."""

    def __init__(self) -> None:
        self._event = Event()

    def set(self) -> None:
        self._event.set()

    def clear(self) -> None:
        self._event = Event()

    async def wait(self) -> None:
        await self._event.wait()


def _sender_of(entry: QueuedUpdate | None) -> Peer | None:
    return None if entry is None else entry.peer


class DocumentSize:
    """The size of a document: an upper bound between two measurements.

    Attributes:
        at_most_bytes: The upper bound.
        is_large: Whether the last measurement exceeded `warn_bytes`.
        is_full: Whether the last measurement exceeded `max_bytes`, so that the document is read-only.
    """

    def __init__(self, warn_bytes: int, max_bytes: int) -> None:
        self.at_most_bytes = 0
        self.is_large = False
        self.is_full = False
        self._warn_bytes = warn_bytes
        self._max_bytes = max_bytes
        self._measure_over_bytes = min(warn_bytes, max_bytes)

    @property
    def is_due(self) -> bool:
        """True if the size may have passed a limit since the last measurement."""
        return self.at_most_bytes > self._measure_over_bytes

    def grow(self, update_bytes: int) -> None:
        """Add the size of an update. Overwritten content is not subtracted."""
        self.at_most_bytes += update_bytes

    def record_measurement(self, state_bytes: int) -> None:
        """Replace the upper bound by the length of the encoded state."""
        self.at_most_bytes = state_bytes
        self.is_large = state_bytes > self._warn_bytes
        self.is_full = state_bytes > self._max_bytes
        step = max(1, self._max_bytes // SIZE_STEPS)
        self._measure_over_bytes = max(min(self._warn_bytes, self._max_bytes), state_bytes + step)


class RoomDocument:
    """The document of one room. It applies updates and collects its own changes. Event loop only.

    Attributes:
        ydoc: The Yjs document. `replace()` assigns a new one.
        misplaced: Stored updates that were dropped because the parent of a struct is not a shared type.
        applied_stored: The pending updates of the log that the last batch completed.
        outbox: The changes of the document that were not sent yet.
        is_damaged: Whether the document must be loaded again before the next batch is applied.
        has_work: Set when there are changes to send, or when the document must be loaded again.
        has_gap: Set when updates are pending after a batch.
    """

    def __init__(self, ydoc: Doc[Any], room: str, settings: Settings, log: Logger) -> None:
        """Create a document that is neither loaded nor observed.

        Args:
            ydoc: The Yjs document.
            room: The room's name, for the log.
            settings: The size limits.
            log: The logger of the room.
        """
        self.ydoc = ydoc
        self.misplaced: list[bytes] = []
        self.applied_stored: list[bytes] = []
        self.outbox: list[bytes] = []
        self.is_damaged = False
        self.has_work = WorkSignal()
        self.has_gap = WorkSignal()
        self._room = room
        self._log = log
        self._max_bytes = settings.max_room_bytes
        self._max_nesting = settings.max_nesting
        self._size = DocumentSize(settings.warn_room_bytes, settings.max_room_bytes)
        self._surrogate_pairs = SurrogatePairs()
        self._subscription: Subscription | None = None
        self._order: UpdateOrder[QueuedUpdate | None] = UpdateOrder()
        self._is_order_outdated = True
        self._sent_clocks: dict[int, int] = {}
        self._lost: set[QueuedUpdate] = set()
        self._is_batching = False
        self._is_incomplete = False

    @property
    def is_full(self) -> bool:
        """True if the document exceeds `max_room_bytes` and is read-only."""
        return self._size.is_full

    @property
    def replica_count(self) -> int:
        """Number of replica ids in the document."""
        return len(self._sent_clocks)

    @property
    def has_ready(self) -> bool:
        """True if the next `apply` has something to apply, besides its batch."""
        return self._order.has_ready

    def pending(self) -> set[QueuedUpdate]:
        """Return the received updates that are not applied completely, because others are missing."""
        return {entry for entry in self._order.pending_sources() if entry is not None}

    def gaps(self) -> dict[Peer | None, QueuedUpdate | None]:
        """Return the oldest pending update of each sender. None is the log."""
        return self._order.oldest_by(_sender_of)

    def encode_received_pending(self) -> bytes:
        """Encode the received pending updates, unless they exceed the limit together with those of the log."""
        if self._order.pending_bytes > MAX_PENDING_BYTES:
            return EMPTY_UPDATE
        return self._order.encode_pending(without=(None,))

    def load(self, rows: Sequence[bytes]) -> Sequence[BadRow]:
        """Apply a log to the document, and return the updates that cannot be applied.

        Raises:
            DocumentDamagedError: The document panicked.
        """
        loaded = self._load(rows)
        for update in loaded.updates:
            safe_apply.load_update(self.ydoc, update)
        self._sent_clocks = decode_state_vector(safe_apply.read_vector(self.ydoc))
        return loaded.bad_rows

    def replace(self, rows: Sequence[bytes], batch: Sequence[QueuedUpdate]) -> Sequence[BadRow]:
        """Replace the damaged Yjs document by a new one with the content of a log.

        Received updates that are pending are rejected, except those of `batch`, which is applied next.

        Returns:
            The updates of the log that cannot be applied.
        """
        for entry in (self.pending() | self._lost).difference(batch):
            entry.reject(HubNotRunningError())
        self._lost.clear()
        loaded = self._load(rows)
        self.unobserve()
        self.ydoc = loaded.ydoc
        self._sent_clocks = decode_state_vector(safe_apply.read_vector(self.ydoc))
        self.observe()
        self.is_damaged = False
        return loaded.bad_rows

    def _load(self, rows: Sequence[bytes]) -> LoadedLog:
        self._size.at_most_bytes = sum(map(len, rows))
        loaded = load_log(rows, self._surrogate_pairs)
        self.misplaced += loaded.misplaced
        self._order = UpdateOrder()
        self._is_order_outdated = True
        if loaded.pending != EMPTY_UPDATE:
            self._order.put_divided(loaded.pending, None)  # as a whole it may be circular
        self.has_work.set()
        return loaded

    def mark_damaged(self) -> None:
        """Schedule a reload of a document that cannot be read. Call it in an exception handler."""
        self._log.exception("room %r: its document cannot be read; loading it again", self._room)
        self.is_damaged = True
        self.has_work.set()

    def observe(self) -> None:
        """Collect every change of the document in `outbox`. Does nothing if the document is observed.

        Fixes two bugs of pycrdt-websocket 0.16.5: `_watch_ready` of a restarted room observes the document again
        and never removes the first observer; `put_updates` drops updates without an error when 65 536 are queued.
        """
        depths_of(self.ydoc).max_nesting = self._max_nesting
        if isinstance(self.ydoc, RoomDoc):
            self.ydoc.observe_changes(self._collect)
        elif self._subscription is None:
            self._subscription = self.ydoc.observe(self._collect)

    def unobserve(self) -> None:
        """Stop collecting changes. Does nothing if the document is not observed."""
        if isinstance(self.ydoc, RoomDoc):
            self.ydoc.observe_changes(None)
        elif self._subscription is not None:
            self.ydoc.unobserve(self._subscription)
            self._subscription = None

    def _collect(self, event: Change | TransactionEvent) -> None:
        if event.update == EMPTY_UPDATE:
            return
        self._surrogate_pairs.add(event.update)
        self.outbox.append(event.update)
        if not self._is_batching:
            depths_of(self.ydoc).add(event.update)
            self._is_order_outdated = True
            self.has_work.set()

    def take_outbox(self) -> bytes | None:
        """Return the collected changes as one update, and clear them. None if there are none."""
        updates, self.outbox = self.outbox, []
        if len(updates) > 1:
            return merge_updates(*updates)
        return updates[0] if updates else None

    async def repair(self, batch: Sequence[QueuedUpdate]) -> Sequence[QueuedUpdate]:
        """Return a batch that splits no surrogate pair of the document. Updates beyond repair are rejected.

        Raises:
            DocumentDamagedError: The document panicked.
        """
        return await repair_surrogate_pairs(self.ydoc, self._surrogate_pairs, batch)

    def apply(self, batch: Sequence[QueuedUpdate]) -> list[QueuedUpdate]:
        """Apply a repaired batch and return the accepted updates. The senders of the others are informed.

        Raises:
            DocumentDamagedError: The document panicked; no update of the batch was accepted. The outbox has no
                change of the batch.
        """
        sent = len(self.outbox)
        application = BatchApplication(self.ydoc, self._order, self._surrogate_pairs, self._log)
        try:
            if self._is_order_outdated:
                self._order.advance(decode_state_vector(safe_apply.read_vector(self.ydoc)))
                self._is_order_outdated = False
            self._order.max_structs = self._size.at_most_bytes // MIN_STRUCT_BYTES
            for entry in batch:
                self._order.put(entry.update, entry)
            with self._batching():
                applied = application.apply()
        except DocumentDamagedError:
            self._lost |= application.taken
            del self.outbox[sent:]
            raise
        self.misplaced += application.misplaced
        self.applied_stored = application.stored
        while evicted := self._order.evict(_sender_of):
            for each in evicted:
                assert each is not None
                each.reject(PendingLimitError())
        if self._order.has_pending:
            self.has_gap.set()
        return applied

    def find_unsent(self, applied: Sequence[QueuedUpdate], change: bytes | None) -> list[bytes]:
        """Return the applied updates that no change of the document contains completely. They are stored as they are.

        There are none unless the document has a fault that no check detects.

        Args:
            applied: The result of `apply`.
            change: The result of `take_outbox` after it.
        """
        if change is not None:
            own = (entry.update.ends for entry in applied if entry.update.data == change)  # decoded already
            ends = next(own, None) or read_update_meta(change).ends()
            for replica, clock in ends.items():
                self._sent_clocks[replica] = max(clock, self._sent_clocks.get(replica, 0))
        sent = self._sent_clocks
        return [
            entry.update.data
            for entry in applied
            if any(clock > sent.get(replica, 0) for replica, clock in entry.update.ends.items())
        ]

    @contextmanager
    def _batching(self) -> Iterator[None]:
        """Collect changes without setting `has_work`: a flush runs already."""
        self._is_batching = True
        try:
            yield
        finally:
            self._is_batching = False

    def read_state(self) -> bytes:
        """Encode and measure the document.

        Raises:
            DocumentDamagedError: The document panicked.
        """
        state = safe_apply.read_state(self.ydoc)
        self._record_size(len(state))
        return state

    @property
    def has_pending(self) -> bool:
        """True if updates wait for missing ones, received ones or those of the log."""
        return self._order.encode_pending() != EMPTY_UPDATE

    def read_whole_state(self) -> bytes | None:
        """Encode the document with everything that is pending, to replace the log. None if the state is incomplete.

        Raises:
            DocumentDamagedError: The document panicked.
        """
        state = self.read_state()
        if not safe_apply.is_complete_state(self.ydoc, state):
            if not self._is_incomplete:
                self._log.error(
                    "room %r: its encoded state is incomplete, so its log is not compacted", self._room
                )
            self._is_incomplete = True
            return None
        pending = self._order.encode_pending()
        return state if pending == EMPTY_UPDATE else merge_updates(state, pending)

    def grow(self, update_bytes: int) -> None:
        """Add the size of an applied update. Measures the document if it may have passed a limit."""
        self._size.grow(update_bytes)
        if self._size.is_due:
            try:
                self.read_state()
            except DocumentDamagedError:
                self.mark_damaged()

    def _record_size(self, state_bytes: int) -> None:
        was_large, was_full = self._size.is_large, self._size.is_full
        self._size.record_measurement(state_bytes)
        if self._size.is_full and not was_full:
            self._log.error(
                "room %r is read-only: its document of %d bytes exceeds max_room_bytes=%d",
                self._room,
                state_bytes,
                self._max_bytes,
            )
        elif self._size.is_large and not was_large:
            self._log.warning("room %r is large: its document has %d bytes", self._room, state_bytes)
