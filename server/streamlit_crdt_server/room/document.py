"""The document of a room: loaded from its log, observed, and replaced when an update damaged it.

How large a document may become. It is measured seldom, because measuring costs as much as it is large.

A room whose document lost what waits inside it, because a part of that is false: see `settling`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anyio import Event, to_thread
from pycrdt import Doc, TransactionEvent, merge_updates
from pycrdt.websocket import YRoom

from streamlit_crdt_server.errors import UpdateRefusedError
from streamlit_crdt_server.metrics import Metrics
from streamlit_crdt_server.protocol import CloseCode
from streamlit_crdt_server.room.batch import QueuedUpdate, apply_batch, repair_surrogate_pairs
from streamlit_crdt_server.room.peers import SocketPeer
from streamlit_crdt_server.room.pending_updates import AppliedTracker, PendingReplay
from streamlit_crdt_server.room.persister import RoomPersister
from streamlit_crdt_server.settings import Settings
from streamlit_crdt_server.storage.store import MemoryStore, RoomLog, Store
from streamlit_crdt_server.yjs import safe_apply
from streamlit_crdt_server.yjs.lib0 import EMPTY_UPDATE
from streamlit_crdt_server.yjs.log_recovery import BadRow, load_all, split_readable
from streamlit_crdt_server.yjs.safe_apply import DocumentDamagedError, MisplacedError
from streamlit_crdt_server.yjs.structs import slice_structs
from streamlit_crdt_server.yjs.surrogate_pairs import SurrogatePairs

STEPS = 64
"""A document that is worth watching is measured anew whenever it may have grown by such a part of the limit."""


class DocumentSize:
    """The size of a document, as an upper bound between two measurements.

    Attributes:
        at_most_bytes: It is not larger than this.
        is_large: Whether it exceeded the size that is worth a word in the log when it was last measured.
        is_full: Whether it had reached the limit then, so that nothing more is taken in.
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
        """Whether it may have passed a limit: encode the document and tell `measured` how long that is."""
        return self.at_most_bytes > self._measure_over_bytes

    def grow(self, update_bytes: int) -> None:
        """Note an update. What it overwrites is not subtracted, hence "at most"."""
        self.at_most_bytes += update_bytes

    def measured(self, state_bytes: int) -> None:
        """Note the length of the document's state."""
        self.at_most_bytes = state_bytes
        self.is_large = state_bytes > self._warn_bytes
        self.is_full = state_bytes > self._max_bytes
        step = max(1, self._max_bytes // STEPS)
        self._measure_over_bytes = max(min(self._warn_bytes, self._max_bytes), state_bytes + step)


class RoomDocument(YRoom):
    """What a room holds, without anybody who is in it."""

    _saver: RoomPersister

    def __init__(
        self,
        yroom_options: Mapping[str, Any],
        name: str,
        settings: Settings | None,
        store: Store | None,
        metrics: Metrics | None,
    ) -> None:
        """Make a document that is not loaded yet."""
        super().__init__(**yroom_options)
        self.name = name
        self.settings = settings or Settings()
        self.metrics = metrics or Metrics()
        self._log = RoomLog(store or MemoryStore(), name)
        self._holdings = AppliedTracker()
        self._size = DocumentSize(self.settings.warn_room_bytes, self.settings.max_room_bytes)
        self._outbox: list[bytes] = []
        self._has_work = Event()
        self._is_loaded = False
        self._is_damaged = False
        self._is_batching = False
        self._is_faulty = False
        self._characters = SurrogatePairs()

    @property
    def epoch(self) -> str:
        """Which of the histories that had this name it is: 32 hex digits, empty until it is loaded."""
        return self._log.epoch

    @property
    def level(self) -> int:
        """What a saved update survives, see `StoreLevel`."""
        return self._log.level

    @property
    def is_full(self) -> bool:
        """Whether its document has reached `max_room_bytes`, so that it is read-only."""
        return self._size.is_full

    async def _load(self) -> None:
        """Bring the document up to the log, once, then the log up to a document that was given with content."""
        if self._is_loaded:
            return
        given = safe_apply.read_state(self.ydoc)
        updates = await self._load_log()
        self._holdings.reset(self.ydoc, updates, load_all(self.ydoc, updates))
        self._has_work.set()  # what it lacks of that is given to it again
        if given != EMPTY_UPDATE:
            await self._log.append(given)
        self._watch_size(given)
        self._is_loaded = True

    async def _load_log(self, unsaved: Sequence[bytes] = ()) -> list[bytes]:
        """Return the updates that a document can live with, the stored and then the unsaved ones.

        The other stored ones are put aside.
        """
        async with self._saver.lock:
            stored = await self._log.load()
        if stored.set_aside:
            self.log.warning("room %r: %d of its stored updates were put aside", self.name, stored.set_aside)
        updates, bad = split_readable((*stored.updates, *unsaved))
        for row in bad:
            self._put_aside(row)
        self._size.at_most_bytes = sum(map(len, updates))
        return self._characters.reset(updates)

    def _put_aside(self, row: BadRow) -> None:
        update, why = row
        self.log.error(
            "room %r: an update of %d bytes is put aside and the room opened without it: %s",
            self.name,
            len(update),
            why,
        )
        self.metrics.set_aside.inc()
        self._saver.put_aside(update, why)

    def _recover(self) -> None:
        """Have a document that cannot be read loaded again; everybody resyncs then."""
        self.log.exception("room %r cannot be read; loading it again", self.name)
        self._is_damaged = True
        self._has_work.set()

    def _read_whole_state(self) -> bytes | None:
        """Encode the document with what waits inside it, and note how large that is; None if it lost something."""
        own = safe_apply.read_state(self.ydoc)
        state = self._holdings.complete(own)
        self._note_size(len(state))
        if safe_apply.is_complete_state(self.ydoc, own):
            return state
        if not self._is_faulty:
            self.log.error("room %r: its log is kept, because its state lacks some of it", self.name)
        self._is_faulty = True
        return None

    def _watch_size(self, update: bytes) -> None:
        """Note that the document grew, and measure it if it may have become too large."""
        self._size.grow(len(update))
        if self._size.is_due:
            try:
                self._read_whole_state()
            except DocumentDamagedError:
                self._recover()

    def _note_size(self, state_bytes: int) -> None:
        was_large, was_full = self._size.is_large, self._size.is_full
        self._size.measured(state_bytes)
        if self._size.is_full and not was_full:
            self.log.error(
                "room %r is read-only: its document of %d bytes exceeds max_room_bytes=%d",
                self.name,
                state_bytes,
                self.settings.max_room_bytes,
            )
        elif self._size.is_large and not was_large:
            self.log.warning("room %r is large: its document has %d bytes", self.name, state_bytes)

    def _observe(self) -> None:
        """Collect the document's own updates, whoever makes them; once, also when the room restarts.

        Mends two faults of pycrdt-websocket 0.16.5: `_watch_ready` of a restarted room observes once more and
        never lets the first observer go, and `put_updates` drops updates in silence when 65 536 wait.
        """
        if self._subscription is None:
            self._subscription = self.ydoc.observe(self._collect)
        self.ydoc_observed.set()

    def _unobserve(self) -> None:
        if self._subscription is not None:
            self.ydoc.unobserve(self._subscription)
            self._subscription = None

    def _collect(self, event: TransactionEvent) -> None:
        if event.update == EMPTY_UPDATE:
            return
        self._characters.add(event.update)
        self._outbox.append(event.update)
        if not self._is_batching:
            self._has_work.set()

    def _take_outbox(self) -> bytes | None:
        updates, self._outbox = self._outbox, []
        if len(updates) > 1:
            return merge_updates(*updates)
        return updates[0] if updates else None

    async def _apply(self, batch: Sequence[QueuedUpdate]) -> list[QueuedUpdate]:
        """Apply a batch and return what of it was accepted; a sender of anything else has been told."""
        if self._is_damaged:
            await self._reload()
            self._resync()
        kept = len(self._outbox)
        try:
            batch = await repair_surrogate_pairs(self.ydoc, self._characters, batch)
            kept = len(self._outbox)
            return self._apply_together(batch)
        except DocumentDamagedError:
            self.log.exception(
                "room %r was damaged by one of %d updates; loading it again", self.name, len(batch)
            )
        del self._outbox[kept:]
        applied = await self._apply_one_by_one(batch)
        self._resync()
        return applied

    async def _apply_one_by_one(self, batch: Sequence[QueuedUpdate]) -> list[QueuedUpdate]:
        """Find the update that damages the document, so that the others of its batch are not lost with it."""
        await self._reload()
        batch = await repair_surrogate_pairs(self.ydoc, self._characters, batch)
        applied = []
        for entry in batch:
            kept = len(self._outbox)
            try:
                applied += self._apply_together([entry])
            except DocumentDamagedError:
                del self._outbox[kept:]
                entry.refuse(UpdateRefusedError("it damages the room's document"))
                await self._reload()
        return applied

    def _apply_together(self, batch: Sequence[QueuedUpdate]) -> list[QueuedUpdate]:
        self._is_batching = True
        try:
            applied, keeps_waiting = apply_batch(self.ydoc, batch, self.log)
        finally:
            self._is_batching = False
        if not keeps_waiting:
            self._holdings.unsettle()
            self._has_work.set()
        return applied

    async def _reload(self) -> None:
        """Replace a damaged document by a new one from the log and from what is not in it yet."""
        if self.provider_factory is not None:
            raise DocumentDamagedError(
                "its provider holds the damaged document: the room must be opened again"
            )
        unsaved = [batch.update for batch in self._saver.waiting if batch.update is not None]
        fresh: Doc[Any] = Doc()
        known = len(self._outbox)
        updates = await self._load_log([*unsaved, *self._outbox])
        if len(self._outbox) > known:  # server code wrote to the old document meanwhile
            updates, _ = split_readable([*updates, *self._outbox[known:]])
        self._holdings.reset(fresh, updates, load_all(fresh, updates))
        self._has_work.set()
        self._unobserve()
        self.ydoc = fresh
        self._observe()
        self._is_damaged = False

    def _resync(self) -> None:
        """Let everybody start over with the document that was loaded again."""


WHY = MisplacedError().reason
MAX_KEPT_BYTES = 1024 * 1024
"""So much of what was thrown out is kept aside while a room is open; of more, only that it was."""


class SettlingDocument(RoomDocument):
    """Finds out what of it is false, and throws that out: of the document, of what waits, and of the log."""

    _kept_bytes = 0

    async def _settle(self) -> bool:
        """Give the document again what waits, or a part of it: other rooms have their turn as well.

        Returns:
            Whether there was anything to be done.
        """
        if self._is_damaged or not self._holdings.is_unsettled:
            return False
        settling = self._holdings.settling
        if settling is None:
            settling = PendingReplay(await to_thread.run_sync(slice_structs, self._holdings.waiting))
            self._holdings.settling = settling
        self._is_batching = True
        try:
            settling.go_on(self.ydoc)
        except DocumentDamagedError:
            self._recover()
        finally:
            self._is_batching = False
        if settling.is_over:
            await self._end_settling(settling)
        self._has_work.set()
        return True

    def _take_in(
        self, applied: list[QueuedUpdate], change: bytes | None
    ) -> tuple[list[QueuedUpdate], list[bytes]]:
        """As `AppliedTracker.take_in`; what is to be settled after that is settled soon."""
        taken_in = self._holdings.take_in(applied, change)
        if self._holdings.is_unsettled:
            self._has_work.set()
        return taken_in

    async def _end_settling(self, settling: PendingReplay) -> None:
        """Throw out what the document did not take. Only if it took all at once is nothing more to be found."""
        self._holdings.settling = None
        if settling.is_clean:
            self._holdings.settle()
        elif settling.places:
            culprits = await to_thread.run_sync(settling.culprits)
            changed = await to_thread.run_sync(self._holdings.throw_out, settling.places)
            self._report(merge_updates(culprits, *(each.update for each in changed if each.peer is not None)))
            for peer in {each.peer for each in changed}:
                if isinstance(peer, SocketPeer):
                    peer.dismiss(CloseCode.MALFORMED, WHY)

    def _report(self, culprits: bytes) -> None:
        self.log.error(
            "room %r: %d bytes of what waited in it are thrown out: %s", self.name, len(culprits), WHY
        )
        self.metrics.set_aside.inc()
        self._kept_bytes += len(culprits)
        if self._kept_bytes <= MAX_KEPT_BYTES:
            self._saver.throw_out(culprits, WHY)
