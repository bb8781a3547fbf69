"""The document of a room: observed, measured, and replaced after an update damaged it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from logging import Logger
from typing import Any

from anyio import Event, to_thread
from pycrdt import Doc, Subscription, TransactionEvent, merge_updates

from streamlit_crdt_server.room.batch import QueuedUpdate, apply_batch, repair_surrogate_pairs
from streamlit_crdt_server.room.pending_updates import AppliedTracker, PendingReplay
from streamlit_crdt_server.settings import Settings
from streamlit_crdt_server.yjs import safe_apply
from streamlit_crdt_server.yjs.lib0 import EMPTY_UPDATE
from streamlit_crdt_server.yjs.log_recovery import load_all
from streamlit_crdt_server.yjs.nesting import depths_of
from streamlit_crdt_server.yjs.room_doc import Change, RoomDoc
from streamlit_crdt_server.yjs.safe_apply import DocumentDamagedError
from streamlit_crdt_server.yjs.structs import slice_structs
from streamlit_crdt_server.yjs.surrogate_pairs import SurrogatePairs

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
        applied: The applied clocks of each replica id, and the pending updates.
        outbox: The changes of the document that were not sent yet.
        is_damaged: Whether the document must be loaded again before the next batch is applied.
        has_work: Set when there are changes to send, or when the document must be loaded again.
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
        self.applied = AppliedTracker()
        self.outbox: list[bytes] = []
        self.is_damaged = False
        self.has_work = WorkSignal()
        self._room = room
        self._log = log
        self._max_bytes = settings.max_room_bytes
        self._max_nesting = settings.max_nesting
        self._size = DocumentSize(settings.warn_room_bytes, settings.max_room_bytes)
        self._surrogate_pairs = SurrogatePairs()
        self._subscription: Subscription | None = None
        self._is_batching = False
        self._is_incomplete = False

    @property
    def is_full(self) -> bool:
        """True if the document exceeds `max_room_bytes` and is read-only."""
        return self._size.is_full

    def load(self, updates: Sequence[bytes]) -> None:
        """Apply the readable updates of a log to the document. A missing part is replayed in the next flush.

        Raises:
            DocumentDamagedError: The document panicked.
        """
        self._fill(self.ydoc, updates)

    def replace(self, updates: Sequence[bytes]) -> None:
        """Replace the damaged Yjs document by a new one with the readable updates of a log.

        Raises:
            DocumentDamagedError: The new document panicked. The old one remains.
        """
        fresh = RoomDoc()
        self._fill(fresh, updates)
        self.unobserve()
        self.ydoc = fresh
        self.observe()
        self.is_damaged = False

    def _fill(self, ydoc: Doc[Any], updates: Sequence[bytes]) -> None:
        self.applied.reset(ydoc, updates, load_all(ydoc, updates))
        self.has_work.set()

    def prepare_log(self, updates: Sequence[bytes]) -> list[bytes]:
        """Return the updates of a log with repaired surrogate pairs. Resets the size to their total."""
        self._size.at_most_bytes = sum(map(len, updates))
        return self._surrogate_pairs.reset(updates)

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
        if isinstance(self.ydoc, RoomDoc):
            self.ydoc.has_pending = self.applied.has_waiting
        try:
            with self._batching():
                applied, keeps_pending = apply_batch(self.ydoc, batch, self._log)
        except DocumentDamagedError:
            del self.outbox[sent:]
            raise
        if not keeps_pending:
            self.applied.require_replay()
            self.has_work.set()
        return applied

    async def advance_replay(self) -> PendingReplay:
        """Apply the next pending structs to the document again, and return the replay.

        One call is bounded, so that other rooms of the process are served between two calls.
        """
        replay = self.applied.replay
        if replay is None:
            replay = PendingReplay(await to_thread.run_sync(slice_structs, self.applied.pending_update))
            self.applied.replay = replay
        try:
            with self._batching():
                replay.advance(self.ydoc)
        except DocumentDamagedError:
            self.mark_damaged()
        return replay

    @contextmanager
    def _batching(self) -> Iterator[None]:
        """Collect changes without setting `has_work`: a flush runs already."""
        self._is_batching = True
        try:
            yield
        finally:
            self._is_batching = False

    def read_whole_state(self) -> bytes | None:
        """Encode and measure the document with its pending updates. None if the encoded state is incomplete.

        Raises:
            DocumentDamagedError: The document panicked.
        """
        own = safe_apply.read_state(self.ydoc)
        state = self.applied.add_pending(own)
        self._record_size(len(state))
        if safe_apply.is_complete_state(self.ydoc, own):
            return state
        if not self._is_incomplete:
            self._log.error(
                "room %r: its encoded state is incomplete, so its log is not compacted", self._room
            )
        self._is_incomplete = True
        return None

    def grow(self, update_bytes: int) -> None:
        """Add the size of an applied update. Measures the document if it may have passed a limit."""
        self._size.grow(update_bytes)
        if self._size.is_due:
            try:
                self.read_whole_state()
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
