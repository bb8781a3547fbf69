"""The path of updates through a room: received within one tick, applied as one batch, sent as one frame.

The `YRoom` of pycrdt-websocket applies each message by itself and starts a task per message and client. With 100
participants that is 10 000 tasks for the keystrokes of one moment. Here updates are queued in an inbox that one task
empties: at once if the room was idle, otherwise at the next tick. A flush is followed by a pause of at least twice its
duration.

Rules S4 and S5 depend on the order: apply, send to the other peers, append to the store, send to the senders that take
their own update as the proof that it is saved. Such a sender receives what others sent in the same batch with its own,
or before any later change (rule S6). Saving is a task of its own (see `persister`): while the store is slow or fails,
other peers still receive an update at once.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Future
from logging import Logger

from anyio import Event, Lock, move_on_after, sleep
from pycrdt import merge_updates

from streamlit_crdt_server.errors import (
    HubNotRunningError,
    RoomFullError,
    ServerError,
    UpdateRefusedError,
)
from streamlit_crdt_server.gap_timer import GapTimer
from streamlit_crdt_server.metrics import Metrics
from streamlit_crdt_server.protocol import CloseCode, Presence, awareness
from streamlit_crdt_server.room.batch import QueuedUpdate
from streamlit_crdt_server.room.document import RoomDocument
from streamlit_crdt_server.room.peers import LocalPeer, Peer, SocketPeer
from streamlit_crdt_server.room.permissions import may_write
from streamlit_crdt_server.room.persister import RoomPersister
from streamlit_crdt_server.room.state_transfer import cut_off_loop, deliver_pieces
from streamlit_crdt_server.room.write_queue import WriteBatch
from streamlit_crdt_server.settings import Settings
from streamlit_crdt_server.storage.store import RoomLog
from streamlit_crdt_server.yjs import safe_apply
from streamlit_crdt_server.yjs.lib0 import EMPTY_UPDATE
from streamlit_crdt_server.yjs.safe_apply import DocumentDamagedError, MisplacedError, ValidatedUpdate

TICK_S = 0.005
"""Shortest time in seconds between two flushes: imperceptible, and long enough to merge the keystrokes of many."""

MIN_FLUSH_PERIOD_RATIO = 3
"""Shortest time between two flush starts, as a multiple of the first one's duration. The rest is left for reading."""

GAP_CHECK_S = 0.1
"""Shortest time in seconds between two looks at the pending updates, which take time in proportion to their number."""


class UpdatePipeline:
    """Applies the updates of peers, sends them to the others and queues them for saving. Event loop only.

    Attributes:
        is_closed: Whether the room has closed. A closed pipeline rejects updates and answers no saved query.
    """

    def __init__(
        self,
        room_log: RoomLog,
        document: RoomDocument,
        persister: RoomPersister,
        peers: AbstractSet[Peer],
        *,
        can_reload: bool,
        settings: Settings,
        log: Logger,
        metrics: Metrics,
    ) -> None:
        """Create a pipeline. `run()` starts it.

        Args:
            room_log: The room's log in the store.
            document: Receives the updates. Its `has_work` wakes `run()`.
            persister: Saves the changes of the document.
            peers: The peers of the room. Changed by `RoomConnections`.
            can_reload: Whether a damaged document may be replaced. A provider keeps a reference to the old one.
            settings: The limits.
            log: The logger of the room.
            metrics: Counts updates.
        """
        self.is_closed = False
        self._document = document
        self._persister = persister
        self._room_log = room_log
        self._peers = peers
        self._can_reload = can_reload
        self._has_work = document.has_work
        self._settings = settings
        self._log = log
        self._metrics = metrics
        self._is_loaded = False
        self._inbox: list[QueuedUpdate] = []
        self._inbox_bytes = 0
        self._inbox_emptied = Event()
        self._saved_queries: dict[Peer, int] = {}
        self._queued_presences: dict[int, Presence] = {}
        self._shared_state: bytes | None = None
        self._flushing = Lock()
        self._next_flush_at = 0.0
        self._gap_timer: GapTimer[Peer | None] = GapTimer(time.monotonic())

    @property
    def has_unsaved(self) -> bool:
        """True if an update is received and not saved yet."""
        document = self._document
        return bool(self._inbox or document.has_ready or document.outbox or not self._persister.is_idle)

    async def load(self) -> None:
        """Load the room's log into the document. A document that was given with content is appended to the log.

        Does nothing if the log is loaded.

        Raises:
            StoreError: The store failed.
        """
        if self._is_loaded:
            return
        given = safe_apply.read_state(self._document.ydoc)
        for row in self._document.load(await self._persister.load()):
            self._persister.set_aside(*row)
        if given != EMPTY_UPDATE:
            await self._room_log.append(given)
        self._document.grow(len(given))
        self._is_loaded = True

    def submit(
        self,
        peer: Peer,
        update: ValidatedUpdate,
        done: Future[None] | None = None,
    ) -> None:
        """Queue a validated update for the next batch.

        Args:
            peer: The sender.
            update: The update.
            done: The future of a local peer, completed after the update was saved.
        """
        entry = QueuedUpdate(peer, update, done)
        if self.is_closed:
            entry.reject(HubNotRunningError())
            return
        self._inbox.append(entry)
        self._inbox_bytes += len(update.data)
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

    @property
    def has_space(self) -> bool:
        """False if the inbox is full."""
        return self._inbox_bytes <= self._settings.max_inbox_bytes_per_room

    async def wait_for_space(self) -> None:
        """Wait while the inbox is full. A socket that is not read meanwhile slows its sender."""
        while not self.has_space:
            await self._inbox_emptied.wait()

    def read_shared_state(self) -> bytes | None:
        """Return the state with everything delivered so far, encoded once per flush. None if it cannot be read."""
        if self._shared_state is None:
            try:
                self._shared_state = self._document.read_state()
            except DocumentDamagedError:
                self._document.mark_damaged()
        return self._shared_state

    async def run(self) -> None:
        """Flush whenever there is work, until cancelled."""
        while True:
            await self._has_work.wait()
            wait_s = self._next_flush_at - time.monotonic()
            if wait_s > 0:
                await sleep(wait_s)
            self._has_work.clear()
            await self._flush_some()

    async def request_missing(self) -> None:
        """Ask peers for the updates that pending ones depend on, until cancelled (rule S6)."""
        while True:
            with move_on_after(self._gap_timer.wait_s(time.monotonic())):
                await self._document.has_gap.wait()
            self._document.has_gap.clear()
            request = self._gap_timer.take(self._document.gaps(), time.monotonic(), self._peers)
            asked = self._peers if request.is_for_all else self._peers & request.senders
            if asked and not self.is_closed:
                self._request_state(asked)
            await sleep(GAP_CHECK_S)

    def _request_state(self, peers: AbstractSet[Peer]) -> None:
        """Ask peers for what the document lacks. A viewer has no update for the room (rule A1)."""
        try:
            vector = safe_apply.read_vector(self._document.ydoc)
        except DocumentDamagedError:
            self._document.mark_damaged()
            return
        for peer in tuple(peers):
            if not isinstance(peer, SocketPeer) or may_write(peer.channel, self._room_log.room):
                peer.request_state(vector)

    async def flush(self) -> None:
        """Apply and send everything, and queue it for saving."""
        for _ in range(2):  # first what earlier flushes left, then the inbox
            await self._flush_some()
            while self._document.has_ready:
                await sleep(0)
                await self._flush_some()

    async def _flush_some(self) -> None:
        """Apply and send what takes a limited time, and queue it for saving. The rest follows after other rooms."""
        async with self._flushing:
            started_at = time.monotonic()
            self._send_presences()
            document = self._document
            if not (
                self._inbox
                or document.has_ready
                or document.outbox
                or self._saved_queries
                or document.is_damaged
            ):
                return
            external = list(document.outbox)
            queries, self._saved_queries = self._saved_queries, {}
            # What the last flush left is applied first. Meanwhile a full inbox slows the senders.
            left = tuple(self._inbox) if document.has_ready else ()
            applied = await self._apply_batch([] if document.has_ready else self._take_inbox())
            external += document.applied_stored
            await self._publish(applied, external, self._answerable(queries, left))
            if document.has_ready or self._inbox:
                self._has_work.set()
            duration_s = time.monotonic() - started_at
            self._next_flush_at = started_at + max(TICK_S, MIN_FLUSH_PERIOD_RATIO * duration_s)

    def reject_unsaved(self) -> None:
        """Reject every update that is not saved, those of peers that left too, because the room closes."""
        unsaved = (entry for batch in self._persister.unsaved for entry in batch.entries)
        for entry in (*self._take_inbox(), *self._document.pending(), *unsaved):
            entry.reject(HubNotRunningError())

    def save_pending(self) -> None:
        """Queue the pending updates for saving, because the room stops. They are not acknowledged."""
        pending = self._document.encode_received_pending()
        if pending != EMPTY_UPDATE:
            self._persister.put(WriteBatch(pending))

    def _answerable(self, queries: dict[Peer, int], left: Sequence[QueuedUpdate]) -> dict[Peer, int]:
        """Return the saved queries of the peers of which nothing is pending or left. Keep the others."""
        if not queries:
            return queries
        pending = {entry.peer for entry in (*self._document.pending(), *left)} & self._peers
        self._saved_queries |= {peer: queries[peer] for peer in pending if peer in queries}
        return {peer: version for peer, version in queries.items() if peer not in pending}

    async def _apply_batch(self, batch: list[QueuedUpdate]) -> list[QueuedUpdate]:
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
        """Reject the updates that would change a full document, or a room that exceeds its limit on disk."""
        full: RoomFullError | None = self._room_log.find_excess()
        if full is None and self._document.is_full:
            full = RoomFullError(self._room_log.room, self._settings.max_room_bytes)
        if full is None or self._document.is_damaged:
            return batch
        try:
            changes = [
                entry for entry in batch if safe_apply.has_changes(self._document.ydoc, entry.update.data)
            ]
        except DocumentDamagedError:
            self._document.mark_damaged()
            return batch
        for entry in changes:
            entry.reject(full)
        return [entry for entry in batch if entry not in changes]

    async def _apply(self, batch: Sequence[QueuedUpdate]) -> list[QueuedUpdate]:
        """Apply a batch and return the accepted updates. The senders of the others are informed."""
        if self._document.is_damaged:
            await self._reload(batch)
            self._resync_peers()
        try:
            batch = await self._document.repair(batch)
            return self._document.apply(batch)
        except DocumentDamagedError:
            self._log.exception(
                "room %r: one of %d updates damaged its document; loading it again",
                self._room_log.room,
                len(batch),
            )
        applied = await self._apply_one_by_one(batch)
        self._resync_peers()
        return applied

    async def _apply_one_by_one(self, batch: Sequence[QueuedUpdate]) -> list[QueuedUpdate]:
        """Load the document again, then find and reject the update that damages it."""
        await self._reload(batch)
        batch = await self._document.repair(batch)
        applied = []
        for entry in batch:
            try:
                applied += self._document.apply([entry])
            except DocumentDamagedError:
                entry.reject(UpdateRefusedError("it damages the room's document"))
                await self._reload(batch)
        return applied

    async def _reload(self, batch: Sequence[QueuedUpdate]) -> None:
        """Replace the document by a new one from the log and from the updates that are not saved yet.

        Args:
            batch: The updates that are applied next.

        Raises:
            DocumentDamagedError: A provider uses the damaged document, or the new document panicked.
            StoreError: The store failed.
        """
        if not self._can_reload:
            raise DocumentDamagedError("a provider uses the damaged document; the room must be opened again")
        unsaved = [update.update for update in self._persister.unsaved if update.update is not None]
        stored = await self._persister.load()
        for row in self._document.replace([*stored, *unsaved, *self._document.outbox], batch):
            self._persister.set_aside(*row)

    def _resync_peers(self) -> None:
        """Give every peer the state of the document that was loaded again."""
        state = safe_apply.read_state(self._document.ydoc)
        for peer in tuple(self._peers):
            if isinstance(peer, LocalPeer):
                peer.replace(state)
            else:
                peer.disconnect(CloseCode.SERVICE_RESTART, "the room was loaded again")

    async def _publish(
        self, applied: list[QueuedUpdate], external: Sequence[bytes], queries: dict[Peer, int]
    ) -> None:
        """Queue the change of the document for saving, and send it to the other peers."""
        change = self._document.take_outbox()
        self._shared_state = None
        senders = {entry.peer for entry in applied}
        if self._document.misplaced:
            misplaced, self._document.misplaced = self._document.misplaced, []
            self._persister.remove_misplaced(merge_updates(EMPTY_UPDATE, *misplaced), MisplacedError().reason)
        parts = [*self._document.find_unsent(applied, change), *([] if change is None else [change])]
        update = merge_updates(*parts) if len(parts) > 1 else next(iter(parts), None)
        ack_to = set() if update is None else {peer for peer in senders & self._peers if _needs_ack(peer)}
        self._metrics.updates.inc(len(applied))
        self._persister.put(WriteBatch(update, ack_to, applied, external, queries))
        self._document.grow(len(update or b""))
        if change is None:
            return
        is_of_one = len(senders) == 1 and not external
        # The only sender of a batch does not need its own update (rule R6).
        receivers = self._peers - (senders if is_of_one else ack_to)
        pieces = await cut_off_loop(change, self._settings.max_sent_frame_bytes)
        self._persister.share(receivers)  # what they lack of earlier batches comes first (rule S6)
        deliver_pieces(receivers, change, pieces)

    def _send_presences(self) -> None:
        if self._queued_presences:
            presences, self._queued_presences = self._queued_presences, {}
            _deliver(self._peers, awareness(presences.values()), None)


def _needs_ack(peer: Peer) -> bool:
    """Return whether a peer needs its own update back, because its client does not ask for the save status."""
    return isinstance(peer, SocketPeer) and not peer.takes_fragments


def _deliver(peers: AbstractSet[Peer], frame: bytes, update: bytes | None) -> None:
    """Queue one frame, encoded once, for each peer."""
    for peer in tuple(peers):
        peer.deliver(frame, update)
