"""Loading and saving of one room: write batches are appended in order and retried until the store takes them.

A store may fail for a while: its disk is full, another program locks it, a network file system is unreachable. The
room stays usable meanwhile, and reports that it is not saved. Nothing is acknowledged before its commit (rules S4 and
S5). All queued batches go into the next append.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from logging import Logger

from anyio import Event, Lock, create_task_group, move_on_after, sleep

from streamlit_crdt_server.errors import HubNotRunningError
from streamlit_crdt_server.metrics import Metrics
from streamlit_crdt_server.protocol import SaveStatus
from streamlit_crdt_server.room.document import RoomDocument
from streamlit_crdt_server.room.peers import Peer, SocketPeer
from streamlit_crdt_server.room.state_transfer import cut_if_possible, cut_off_loop, deliver_pieces
from streamlit_crdt_server.room.write_queue import WriteBatch, WriteQueue, merged
from streamlit_crdt_server.storage.store import RoomLog
from streamlit_crdt_server.yjs.safe_apply import DocumentDamagedError

MIN_RETRY_S = 0.1
MAX_RETRY_S = 5.0
"""Delays in seconds before a failed save is retried. The delay doubles from the first to the second value.

The second is the longest time that a room stays unsaved after its disk has space again.
"""

SHARE_AFTER_S = 0.05
"""Duration of a commit in seconds after which its senders receive each other's updates before their acks."""

MAX_SET_ASIDE_BYTES = 1024 * 1024
"""Size of the misplaced structs that are set aside in the store while a room is open. More is only logged."""


class Acknowledger:
    """Messages to the peers of a room about the save status of their updates. Skips peers that have left."""

    def __init__(self, peers: AbstractSet[Peer], room_log: RoomLog, max_sent_frame_bytes: int) -> None:
        self._peers = peers
        self._room_log = room_log
        self._max_sent_frame_bytes = max_sent_frame_bytes

    async def confirm(self, batch: WriteBatch) -> None:
        """Acknowledge a saved batch to its senders."""
        for entry in batch.entries:
            entry.accept()
        if batch.update is not None and batch.ack_to & self._peers:
            pieces = await cut_off_loop(batch.update, self._max_sent_frame_bytes)
            deliver_pieces(batch.ack_to & self._peers, batch.update, pieces)
        batch.unshared.clear()
        for peer, version in batch.saved_queries.items():
            if isinstance(peer, SocketPeer):
                peer.send_saved(version, self._room_log.level, self._room_log.epoch)

    def share(self, batch: WriteBatch, peers: AbstractSet[Peer]) -> None:
        """Send senders of an unsaved batch the updates of others in it. Their own follow as the ack."""
        for peer, update in batch.take_unshared(peers):
            if peer in self._peers:
                deliver_pieces((peer,), update, cut_if_possible(update, self._max_sent_frame_bytes))

    def report_failing(self, batches: Iterable[WriteBatch]) -> None:
        """Answer the saved queries of unsaved batches with FAILING. They are answered again after the save."""
        for batch in batches:
            for peer in batch.saved_queries:
                if isinstance(peer, SocketPeer):
                    peer.send_not_saved(SaveStatus.FAILING, self._room_log.level, self._room_log.epoch)


class RoomPersister:
    """The store's side of one room: loads its log, saves its write batches, compacts its log. Event loop only.

    Attributes:
        is_failing: Whether the last attempt failed, so that the queued batches are in memory only.
        lock: Held during a call to the store. A room has one call in progress at a time.
    """

    def __init__(
        self,
        room_log: RoomLog,
        document: RoomDocument,
        peers: AbstractSet[Peer],
        *,
        max_sent_frame_bytes: int,
        log: Logger,
        metrics: Metrics,
    ) -> None:
        """Create a persister. `run()` starts it.

        Args:
            room_log: The room's log in the store.
            document: The document, whose state replaces a long log.
            peers: The peers of the room. Changed by `RoomConnections`.
            max_sent_frame_bytes: Size to which acknowledged updates are cut.
            log: The logger of the room.
            metrics: Counts failures, and the duration of saves.
        """
        self.is_failing = False
        self.lock = Lock()
        self._room_log = room_log
        self._document = document
        self._log = log
        self._acknowledger = Acknowledger(peers, room_log, max_sent_frame_bytes)
        self._unshared: list[WriteBatch] = []
        self._metrics = metrics
        self._queue = WriteQueue()
        self._bad_rows: list[tuple[bytes, str]] = []
        self._misplaced: list[tuple[bytes, str]] = []
        self._misplaced_bytes = 0
        self._has_work = Event()
        self._retry_s = MIN_RETRY_S
        self._failing_since = 0.0
        self._is_discarded = False

    @property
    def unsaved(self) -> tuple[WriteBatch, ...]:
        """The unsaved batches in order."""
        return tuple(self._queue.batches)

    @property
    def is_idle(self) -> bool:
        """True if everything is saved."""
        return not (self._queue.batches or self._bad_rows or self._misplaced)

    async def load(self) -> Sequence[bytes]:
        """Return the stored updates.

        Raises:
            StoreError: The store failed.
        """
        async with self.lock:
            stored = await self._room_log.load()
        if stored.set_aside:
            self._log.warning(
                "room %r: %d of its stored updates are set aside", self._room_log.room, stored.set_aside
            )
        return stored.updates

    def put(self, batch: WriteBatch) -> None:
        """Queue a batch for saving. Its updates are rejected after `discard()`."""
        if self._is_discarded:
            for entry in batch.entries:
                entry.reject(HubNotRunningError())
            return
        if batch.unshared:
            self._unshared.append(batch)
        if self.is_failing:
            self.share()
            self._acknowledger.report_failing([batch])
        self._queue.put(batch)
        if self._queue.has_many or self._queue.is_long:
            self._shorten()
        self._has_work.set()

    def share(self, peers: AbstractSet[Peer] | None = None) -> None:
        """Send peers what they lack of the batches that are not acknowledged yet, in order. None for all peers.

        The senders of a batch wait for its ack, which contains the updates of others, too. Those must come before
        later updates, and are not delayed by a slow store.
        """
        for batch in self._unshared:
            self._acknowledger.share(batch, batch.ack_to if peers is None else peers)
        self._unshared = [batch for batch in self._unshared if batch.unshared]

    def remove_misplaced(self, update: bytes, why: str) -> None:
        """Compact the log, which may contain misplaced structs that the document dropped, and set them aside."""
        self._log.error(
            "room %r: %d bytes of pending updates are removed: %s", self._room_log.room, len(update), why
        )
        self._metrics.set_aside.inc()
        self._misplaced_bytes += len(update)
        if self._misplaced_bytes <= MAX_SET_ASIDE_BYTES:
            self._misplaced.append((update, why))
            self._has_work.set()

    def discard(self) -> None:
        """Drop the queued batches and reject all later ones, because the room is deleted."""
        self._is_discarded = True
        self._queue.clear()
        self._unshared.clear()
        self._bad_rows.clear()
        self._misplaced.clear()
        self.is_failing = False

    async def run(self) -> None:
        """Save queued batches until cancelled."""
        while True:
            await self._has_work.wait()
            self._has_work = Event()
            while not (self.is_idle or await self.save()):
                await sleep(self._retry_s)

    async def rewrite(self, state: bytes, past: bytes) -> None:
        """Replace the document in the store, see `RewritingStore`. Everything is saved.

        Raises:
            StoreError: The store failed. The room is unchanged.
        """
        async with self.lock:
            await self._room_log.rewrite(state, past)

    async def drain(self, timeout_s: float) -> bool:
        """Save everything, with retries for `timeout_s`. Return whether everything is saved."""
        with move_on_after(timeout_s):
            while not self.is_idle:
                if not await self.save():
                    await sleep(self._retry_s)
        return self.is_idle

    async def save(self) -> bool:
        """Try once to save and acknowledge all queued batches. Return whether it succeeded."""
        async with self.lock:
            batches = self._queue.start_write()
            try:
                await self._set_aside()
                await self._append(batches)
            except Exception as error:  # a store of another author may raise any type
                self._queue.fail_write()
                self._fail(error)
                return False
            self._queue.finish_write()
            self._recover()
            for batch in batches:
                if batch.update is not None:
                    self._metrics.saved_seconds.observe(time.monotonic() - batch.since)
                await self._acknowledger.confirm(batch)
            self._unshared = [batch for batch in self._unshared if batch.unshared]
            await self._compact()
        return True

    def set_aside(self, update: bytes, why: str) -> None:
        """Move an update, which the document cannot apply, out of the log."""
        self._log.error(
            "room %r: an update of %d bytes is set aside and the room opened without it: %s",
            self._room_log.room,
            len(update),
            why,
        )
        self._metrics.set_aside.inc()
        if (update, why) not in self._bad_rows:
            self._bad_rows.append((update, why))
            self._has_work.set()

    async def _set_aside(self) -> None:
        while self._bad_rows:
            await self._room_log.set_aside(*self._bad_rows[0])
            self._bad_rows.pop(0)

    async def _append(self, batches: Sequence[WriteBatch]) -> None:
        update = merged(batches)
        if update is None:
            return
        if not self._unshared:
            await self._room_log.append(update)
            return
        async with create_task_group() as tasks:
            tasks.start_soon(self._share_late)
            try:
                await self._room_log.append(update)
            except Exception as error:
                failure: Exception | None = error
            else:
                failure = None
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _share_late(self) -> None:
        await sleep(SHARE_AFTER_S)
        self.share()

    async def _compact(self) -> None:
        """Replace a long log, or one with misplaced structs, by the state. The misplaced structs are set aside.

        A failure is logged and not retried at once: the log is complete without compaction. Misplaced structs that
        stay in the log are found again when the room is opened.
        """
        misplaced = () if self._queue.batches else tuple(self._misplaced)
        if not (self._room_log.is_compaction_due or misplaced):
            return
        del self._misplaced[: len(misplaced)]
        try:
            for update, why in misplaced:
                await self._room_log.append(update)
                await self._room_log.set_aside(update, why)
            if not (self._room_log.is_compaction_due or self._room_log.is_compaction_cheap):
                return
            await self._room_log.compact(self._document.read_whole_state())
        except DocumentDamagedError:
            self._document.mark_damaged()
        except Exception:
            self._log.exception("room %r: its log could not be compacted", self._room_log.room)

    def _shorten(self) -> None:
        self.share()
        self._queue.join()
        if self._queue.is_long:
            try:
                self._queue.replace(self._document.read_state())
            except DocumentDamagedError:
                self._document.mark_damaged()
                self._queue.replace(None)

    def _fail(self, error: Exception) -> None:
        is_first = not self.is_failing
        self._retry_s = MIN_RETRY_S if is_first else min(2 * self._retry_s, MAX_RETRY_S)
        self.is_failing = True
        self._metrics.store_errors.inc()
        self._shorten()
        if is_first:
            self._failing_since = time.monotonic()
            self._log.error(
                "room %r is not saved; its edits are kept in memory and saving is retried: %s",
                self._room_log.room,
                error,
                exc_info=error,
            )
            self._acknowledger.report_failing(self._queue.batches)

    def _recover(self) -> None:
        if not self.is_failing:
            return
        self.is_failing = False
        self._log.warning(
            "room %r is saved again, after %.1f s",
            self._room_log.room,
            time.monotonic() - self._failing_since,
        )
