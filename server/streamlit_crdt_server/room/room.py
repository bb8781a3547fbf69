"""One room: its start, its eviction, its deletion and its stop.

A `Room` is a `YRoom` of pycrdt-websocket: `ydoc`, `awareness`, `clients`, `serve(channel)`, `start()`, `stop()` and the
callbacks keep their meaning. Each override names the bug of `YRoom` that it fixes. The work is done by its parts:

| part | task |
|---|---|
| `document` | the Yjs document and its pending updates |
| `pipeline` | the path of an update from a peer to the other peers |
| `connections` | sockets, presences, peers |
| `persister` | saving and acks |
"""

from __future__ import annotations

import time
from collections.abc import Callable
from logging import Logger, getLogger
from typing import Any

from anyio import CancelScope, Event, Lock, sleep
from anyio.abc import TaskStatus
from pycrdt import Channel, Doc
from pycrdt.websocket import YRoom
from pycrdt.websocket.yroom import ProviderFactory

from streamlit_crdt_server.errors import RoomUnavailableError
from streamlit_crdt_server.metrics import Metrics
from streamlit_crdt_server.protocol import CloseCode
from streamlit_crdt_server.rewriting import NotCopyableError, RoomPast, rewrite_off_loop
from streamlit_crdt_server.room.connections import DELETED, MAX_SWEEP_INTERVAL_S, RESTARTS, RoomConnections
from streamlit_crdt_server.room.document import RoomDocument
from streamlit_crdt_server.room.message_validation import FrameValidator
from streamlit_crdt_server.room.peers import LocalPeer, Peer, SocketPeer
from streamlit_crdt_server.room.persister import RoomPersister
from streamlit_crdt_server.room.pipeline import UpdatePipeline
from streamlit_crdt_server.room.presence import RoomAwareness
from streamlit_crdt_server.settings import Settings
from streamlit_crdt_server.storage.disk_usage import DiskUsage
from streamlit_crdt_server.storage.store import MemoryStore, RoomLog, Store
from streamlit_crdt_server.yjs import safe_apply
from streamlit_crdt_server.yjs.room_doc import RoomDoc
from streamlit_crdt_server.yjs.update_decoder import decode_state_vector


class Room(YRoom):
    """One room: a document and its peers. Event loop only.

    Attributes:
        name: The name in the store.
        settings: The limits.
        metrics: The counters.
        peers: The peers: sockets, and replicas in this process.
        document, pipeline, connections, persister: The parts, see the module.
        is_scheduled: Whether a hub has started to run it.
        opened: Set after the room can be joined or has failed.
        ended: Set after the room has ended and its hub has removed it.
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
        validator: FrameValidator | None = None,
        usage: DiskUsage | None = None,
    ) -> None:
        """Create a room. `ready`, `exception_handler`, `log`, `ydoc`, `provider_factory` are those of `YRoom`.

        Args:
            name: The name in the store.
            settings: The limits. None takes the defaults.
            store: The store of its updates. None keeps them in memory.
            metrics: The counters. None creates counters for this room.
            validator: Validates received frames. None creates one for this room.
            usage: Records the bytes of the room on disk. None sets no limit.
        """
        log = log or getLogger(YRoom.__module__)
        settings, metrics = settings or Settings(), metrics or Metrics()
        ydoc = RoomDoc() if ydoc is None else ydoc
        self.name = name
        self.settings = settings
        self.metrics = metrics
        self.peers: set[Peer] = set()
        self.document = document = RoomDocument(ydoc, name, settings, log)
        super().__init__(
            ready, exception_handler=exception_handler, log=log, ydoc=ydoc, provider_factory=provider_factory
        )
        self.awareness = RoomAwareness(ydoc)
        self.awareness.observe(self.send_server_awareness)
        self._room_log = room_log = RoomLog(store or MemoryStore(), name, usage)
        self.persister = RoomPersister(
            room_log,
            document,
            self.peers,
            max_sent_frame_bytes=settings.max_sent_frame_bytes,
            log=log,
            metrics=metrics,
        )
        self.pipeline = UpdatePipeline(
            room_log,
            document,
            self.persister,
            self.peers,
            can_reload=provider_factory is None,
            settings=settings,
            log=log,
            metrics=metrics,
        )
        self.connections = RoomConnections(
            room_log,
            document,
            self.pipeline,
            self.peers,
            self.awareness,
            channels=self.clients,
            callbacks=self,
            validator=validator or FrameValidator(settings),
            settings=settings,
            log=log,
            metrics=metrics,
        )
        self._has_no_provider = provider_factory is None
        self.is_scheduled = False
        self.opened = Event()
        self.ended = Event()
        self._stopping = Lock()

    @property
    def ydoc(self) -> Doc[Any]:
        """The Yjs document. The room replaces it after damage."""
        return self.document.ydoc

    @ydoc.setter
    def ydoc(self, ydoc: Doc[Any]) -> None:
        self.document.ydoc = ydoc

    @property
    def epoch(self) -> str:
        """The epoch: 32 hex digits. Empty until the log is loaded."""
        return self._room_log.epoch

    @property
    def past(self) -> RoomPast:
        """The documents that the room had before it was rewritten."""
        return self.connections.past

    @property
    def level(self) -> int:
        """The durability of a saved update, see `StoreLevel`."""
        return self._room_log.level

    @property
    def is_closed(self) -> bool:
        """True if the room has closed. Open it again in its hub."""
        return self.pipeline.is_closed

    @property
    def is_full(self) -> bool:
        """True if the document exceeds `max_room_bytes` and is read-only."""
        return self.document.is_full

    @property
    def is_written(self) -> bool:
        """True if the room has content, saved or not."""
        return bool(self._room_log.size_bytes or self.pipeline.has_unsaved)

    @property
    def is_blank(self) -> bool:
        """True if the room has neither peers nor content, so that it can be dropped."""
        return self.started.is_set() and not (self.peers or self.is_written)

    @property
    def is_saving_failing(self) -> bool:
        """True if the store fails at present, so that the latest edits are in memory only."""
        return self.persister.is_failing

    async def _start(self, task_status: TaskStatus[None]) -> None:
        """Load the log, observe the document, and then report the start (rule S1).

        Fixes the order in `YRoom`, which reports the start and attaches its observer in a separate task: edits in
        between are neither stored nor sent.
        """
        assert self._task_group is not None
        if self.is_closed:  # stopped before it ran
            self._task_group.cancel_scope.cancel()
            return
        await self.pipeline.load()
        self.connections.past = self._read_past()
        if self.ready:
            self._observe()
        for task in (
            self._stopped.wait,
            self._watch_ready,
            self.pipeline.run,
            self.pipeline.request_missing,
            self.persister.run,
            self.connections.close_silent,
            self._end_when_idle,
            self._run_provider,
        ):
            self._task_group.start_soon(task)
        if not self.started.is_set():
            task_status.started()
            self.started.set()
            self.opened.set()

    def _read_past(self) -> RoomPast:
        try:
            return RoomPast.decode(self._room_log.past)
        except ValueError:
            self.log.exception("room %r: what it keeps of its former documents cannot be read", self.name)
            return RoomPast()

    async def _watch_ready(self) -> None:
        await self.ready_event.wait()
        self._observe()

    def _observe(self) -> None:
        self.document.observe()
        self.ydoc_observed.set()

    async def serve(self, channel: Channel) -> None:
        """Serve one connection until it or the room closes.

        Fixes `YRoom`, which serves before the document is observed (rule S1); ignores malformed messages, which
        close their connection with 4400 here (rule N2); stops the room's other tasks after a failed send; and sends
        neither the presences to a new client nor the removal of a client that left (rule A3).
        """
        await self.ydoc_observed.wait()
        await self.connections.serve(channel)

    def open_local(
        self, post: Callable[[Callable[[], None]], None], *, session: str | None = None
    ) -> LocalPeer:
        """Create a peer in this process. The room must be started.

        Args:
            post: See `LocalPeer`.
            session: See `Peer`.

        Raises:
            RoomUnavailableError: The document is damaged. It is loaded again; retry.
        """
        try:
            state = safe_apply.read_state(self.ydoc)
        except safe_apply.DocumentDamagedError as error:
            self.document.mark_damaged()
            raise RoomUnavailableError(self.name) from error
        peer = LocalPeer(self, state, post, session=session)
        self.connections.join(peer)
        return peer

    def send_server_awareness(self, type: str, changes: tuple[dict[str, list[int]], Any]) -> None:
        """Send a presence that server code set with `awareness.set_local_state()`.

        Fixes `YRoom`, which logs an error unless the room runs, and does not send the presence to later clients.
        """
        if type == "update" and changes[1] == "local":
            self.connections.announce_local([client_id for ids in changes[0].values() for client_id in ids])

    async def flush(self, timeout_s: float) -> bool:
        """Apply, send and save everything, with retries for `timeout_s`. Return whether everything is saved."""
        await self.pipeline.flush()
        return await self.persister.drain(timeout_s)

    async def stop(self) -> None:
        """Close every socket with 1012, flush, and end (rule S2). May be called at any time and repeatedly.

        Sockets are closed first: a frame received during the flush could be neither applied nor acknowledged. Updates
        that the store does not take within `flush_timeout_s` are dropped, and the log says so. They were not
        acknowledged, and the tabs that sent them still have them.

        Fixes `YRoom`, which drops everything that is not sent or written; raises if the room is not or no longer
        running, so that a client that opens and closes at once stops the whole server; and leaves its provider
        running.
        """
        with CancelScope(shield=True):
            async with self._stopping:  # a second call returns after everything is saved
                if not self.is_closed:
                    self.pipeline.is_closed = True
                    self._disconnect_sockets()
                    await self._save_all()
                self.close()
        self._stopped.set()
        self._provider_stop_event.set()
        if self._task_group is not None:
            self._task_group.cancel_scope.cancel()
            self._task_group = None

    def _disconnect_sockets(self) -> None:
        for peer in tuple(self.peers):
            if isinstance(peer, SocketPeer):
                peer.disconnect(CloseCode.SERVICE_RESTART, RESTARTS)

    async def _save_all(self) -> None:
        try:
            await self.pipeline.flush()
            self.pipeline.save_pending()
        except BaseException as error:  # a panic of pycrdt is no `Exception`
            safe_apply.reraise_exit(error)
            self.log.exception("room %r: the last updates could not be applied when it stopped", self.name)
        if not await self.persister.drain(self.settings.flush_timeout_s):
            self.log.error("room %r stops with unsaved edits, which its store did not take", self.name)

    async def delete(self) -> None:
        """Delete the room's log, close every peer with 4409, and end.

        Raises:
            StoreError: The store failed. The room continues unchanged.
        """
        async with self.persister.lock:
            await self._room_log.delete()
            self.close(CloseCode.OTHER_EPOCH, DELETED)
            self.persister.discard()
        await self.stop()

    def close(self, code: CloseCode = CloseCode.SERVICE_RESTART, reason: str = RESTARTS) -> None:
        """Disconnect every peer and reject unsaved updates, without a flush. May be called repeatedly."""
        self.pipeline.is_closed = True
        for peer in tuple(self.peers):  # before the rejections, which would close with another code
            peer.disconnect(code, reason)
        self.pipeline.reject_unsaved()
        self.document.unobserve()
        self.ydoc_observed.set()  # a connection that waits for it then finds the room closed

    async def _end_when_idle(self) -> None:
        """Stop the room after it had no peers for `evict_after_s` and everything is saved (rule S2)."""
        after_s = self.settings.evict_after_s
        while True:
            await sleep(min(after_s / 4, MAX_SWEEP_INTERVAL_S))
            if self._is_idle(after_s) and await self.flush(after_s) and self._is_idle(after_s):
                try:
                    await self._rewrite(after_s)
                except Exception:
                    self.log.exception("room %r: its document could not be rewritten", self.name)
                if self.is_closed or self._is_idle(after_s):
                    self.log.info("room %r is evicted: it had no peers for %g s", self.name, after_s)
                    await self.stop()

    async def _rewrite(self, idle_s: float) -> None:
        """Replace the document by a fresh one with the same content, if that saves more than half (rule N4).

        Nobody is in the room. If somebody comes meanwhile, the room stays as it is.
        """
        if not self._can_be_rewritten() or not (state := self.document.read_whole_state()):
            return
        if len(state) <= self.settings.rewrite_over_bytes:
            return
        try:
            fresh = await rewrite_off_loop(state, is_over=lambda: not self._is_idle(idle_s))
        except NotCopyableError as error:
            self.log.info("room %r is not rewritten, because it has %s", self.name, error)
            return
        if fresh is None or 2 * len(fresh) >= len(state):
            return
        past = self.past.extend(self.epoch, decode_state_vector(safe_apply.read_vector(self.ydoc)))
        if not self._is_idle(idle_s) or self.pipeline.has_unsaved:
            return
        self.pipeline.is_closed = True  # from here on, whoever comes waits for the new document
        await self.persister.rewrite(fresh, past.encode())
        self.log.info("room %r is rewritten: %d bytes instead of %d", self.name, len(fresh), len(state))

    def _can_be_rewritten(self) -> bool:
        log = self._room_log
        is_own = self.ready and self._has_no_provider and isinstance(self.ydoc, RoomDoc)
        is_whole = not (self.document.has_pending or self.document.is_damaged)
        return bool(self.settings.rewrite_over_bytes and log.is_rewritable and is_own and is_whole)

    def _is_idle(self, for_s: float) -> bool:
        is_empty = not (self.peers or self.clients)
        return is_empty and time.monotonic() - self.connections.empty_since >= for_s
