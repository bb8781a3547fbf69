"""The path of updates through a room: received within one tick, applied as one batch, sent as one frame.

The `YRoom` of pycrdt-websocket applies each message by itself and starts a task per message and client. With 100
participants that is 10 000 tasks for the keystrokes of one moment. Here updates are queued in an inbox that one task
empties: at once if the room was idle, otherwise at the next tick. A flush is followed by a pause of at least twice its
duration.

Rules S4 and S5 depend on the order: apply, send to the other peers, append to the store, send to the peers whose
updates were in the batch. A client that receives its own update back has the proof that it is saved. Saving is a task
of its own (see `persister`): while the store is slow or fails, other peers still receive an update at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from logging import Logger, getLogger
from typing import Any

from anyio import Event, Lock, sleep, to_thread
from pycrdt import Doc, merge_updates
from pycrdt.websocket import YRoom
from pycrdt.websocket.yroom import ProviderFactory

from streamlit_crdt_server.errors import (
    HubNotRunningError,
    RoomFullError,
    ServerError,
    UpdateRefusedError,
)
from streamlit_crdt_server.metrics import Metrics
from streamlit_crdt_server.protocol import CloseCode, Presence, awareness, sync_update
from streamlit_crdt_server.room.batch import QueuedUpdate
from streamlit_crdt_server.room.document import RoomDocument, WorkSignal
from streamlit_crdt_server.room.peers import LocalPeer, Peer, SocketPeer
from streamlit_crdt_server.room.pending_updates import PendingReplay
from streamlit_crdt_server.room.persister import Acknowledger, RoomPersister
from streamlit_crdt_server.room.presence import PresenceOwners, RoomAwareness
from streamlit_crdt_server.room.write_queue import WriteBatch
from streamlit_crdt_server.settings import Settings
from streamlit_crdt_server.storage.store import MemoryStore, RoomLog, Store
from streamlit_crdt_server.yjs import safe_apply
from streamlit_crdt_server.yjs.lib0 import EMPTY_UPDATE
from streamlit_crdt_server.yjs.log_recovery import split_readable
from streamlit_crdt_server.yjs.safe_apply import DocumentDamagedError, MisplacedError

TICK_S = 0.005
"""Shortest time in seconds between two flushes: imperceptible, and long enough to merge the keystrokes of many."""

MIN_FLUSH_PERIOD_RATIO = 3
"""Shortest time between two flush starts, as a multiple of the first one's duration. The rest is left for reading."""


class UpdatePipeline(YRoom):
    """Applies the updates of peers, sends them to the others and queues them for saving. Event loop only.

    Attributes:
        is_closed: Whether the room has closed. A closed pipeline rejects updates and answers no saved query.
    """

    def __init__(
        self,
        ready: bool = True,
        exception_handler: Callable[[Exception, Logger], bool] | None = None,
        log: Logger | None = None,
        ydoc: Doc[Any] | None = None,
        provider_factory: ProviderFactory | None = None,
        *,
        name: str = "",
        settings: Settings | None = None,
        store: Store | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """Make a room; `ready`, `exception_handler`, `log`, `ydoc`, `provider_factory` are those of `YRoom`.

        Args:
            name: Its name in the store.
            settings: The limits; the defaults if None.
            store: Where its updates go. A room made by itself keeps them in memory.
            metrics: What is counted; a room made by itself counts for itself.
        """
        log = log or getLogger(YRoom.__module__)
        self.name = name
        self.settings = settings or Settings()
        self.metrics = metrics or Metrics()
        self._room_log = RoomLog(store or MemoryStore(), name)
        self._has_work = WorkSignal()
        self.document = RoomDocument(
            Doc() if ydoc is None else ydoc,
            room=name,
            settings=self.settings,
            log=log,
            has_work=self._has_work,
        )
        super().__init__(
            ready,
            exception_handler=exception_handler,
            log=log,
            ydoc=self.document.ydoc,
            provider_factory=provider_factory,
        )
        self._applied = self.document.applied
        self.peers: set[Peer] = set()
        self.persister = RoomPersister(
            self._room_log,
            self.document,
            acknowledger=Acknowledger(self.peers, self._room_log),
            log=self.log,
            metrics=self.metrics,
        )
        self._can_reload = provider_factory is None
        self.is_closed = False
        self._is_loaded = False
        self._inbox: list[QueuedUpdate] = []
        self._inbox_bytes = 0
        self._inbox_emptied = Event()
        self._saved_queries: dict[Peer, int] = {}
        self._flushing = Lock()
        self._next_flush_at = 0.0
        self.awareness = RoomAwareness(self.ydoc)
        self.awareness.observe(self.send_server_awareness)
        self.attendance = PresenceOwners(self.awareness, self.settings.max_presences_per_connection)
        self._queued_presences: dict[int, Presence] = {}
        self._shared_state: bytes | None = None

    @property
    def ydoc(self) -> Doc[Any]:
        """The Yjs document. The room replaces it after damage."""
        return self.document.ydoc

    @ydoc.setter
    def ydoc(self, ydoc: Doc[Any]) -> None:
        self.document.ydoc = ydoc

    @property
    def epoch(self) -> str:
        return self._room_log.epoch

    @property
    def level(self) -> int:
        return self._room_log.level

    @property
    def is_full(self) -> bool:
        return self.document.is_full

    @property
    def is_blank(self) -> bool:
        """Whether nobody is here and nothing was ever written, so that it can be forgotten."""
        return self.started.is_set() and not (self.peers or self.is_written)

    @property
    def is_written(self) -> bool:
        """Whether anything was ever written, saved or not."""
        return bool(self._room_log.size_bytes or self.has_unsaved)

    @property
    def is_saving_failing(self) -> bool:
        """Whether the store fails at the moment, so that the latest edits are in memory only."""
        return self.persister.is_failing

    @property
    def has_unsaved(self) -> bool:
        """Whether an update is received and not saved yet."""
        return bool(self._inbox or self.document.outbox or not self.persister.is_idle)

    async def load(self) -> None:
        """Load the room's log into the document. A document that was given with content is appended to the log.

        Does nothing if the log is loaded.

        Raises:
            StoreError: The store failed.
        """
        if self._is_loaded:
            return
        given = safe_apply.read_state(self.document.ydoc)
        self.document.load(self.document.prepare_log(await self.persister.load()))
        if given != EMPTY_UPDATE:
            await self._room_log.append(given)
        self.document.grow(len(given))
        self._is_loaded = True

    def submit(
        self,
        peer: Peer,
        update: bytes,
        done: Future[None] | None = None,
        reach: Mapping[int, int] | None = None,
    ) -> None:
        """Queue a validated update for the next batch.

        Args:
            peer: The sender.
            update: The update.
            done: The future of a local peer, completed after the update was saved.
            reach: The clocks up to which it inserts or deletes, see `QueuedUpdate`.
        """
        entry = QueuedUpdate(peer, update, done, reach or {})
        if self.is_closed:
            entry.reject(HubNotRunningError())
            return
        self._inbox.append(entry)
        self._inbox_bytes += len(update)
        self._has_work.set()

    def query_saved(self, peer: SocketPeer, version: int) -> None:
        """Answer a saved query after all earlier updates of `peer` were saved. Only the last one in a tick counts.

        A closed room accepts no updates, so it answers no query either (rule S5).
        """
        if self.is_closed:
            return
        self._saved_queries[peer] = version
        self._has_work.set()

    def announce(self, presences: Iterable[Presence]) -> None:
        """Send presences with the next flush. Only the last one of a client id in a tick is sent."""
        for presence in presences:
            self._queued_presences.pop(presence.client_id, None)
            self._queued_presences[presence.client_id] = presence
            self._has_work.set()

    async def wait_for_space(self) -> None:
        """Wait while the inbox is full. A socket that is not read meanwhile slows its sender."""
        while self._inbox_bytes > self.settings.max_inbox_bytes_per_room:
            await self._inbox_emptied.wait()

    def read_shared_state(self) -> bytes | None:
        """Return the state with everything delivered so far, encoded once per flush. None if it cannot be read."""
        if self._shared_state is None:
            try:
                self._shared_state = self.document.read_whole_state()
            except DocumentDamagedError:
                self.document.mark_damaged()
        return self._shared_state

    async def flush(self, timeout_s: float) -> bool:
        """Apply, send and save everything, with retries for `timeout_s`. Return whether everything is saved."""
        await self.flush_inbox()
        return await self.persister.drain(timeout_s)

    async def run_flushes(self) -> None:
        """Flush whenever there is work, until cancelled."""
        while True:
            await self._has_work.wait()
            wait_s = self._next_flush_at - time.monotonic()
            if wait_s > 0:
                await sleep(wait_s)
            self._has_work.clear()
            await self.flush_inbox()

    async def flush_inbox(self) -> None:
        """Apply and send everything, and queue it for saving."""
        async with self._flushing:
            started_at = time.monotonic()
            self._send_presences()
            has_replayed = await self._replay_pending()
            document = self.document
            if not (
                has_replayed or self._inbox or document.outbox or self._saved_queries or document.is_damaged
            ):
                return
            external = merge_updates(*document.outbox) if document.outbox else None
            queries, self._saved_queries = self._saved_queries, {}
            applied = await self._apply_inbox()
            self._publish(applied, external, queries)
            if self._applied.has_many_rejected:
                await self._drop_rejected()
            duration_s = time.monotonic() - started_at
            self._next_flush_at = started_at + max(TICK_S, MIN_FLUSH_PERIOD_RATIO * duration_s)

    def reject_unsaved(self) -> None:
        """Reject every update that is not saved, those of peers that left too, because the room closes."""
        unsaved = (entry for batch in self.persister.unsaved for entry in batch.entries)
        for entry in (*self._take_inbox(), *unsaved):
            entry.reject(HubNotRunningError())

    async def _apply_inbox(self) -> list[QueuedUpdate]:
        batch = self._take_inbox()
        try:
            return await self._apply(self._without_changes_if_full(batch))
        except BaseException as error:  # the room fails: every future must complete
            for entry in batch:
                entry.reject(error if isinstance(error, ServerError) else HubNotRunningError())
            raise

    def _take_inbox(self) -> list[QueuedUpdate]:
        batch, self._inbox, self._inbox_bytes = self._inbox, [], 0
        self._inbox_emptied.set()
        self._inbox_emptied = Event()
        return batch

    def _without_changes_if_full(self, batch: Sequence[QueuedUpdate]) -> Sequence[QueuedUpdate]:
        """Reject the updates that would change a full document."""
        if not self.document.is_full or self.document.is_damaged:
            return batch
        try:
            changes = [entry for entry in batch if safe_apply.has_changes(self.document.ydoc, entry.update)]
        except DocumentDamagedError:
            self.document.mark_damaged()
            return batch
        for entry in changes:
            entry.reject(RoomFullError(self.name, self.settings.max_room_bytes))
        return [entry for entry in batch if entry not in changes]

    async def _apply(self, batch: Sequence[QueuedUpdate]) -> list[QueuedUpdate]:
        """Apply a batch and return the accepted updates. The senders of the others are informed."""
        if self.document.is_damaged:
            await self._reload()
            self._resync_peers()
        try:
            batch = await self.document.repair(batch)
            return self.document.apply(batch)
        except DocumentDamagedError:
            self.log.exception(
                "room %r: one of %d updates damaged its document; loading it again", self.name, len(batch)
            )
        applied = await self._apply_one_by_one(batch)
        self._resync_peers()
        return applied

    async def _apply_one_by_one(self, batch: Sequence[QueuedUpdate]) -> list[QueuedUpdate]:
        """Load the document again, then find and reject the update that damages it."""
        await self._reload()
        batch = await self.document.repair(batch)
        applied = []
        for entry in batch:
            try:
                applied += self.document.apply([entry])
            except DocumentDamagedError:
                entry.reject(UpdateRefusedError("it damages the room's document"))
                await self._reload()
        return applied

    async def _reload(self) -> None:
        """Replace the document by a new one from the log and from the updates that are not saved yet.

        Raises:
            DocumentDamagedError: A provider uses the damaged document, or the new document panicked.
            StoreError: The store failed.
        """
        if not self._can_reload:
            raise DocumentDamagedError("a provider uses the damaged document; the room must be opened again")
        document = self.document
        unsaved = [batch.update for batch in self.persister.unsaved if batch.update is not None]
        unsent = len(document.outbox)
        updates = document.prepare_log(await self.persister.load([*unsaved, *document.outbox]))
        if len(document.outbox) > unsent:  # server code wrote to the old document meanwhile
            updates, _ = split_readable([*updates, *document.outbox[unsent:]])
        document.replace(updates)

    def _resync_peers(self) -> None:
        """Give every peer the state of the document that was loaded again."""
        state = safe_apply.read_state(self.document.ydoc)
        for peer in tuple(self.peers):
            if isinstance(peer, LocalPeer):
                peer.replace(state)
            else:
                peer.disconnect(CloseCode.SERVICE_RESTART, "the room was loaded again")

    async def _drop_rejected(self) -> None:
        """Load the document again to free the structs of rejected updates. Peers are not affected."""
        self._applied.reset_rejected()
        try:
            await self._reload()
        except Exception:
            self.log.exception("room %r keeps the structs of rejected updates: its reload failed", self.name)

    async def _replay_pending(self) -> bool:
        """Apply some of the pending structs again if the document dropped them. Return whether it did."""
        if self.document.is_damaged or not self._applied.needs_replay:
            return False
        replay = await self.document.advance_replay()
        if replay.is_over:
            await self._finish_replay(replay)
        self._has_work.set()
        return True

    async def _finish_replay(self, replay: PendingReplay) -> None:
        """Remove the misplaced structs. Unless the document took everything at once, another replay follows."""
        self._applied.replay = None
        if replay.is_clean:
            self._applied.finish_replay()
        elif replay.places:
            misplaced = await to_thread.run_sync(replay.encode_misplaced)
            changed = await to_thread.run_sync(self._applied.remove, replay.places)
            senders = {each.peer for each in changed}
            sent = (each.update for each in changed if each.peer is not None)
            why = MisplacedError().reason
            self.persister.remove_misplaced(merge_updates(misplaced, *sent), why)
            for peer in senders:
                if isinstance(peer, SocketPeer):
                    peer.disconnect(CloseCode.MALFORMED, why)

    def _publish(self, applied: list[QueuedUpdate], external: bytes | None, queries: dict[Peer, int]) -> None:
        """Send the change of the document to the other peers, and queue it for saving."""
        change = self.document.take_outbox()
        self._shared_state = None
        senders = {entry.peer for entry in applied}
        if change is not None:
            _deliver(self.peers - senders, sync_update(change), change)
        applied, pending = self._applied.record(applied, change)
        if self._applied.needs_replay:
            self._has_work.set()
        parts = pending if change is None else [change, *pending]
        update = merge_updates(*parts) if len(parts) > 1 else next(iter(parts), None)
        ack_to = set() if update is None else self._ack_receivers(senders, external is not None)
        self.metrics.updates.inc(len(applied))
        self.persister.put(WriteBatch(update, ack_to, applied, external, queries))
        self.document.grow(len(update or b""))

    def _ack_receivers(self, senders: set[Peer], has_external: bool) -> set[Peer]:
        """Return the senders that receive the batch back as the ack.

        A socket always does. A local peer does not if the whole batch is its own (rule R6).
        """
        if len(senders) == 1 and not (has_external or self._applied.has_completed_pending):
            return {peer for peer in senders & self.peers if not isinstance(peer, LocalPeer)}
        return senders & self.peers

    def _send_presences(self) -> None:
        if self._queued_presences:
            presences, self._queued_presences = self._queued_presences, {}
            _deliver(self.peers, awareness(presences.values()), None)


def _deliver(peers: set[Peer], frame: bytes, update: bytes | None) -> None:
    """Queue one frame, encoded once, for each peer."""
    for peer in tuple(peers):
        peer.deliver(frame, update)
