"""How updates go through a room: what arrives within a tick is one batch, one transaction, one frame.

The shipped `YRoom` applies each message by itself and starts a task per message and client. With 100 people
in a room that is 10 000 tasks for what each of them typed in a moment. Here an update is put into an inbox;
one task empties it: at once if the room was idle, else at the next tick, and never so often that flushing
takes more than a third of the time.

Order, on which rules S4 and S5 rest: apply, send to the others, append to the store, then send to those whose
updates were in the batch. So whoever sees its own update come back knows that it is saved. The store has a
task of its own (see `saving`): while it is slow or fails, others still see an update at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from logging import Logger
from typing import Any

from anyio import Event, Lock, sleep
from pycrdt import Doc, merge_updates
from pycrdt.websocket.yroom import ProviderFactory

from streamlit_crdt_server.errors import HubNotRunningError, RoomFullError, ServerError
from streamlit_crdt_server.metrics import Metrics
from streamlit_crdt_server.protocol import Presence, awareness, sync_update
from streamlit_crdt_server.room.batch import QueuedUpdate
from streamlit_crdt_server.room.document import SettlingDocument
from streamlit_crdt_server.room.peers import LocalPeer, Peer, SocketPeer
from streamlit_crdt_server.room.persister import Acknowledger, RoomPersister
from streamlit_crdt_server.room.presence import PresenceOwners, RoomAwareness
from streamlit_crdt_server.room.write_queue import WriteBatch
from streamlit_crdt_server.settings import Settings
from streamlit_crdt_server.storage.store import Store
from streamlit_crdt_server.yjs import safe_apply

TICK_S = 0.005
"""Below what people notice, and long enough to merge the keystrokes of many."""

MAX_DUTY = 3
"""A flush is followed by at least twice its own duration without one, so that reading never starves."""


class UpdatePipeline(SettlingDocument):
    """The way of an update from one peer to the others and to the store."""

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
        options = {
            "ready": ready,
            "exception_handler": exception_handler,
            "log": log,
            "ydoc": ydoc,
            "provider_factory": provider_factory,
        }
        super().__init__(options, name, settings, store, metrics)
        self.peers: set[Peer] = set()
        self._inbox: list[QueuedUpdate] = []
        self._inbox_bytes = 0
        self._inbox_emptied = Event()
        self._questions: dict[Peer, int] = {}
        self._flushing = Lock()
        self._next_flush_at = 0.0
        self.is_closed = False
        self._confirmer = Acknowledger(self.peers, self._log)
        self._saver = RoomPersister(
            self._log,
            self.log,
            self.metrics,
            read_state=self._read_whole_state,
            confirmer=self._confirmer,
            on_damaged=self._recover,
        )
        self.awareness = RoomAwareness(self.ydoc)
        self.awareness.observe(self.send_server_awareness)
        self.attendance = PresenceOwners(self.awareness, self.settings.max_presences_per_connection)
        self._news: dict[int, Presence] = {}
        self._shared_state: bytes | None = None

    @property
    def is_blank(self) -> bool:
        """Whether nobody is here and nothing was ever written, so that it can be forgotten."""
        return self.started.is_set() and not (self.peers or self.is_written)

    @property
    def is_written(self) -> bool:
        """Whether anything was ever written, saved or not."""
        return bool(self._log.size_bytes or self._has_unsaved)

    @property
    def is_saving_failing(self) -> bool:
        """Whether the store fails at the moment, so that the latest edits are in memory only."""
        return self._saver.is_failing

    @property
    def _has_unsaved(self) -> bool:
        return bool(self._inbox or self._outbox or not self._saver.is_idle)

    def submit(
        self,
        peer: Peer,
        update: bytes,
        done: Future[None] | None = None,
        reach: Mapping[int, int] | None = None,
    ) -> None:
        """Put a checked update of `peer`, which reaches so far, into the next batch. Loop thread only."""
        entry = QueuedUpdate(peer, update, done, reach or {})
        if self.is_closed:
            entry.refuse(HubNotRunningError())
            return
        self._inbox.append(entry)
        self._inbox_bytes += len(update)
        self._has_work.set()

    def ask_saved(self, peer: SocketPeer, version: int) -> None:
        """Answer `version` once all that `peer` sent before is saved; of questions in one tick, the last.

        A room that ends takes no updates in any more, so it answers no later question either (rule S5).
        """
        if self.is_closed:
            return
        self._questions[peer] = version
        self._has_work.set()

    async def wait_for_space(self) -> None:
        """Wait while too much waits to be applied: a socket that is not read meanwhile slows its sender."""
        while self._inbox_bytes > self.settings.max_inbox_bytes_per_room:
            await self._inbox_emptied.wait()

    async def flush(self, timeout_s: float) -> bool:
        """Apply, send and save all that waits, trying again for `timeout_s`; return whether it is saved."""
        await self._flush()
        return await self._saver.drain(timeout_s)

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
        """Apply what waits, send it, and leave it to be saved and confirmed."""
        async with self._flushing:
            started_at = time.monotonic()
            self._send_presence()
            is_settling = await self._settle()
            if not (is_settling or self._inbox or self._outbox or self._questions or self._is_damaged):
                return
            foreign = merge_updates(*self._outbox) if self._outbox else None
            questions, self._questions = self._questions, {}
            applied = await self._apply_inbox()
            self._put(applied, foreign, questions)
            if self._holdings.is_overgrown:
                await self._shed()
            self._next_flush_at = started_at + max(TICK_S, MAX_DUTY * (time.monotonic() - started_at))

    async def _apply_inbox(self) -> list[QueuedUpdate]:
        batch = self._take_inbox()
        try:
            return await self._apply(self._without_news_if_full(batch))
        except BaseException as error:  # the room ends: nobody may wait for ever
            for entry in batch:
                entry.refuse(error if isinstance(error, ServerError) else HubNotRunningError())
            raise

    def _put(self, applied: list[QueuedUpdate], foreign: bytes | None, questions: dict[Peer, int]) -> None:
        """Send what the document's observer saw to the others, and leave it to be saved."""
        change = self._take_outbox()
        self._shared_state = None
        senders = {entry.peer for entry in applied}
        if change is not None:
            self._deliver(self.peers - senders, sync_update(change), change)
        applied, premature = self._take_in(applied, change)
        parts = premature if change is None else [change, *premature]
        update = merge_updates(*parts) if len(parts) > 1 else next(iter(parts), None)
        echo_to = set() if update is None else self._expecting(senders, foreign is not None)
        self.metrics.updates.inc(len(applied))
        self._saver.put(WriteBatch(update, echo_to, applied, foreign, questions))
        self._watch_size(update or b"")

    def _expecting(self, senders: set[Peer], has_foreign: bool) -> set[Peer]:
        """Which senders get the batch back: sockets, as confirmation; a local peer unless all is its own (R6)."""
        if len(senders) == 1 and not (has_foreign or self._holdings.has_brought_more):
            return {peer for peer in senders & self.peers if not isinstance(peer, LocalPeer)}
        return senders & self.peers

    def _without_news_if_full(self, batch: Sequence[QueuedUpdate]) -> Sequence[QueuedUpdate]:
        """Refuse what would change a document that is full, and tell its senders."""
        if not self.is_full or self._is_damaged:
            return batch
        try:
            news = [entry for entry in batch if safe_apply.has_changes(self.ydoc, entry.update)]
        except safe_apply.DocumentDamagedError:
            self._recover()
            return batch
        for entry in news:
            entry.refuse(RoomFullError(self.name, self.settings.max_room_bytes))
        return [entry for entry in batch if entry not in news]

    def _announce(self, presences: Iterable[Presence]) -> None:
        """Send presences with the next flush; of one client id within a tick only the last counts."""
        for presence in presences:
            self._news.pop(presence.client_id, None)
            self._news[presence.client_id] = presence
            self._has_work.set()

    def _send_presence(self) -> None:
        if self._news:
            news, self._news = self._news, {}
            self._deliver(self.peers, awareness(news.values()), None)

    def _deliver(self, peers: set[Peer], frame: bytes, update: bytes | None) -> None:
        """Put one frame, encoded once, into the backlog of each peer."""
        for peer in tuple(peers):
            peer.deliver(frame, update)

    def _take_inbox(self) -> list[QueuedUpdate]:
        batch, self._inbox, self._inbox_bytes = self._inbox, [], 0
        self._inbox_emptied.set()
        self._inbox_emptied = Event()
        return batch

    async def _shed(self) -> None:
        """Load the document again, without what it has inside and what was refused. Nobody sees a difference."""
        self._holdings.forget_refused()
        try:
            await self._reload()
        except Exception:
            self.log.exception("room %r keeps what it refused: it could not be loaded again", self.name)
