"""Saving what a room sends, in order, for as long as it takes.

A store may fail for a while: its disk is full, another program locks it, a network file system is away. The
room stays usable meanwhile, and says so; nothing is confirmed until it is committed (rules S4 and S5). So
what a flush leaves waits here. Everything that waits goes into the next append, which is tried again until it
succeeds.

What peers are told about saving: that it was done, that it takes long, that the store fails.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from logging import Logger

from anyio import Event, Lock, create_task_group, move_on_after, sleep

from streamlit_crdt_server.metrics import Metrics
from streamlit_crdt_server.protocol import SaveStatus, sync_update
from streamlit_crdt_server.room.peers import Peer, SocketPeer
from streamlit_crdt_server.room.write_queue import WriteBatch, WriteQueue, merged
from streamlit_crdt_server.storage.store import RoomLog
from streamlit_crdt_server.yjs.safe_apply import DocumentDamagedError


class Acknowledger:
    """Speaks to those peers of a room that are still in it."""

    def __init__(self, peers: set[Peer], room_log: RoomLog) -> None:
        self._peers = peers
        self._room_log = room_log

    def confirm(self, batch: WriteBatch) -> None:
        """Tell those who wait for a batch that it is saved."""
        if batch.update is not None:
            frame = sync_update(batch.update)
            for peer in batch.echo_to & self._peers:
                peer.deliver(frame, batch.update)
        for entry in batch.entries:
            entry.accept()
        for peer, version in batch.questions.items():
            if isinstance(peer, SocketPeer):
                peer.answer_saved(version, self._room_log.level, self._room_log.epoch)

    def share(self, batch: WriteBatch) -> None:
        """Give the senders of a batch each other's updates; their own come back when they are saved."""
        for peer, update in batch.shares().items():
            if peer in self._peers:
                peer.deliver(sync_update(update), update)

    def tell_failing(self, batches: Iterable[WriteBatch]) -> None:
        """Tell those who asked that it is not saved yet; they are answered again once it is."""
        for batch in batches:
            for peer in batch.questions:
                if isinstance(peer, SocketPeer):
                    peer.answer_unsaved(SaveStatus.FAILING, self._room_log.level, self._room_log.epoch)


MIN_RETRY_S = 0.1
MAX_RETRY_S = 5.0
"""From the first failure to the rhythm of somebody who frees disk space and looks whether it helped."""

PATIENCE_S = 0.05
"""A commit that takes longer keeps nobody from the edits of those who were in the same batch."""


class RoomPersister:
    """The unsaved part of one room.

    Attributes:
        is_failing: Whether the last attempt failed, so that what waits is in memory only.
    """

    def __init__(
        self,
        room_log: RoomLog,
        log: Logger,
        metrics: Metrics,
        *,
        confirmer: Acknowledger,
        read_state: Callable[[], bytes | None],
        on_damaged: Callable[[], None],
    ) -> None:
        """Make the saver of a room; the callables are called in the loop's thread and do not wait.

        Args:
            room_log: Where it saves.
            log: Where failures are told.
            metrics: Where they are counted, and how long a commit takes.
            confirmer: Tells those who wait for a batch what becomes of it.
            read_state: Encodes the document, with everything that it waits for, for compaction; None if it cannot.
            on_damaged: Called when `read_state` found the document damaged.
        """
        self.is_failing = False
        self._room_log = room_log
        self._log = log
        self._read_state = read_state
        self._confirmer = confirmer
        self._metrics = metrics
        self._on_damaged = on_damaged
        self._backlog = WriteQueue()
        self._bad_rows: list[tuple[bytes, str]] = []
        self._thrown_out: list[tuple[bytes, str]] = []
        self._has_work = Event()
        self._retry_s = MIN_RETRY_S
        self._failing_since = 0.0
        self._is_dropped = False
        self.lock = Lock()
        """Held while the store is asked for something: a room has one call under way at a time."""

    @property
    def waiting(self) -> tuple[WriteBatch, ...]:
        """What is not saved yet, in order."""
        return tuple(self._backlog.batches)

    @property
    def is_idle(self) -> bool:
        """Whether everything is saved."""
        return not (self._backlog.batches or self._bad_rows or self._thrown_out)

    def put(self, batch: WriteBatch) -> None:
        """Save a batch soon; a room that was deleted saves nothing any more."""
        if self._is_dropped:
            return
        if self.is_failing:
            self._share_now(batch)
            self._confirmer.tell_failing([batch])
        self._backlog.put(batch)
        if self._backlog.has_many or self._backlog.is_long:
            self._shorten()
        self._has_work.set()

    def put_aside(self, row: bytes, why: str) -> None:
        """Have a stored update that the room cannot live with moved out of its log."""
        if (row, why) not in self._bad_rows:
            self._bad_rows.append((row, why))
            self._has_work.set()

    def throw_out(self, update: bytes, why: str) -> None:
        """Keep what the document does not hold any more aside, and replace the log, which may hold it, by the state."""
        self._thrown_out.append((update, why))
        self._has_work.set()

    def drop(self) -> None:
        """Forget what waits, and what comes: the room is deleted."""
        self._is_dropped = True
        self._backlog.clear()
        self._bad_rows.clear()
        self._thrown_out.clear()
        self.is_failing = False

    async def run(self) -> None:
        """Save whatever comes, until cancelled."""
        while True:
            await self._has_work.wait()
            self._has_work = Event()
            while not (self.is_idle or await self.save()):
                await sleep(self._retry_s)

    async def drain(self, timeout_s: float) -> bool:
        """Save all that waits, trying again for `timeout_s`; return whether it is saved."""
        with move_on_after(timeout_s):
            while not self.is_idle:
                if not await self.save():
                    await sleep(self._retry_s)
        return self.is_idle

    async def save(self) -> bool:
        """Try once to save all that waits, and confirm it; return whether that succeeded."""
        async with self.lock:
            batches = self._backlog.send()
            try:
                await self._set_aside()
                await self._append(batches)
            except Exception as error:  # a store may be anybody's: whatever it raises means "not saved"
                self._backlog.came_back()
                self._fail(error)
                return False
            self._backlog.sent()
            self._recover()
            for batch in batches:
                if batch.update is not None:
                    self._metrics.saved_seconds.observe(time.monotonic() - batch.since)
                self._confirmer.confirm(batch)
            await self._compact()
        return True

    async def _set_aside(self) -> None:
        while self._bad_rows:
            await self._room_log.set_aside(*self._bad_rows[0])
            self._bad_rows.pop(0)

    async def _append(self, batches: list[WriteBatch]) -> None:
        update = merged(batches)
        if update is None:
            return
        if not any(batch.has_mates for batch in batches):
            await self._room_log.append(update)
            return
        async with create_task_group() as tasks:
            tasks.start_soon(self._share_late, batches)
            try:
                await self._room_log.append(update)
            except Exception as error:
                failure: Exception | None = error
            else:
                failure = None
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _share_late(self, batches: list[WriteBatch]) -> None:
        await sleep(PATIENCE_S)
        for batch in batches:
            self._share_now(batch)

    def _share_now(self, batch: WriteBatch) -> None:
        if batch.has_mates:
            self._confirmer.share(batch)
            batch.is_shared = True

    async def _compact(self) -> None:
        """Replace the log by the state if it is long, or if it holds what was thrown out, which is put aside.

        The log is whole without it, so a failure waits for the next time, or until the room is opened again.
        """
        thrown_out = () if self._backlog.batches else tuple(self._thrown_out)
        if not (self._room_log.is_long or thrown_out):
            return
        del self._thrown_out[: len(thrown_out)]
        try:
            for update, why in thrown_out:
                await self._room_log.append(update)
                await self._room_log.set_aside(update, why)
            if not (self._room_log.is_long or self._room_log.is_short):
                return  # what was thrown out is found again when the room is opened
            await self._room_log.compact(self._read_state())
        except DocumentDamagedError:
            self._on_damaged()
        except Exception:
            self._log.exception("room %r: its log could not be replaced by its state", self._room_log.room)

    def _shorten(self) -> None:
        for batch in self._backlog.waiting:
            self._share_now(batch)
        self._backlog.join()
        if self._backlog.is_long:
            try:
                self._backlog.replace(self._read_state())
            except DocumentDamagedError:
                self._on_damaged()
                self._backlog.replace(None)

    def _fail(self, error: Exception) -> None:
        is_news = not self.is_failing
        self._retry_s = MIN_RETRY_S if is_news else min(2 * self._retry_s, MAX_RETRY_S)
        self.is_failing = True
        self._metrics.store_errors.inc()
        self._shorten()
        if is_news:
            self._failing_since = time.monotonic()
            self._log.error(
                "room %r is not saved: its edits are kept in memory and saving is tried again: %s",
                self._room_log.room,
                error,
                exc_info=error,
            )
            self._confirmer.tell_failing(self._backlog.batches)

    def _recover(self) -> None:
        if not self.is_failing:
            return
        self.is_failing = False
        self._log.warning(
            "room %r is saved again, after %.1f s",
            self._room_log.room,
            time.monotonic() - self._failing_since,
        )
