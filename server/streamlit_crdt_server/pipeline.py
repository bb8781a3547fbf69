"""How updates go through a room: what arrives within a tick is one batch, one transaction, one frame.

The shipped `YRoom` applies each message by itself and starts a task per message and client. With 100 people
in a room that is 10 000 tasks for what each of them typed in a moment. Here an update is put into an inbox;
one task empties it: at once if the room was idle, else at the next tick, and never so often that flushing
takes more than a third of the time.

Order within a flush, on which rules S4 and S5 rest: apply, send to the others, append to the store, then send
to those whose updates were in the batch. So whoever sees its own update come back knows that it is saved.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from logging import Logger
from typing import Any

from anyio import Event, Lock, sleep
from pycrdt import Doc, TransactionEvent, merge_updates
from pycrdt.websocket import YRoom
from pycrdt.websocket.yroom import ProviderFactory

from streamlit_crdt_server import apply
from streamlit_crdt_server.apply import DocumentDamagedError
from streamlit_crdt_server.batch import Entry, apply_batch
from streamlit_crdt_server.errors import HubNotRunningError, UpdateRefusedError
from streamlit_crdt_server.local import LocalPeer
from streamlit_crdt_server.peer import Peer
from streamlit_crdt_server.presence import Attendance, RoomAwareness
from streamlit_crdt_server.protocol import (
    EMPTY_UPDATE,
    CloseCode,
    Presence,
    awareness,
    sync_update,
)
from streamlit_crdt_server.roomlog import RoomLog
from streamlit_crdt_server.settings import Settings
from streamlit_crdt_server.store import MemoryStore, Store

TICK_S = 0.005
"""Below what people notice, and long enough to merge the keystrokes of many."""

MAX_DUTY = 3
"""A flush is followed by at least twice its own duration without one, so that reading never starves."""


class RoomPipeline(YRoom):
    """The document of a room, and the way of an update from one peer to the others and to the store."""

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
    ) -> None:
        """Make a room; `ready`, `exception_handler`, `log`, `ydoc`, `provider_factory` are those of `YRoom`.

        Args:
            name: Its name in the store.
            settings: The limits; the defaults if None.
            store: Where its updates go. A room made by itself keeps them in memory.
        """
        super().__init__(
            ready=ready,
            exception_handler=exception_handler,
            log=log,
            ydoc=ydoc,
            provider_factory=provider_factory,
        )
        self.name = name
        self.settings = settings or Settings()
        self.peers: set[Peer] = set()
        self._inbox: list[Entry] = []
        self._inbox_bytes = 0
        self._inbox_emptied = Event()
        self._outbox: list[bytes] = []
        self._has_work = Event()
        self._flushing = Lock()
        self._next_flush_at = 0.0
        self._is_loaded = False
        self._is_damaged = False
        self._is_batching = False
        self.is_closed = False
        self.is_scheduled = False
        self.opened = Event()
        self.ended = Event()
        self._log = RoomLog(store or MemoryStore(), name)
        self.awareness = RoomAwareness(self.ydoc)
        self.awareness.observe(self.send_server_awareness)
        self.attendance = Attendance(self.awareness, self.settings.max_presences_per_connection)
        self._news: dict[int, Presence] = {}

    @property
    def is_blank(self) -> bool:
        """Whether nobody is here and nothing was ever written, so that it can be forgotten."""
        return self.started.is_set() and not (
            self.peers or self._log.size_bytes or self._inbox or self._outbox
        )

    def submit(self, peer: Peer, update: bytes, done: Future[None] | None = None) -> None:
        """Put a checked update of `peer` into the next batch. Loop thread only."""
        entry = Entry(peer, update, done)
        if self.is_closed:
            entry.refuse(HubNotRunningError())
            return
        self._inbox.append(entry)
        self._inbox_bytes += len(update)
        self._has_work.set()

    async def wait_for_space(self) -> None:
        """Wait while too much waits to be applied: a socket that is not read meanwhile slows its sender."""
        while self._inbox_bytes > self.settings.max_inbox_bytes_per_room:
            await self._inbox_emptied.wait()

    async def _load(self) -> None:
        """Bring the document up to the log, once, then the log up to a document that was given with content."""
        if self._is_loaded:
            return
        given = apply.read_state(self.ydoc)
        for update in (await self._log.load()).updates:
            apply.apply_update(self.ydoc, update)
        if given != EMPTY_UPDATE:
            await self._log.append(given, self.ydoc)
        self._is_loaded = True

    def _observe(self) -> None:
        """Collect the document's own updates, whoever makes them; once, also when the room restarts.

        Mends two faults of the shipped `_watch_ready`: a restarted room observed twice and sent everything
        twice, and `put_updates` drops updates in silence when its buffer of 65 536 is full.
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
        self._outbox.append(event.update)
        if not self._is_batching:
            self._has_work.set()

    async def _run_flushes(self) -> None:
        """Flush whenever there is work, at the pace that the module describes."""
        while True:
            await self._has_work.wait()
            wait_s = self._next_flush_at - time.monotonic()
            if wait_s > 0:
                await sleep(wait_s)
            self._has_work = Event()
            await self._flush()

    async def _flush(self) -> None:
        """Apply what waits, send it, save it, confirm it."""
        async with self._flushing:
            started_at = time.monotonic()
            self._send_presence()
            if not (self._inbox or self._outbox or self._is_damaged):
                return
            has_foreign = bool(self._outbox)
            applied = await self._apply(self._take_inbox())
            update = self._take_outbox()
            senders = {entry.peer for entry in applied}
            frame = b"" if update is None else sync_update(update)
            if update is not None:
                self._deliver(self.peers - senders, frame, update)
            self._next_flush_at = started_at + max(TICK_S, MAX_DUTY * (time.monotonic() - started_at))
            if update is not None:
                await self._log.append(update, self.ydoc)
                self._deliver(self._expecting(senders, has_foreign), frame, update)
            for entry in applied:
                entry.accept()

    def _expecting(self, senders: set[Peer], has_foreign: bool) -> set[Peer]:
        """Which senders get the batch back: sockets, as confirmation; a local peer unless all is its own (R6)."""
        if len(senders) == 1 and not has_foreign:
            return {peer for peer in senders & self.peers if not isinstance(peer, LocalPeer)}
        return senders & self.peers

    def _announce(self, presences: Iterable[Presence]) -> None:
        """Send presences with the next flush; of one client id within a tick only the last counts."""
        for presence in presences:
            self._news.pop(presence.client_id, None)
            self._news[presence.client_id] = presence
            self._has_work.set()

    def _send_presence(self) -> None:
        if self._news:
            news, self._news = self._news, {}
            self._deliver(set(self.peers), awareness(news.values()), None)

    def _deliver(self, peers: set[Peer], frame: bytes, update: bytes | None) -> None:
        """Put one frame, encoded once, into the backlog of each peer."""
        for peer in peers:
            peer.deliver(frame, update)

    def _take_inbox(self) -> list[Entry]:
        batch, self._inbox, self._inbox_bytes = self._inbox, [], 0
        self._inbox_emptied.set()
        self._inbox_emptied = Event()
        return batch

    def _take_outbox(self) -> bytes | None:
        updates, self._outbox = self._outbox, []
        if len(updates) > 1:
            return merge_updates(*updates)
        return updates[0] if updates else None

    async def _apply(self, batch: Sequence[Entry]) -> list[Entry]:
        """Apply a batch and return what of it was accepted; a sender of anything else has been told."""
        if self._is_damaged:
            await self._reload()
            self._resync()
        kept = len(self._outbox)
        try:
            return self._apply_together(batch)
        except DocumentDamagedError:
            self.log.exception(
                "room %r was damaged by one of %d updates; loading it again", self.name, len(batch)
            )
        del self._outbox[kept:]
        applied = await self._apply_one_by_one(batch)
        self._resync()
        return applied

    async def _apply_one_by_one(self, batch: Sequence[Entry]) -> list[Entry]:
        """Find the update that damages the document, so that the others of its batch are not lost with it."""
        await self._reload()
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

    def _apply_together(self, batch: Sequence[Entry]) -> list[Entry]:
        self._is_batching = True
        try:
            return apply_batch(self.ydoc, batch, self.log)
        finally:
            self._is_batching = False

    async def _reload(self) -> None:
        """Replace a damaged document by a new one from the log."""
        if self.provider_factory is not None:
            raise DocumentDamagedError(
                "its provider holds the damaged document: the room must be opened again"
            )
        fresh: Doc[Any] = Doc()
        for update in (*(await self._log.load()).updates, *self._outbox):
            apply.apply_update(fresh, update)
        self._unobserve()
        self.ydoc = fresh
        self._observe()
        self._is_damaged = False

    def _resync(self) -> None:
        """Let every peer start over with the document that was loaded again."""
        state = apply.read_state(self.ydoc)
        for peer in tuple(self.peers):
            if isinstance(peer, LocalPeer):
                peer.replace(state)
            else:
                peer.dismiss(CloseCode.SERVICE_RESTART, "the room was loaded again")
