"""A room: how it begins, who is in it, and how it ends.

It is a `YRoom` of pycrdt-websocket: `ydoc`, `awareness`, `clients`, `serve(channel)`, `start()`, `stop()` and
the callbacks are where people who know that library expect them. Each override names the fault that it mends.
It is written in layers, each a class in a module of its own: `document`, `pipeline`, `reception`, and this.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from anyio import CancelScope, Event, Lock, sleep
from anyio.abc import TaskStatus

from streamlit_crdt_server.errors import RoomUnavailableError
from streamlit_crdt_server.protocol import CloseCode
from streamlit_crdt_server.room.connections import DELETED, RESTARTS, RoomConnections
from streamlit_crdt_server.room.peers import LocalPeer, SocketPeer
from streamlit_crdt_server.yjs import safe_apply

MAX_SWEEP_INTERVAL_S = 15.0


class Room(RoomConnections):
    """One document and everybody who edits it.

    Attributes:
        is_scheduled: Whether a hub has begun to run it.
        opened: Set once it can be joined, or has failed.
        ended: Set once it has ended and is no longer among its hub's rooms.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Make a room; the arguments are those of `RoomPipeline`."""
        super().__init__(*arguments, **options)
        self.is_scheduled = False
        self.opened = Event()
        self.ended = Event()
        self._ending = Lock()
        self._empty_since = time.monotonic()

    async def _start(self, task_status: TaskStatus[None]) -> None:
        """Load, observe, and only then count as started (rule S1).

        Mends the shipped order, which says `started` first and attaches the observer in a task of its own:
        edits that arrive in between are neither stored nor sent to anybody.
        """
        assert self._task_group is not None
        if self.is_closed:  # stopped before it ran
            self._task_group.cancel_scope.cancel()
            return
        await self.load()
        if self.ready:
            self._observe()
        for task in (
            self._stopped.wait,
            self._watch_ready,
            self.run_flushes,
            self.persister.run,
            self._close_silent,
            self._end_when_idle,
            self._run_provider,
        ):
            self._task_group.start_soon(task)
        if not self.started.is_set():
            task_status.started()
            self.started.set()
            self.opened.set()

    async def _watch_ready(self) -> None:
        await self.ready_event.wait()
        self._observe()

    def _observe(self) -> None:
        self.document.observe()
        self.ydoc_observed.set()

    async def stop(self) -> None:
        """Close every socket with 1012, flush, and end (rule S2). May be called at any time, and again.

        Sockets go first: what one sends while the rest is saved could be neither taken in nor confirmed.
        What the store does not take within `flush_timeout_s` is given up, and written about in the log: nobody
        was told that it is saved, and the tabs that sent it still have it.

        Mends the shipped one, which drops what is still to be sent and written, raises if the room is not yet
        or no longer running (a client that opens and closes at once then stops the whole server), and leaves
        its provider.
        """
        with CancelScope(shield=True):
            async with self._ending:  # whoever comes second goes on when everything is saved
                if not self.is_closed:
                    self.is_closed = True
                    self._dismiss_sockets()
                    await self._save_rest()
                self.close()
        self._stopped.set()
        self._provider_stop_event.set()
        if self._task_group is not None:
            self._task_group.cancel_scope.cancel()
            self._task_group = None

    def _dismiss_sockets(self) -> None:
        for peer in tuple(self.peers):
            if isinstance(peer, SocketPeer):
                peer.disconnect(CloseCode.SERVICE_RESTART, RESTARTS)

    async def _save_rest(self) -> None:
        try:
            await self.flush_inbox()
        except BaseException as error:  # a panic of pycrdt is no `Exception`
            safe_apply.reraise_exit(error)
            self.log.exception("room %r could not apply what waited when it ended", self.name)
        if not await self.persister.drain(self.settings.flush_timeout_s):
            self.log.error("room %r ends with edits that its store did not take", self.name)

    async def delete(self) -> None:
        """Forget the content, and let everybody go for good: what they hold belongs to no room any more.

        Raises:
            StoreError: The store failed; the room goes on as it was.
        """
        async with self.persister.lock:
            await self._room_log.delete()
            self.close(CloseCode.OTHER_EPOCH, DELETED)
            self.persister.discard()
        await self.stop()

    def close(self, code: CloseCode = CloseCode.SERVICE_RESTART, reason: str = RESTARTS) -> None:
        """Let everybody go, without a flush. May be called again."""
        self.is_closed = True
        for peer in tuple(self.peers):  # first, so that it is this code that they are told
            peer.disconnect(code, reason)
        self.reject_unsaved()
        self.document.unobserve()
        self.ydoc_observed.set()  # who waits to be served finds the room closed

    async def _end_when_idle(self) -> None:
        """Leave memory once nobody was here for a while and all is saved (rule S2)."""
        after_s = self.settings.evict_after_s
        while True:
            await sleep(min(after_s / 4, MAX_SWEEP_INTERVAL_S))
            if self._is_idle(after_s) and await self.flush(after_s) and self._is_idle(after_s):
                self.log.info("room %r leaves memory: nobody was in it for %g s", self.name, after_s)
                await self.stop()

    def _is_idle(self, for_s: float) -> bool:
        return not (self.peers or self.clients) and time.monotonic() - self._empty_since >= for_s

    async def _close_silent(self) -> None:
        """Close sockets whose other end is gone without a word: hypercorn does not look at pongs."""
        timeout_s = self.settings.silent_peer_timeout_s
        while True:
            await sleep(min(timeout_s / 4, MAX_SWEEP_INTERVAL_S))
            for peer in tuple(self.peers):
                if isinstance(peer, SocketPeer) and time.monotonic() - peer.last_frame_at > timeout_s:
                    peer.disconnect(CloseCode.SILENT, f"nothing came from it for {timeout_s:g} s")
                    self._mark_leaving(peer.session, True)  # its session, which nobody told either, as well

    def open_local(
        self, post: Callable[[Callable[[], None]], None], *, session: str | None = None
    ) -> LocalPeer:
        """Make a peer in this process. Loop thread only; the room must be started.

        Raises:
            RoomUnavailableError: The document is damaged; it is loaded again, so try again.
        """
        try:
            state = safe_apply.read_state(self.ydoc)
        except safe_apply.DocumentDamagedError as error:
            self.document.mark_damaged()
            raise RoomUnavailableError(self.name) from error
        peer = LocalPeer(self, state, post, session=session)
        self.peers.add(peer)
        self._mark_leaving(session, False)
        return peer

    def depart(self, peer: LocalPeer) -> None:
        """Forget a peer whose session leaves: the session's tab, which hangs up a moment later, has left too."""
        self.leave(peer)
        self._mark_leaving(peer.session, True)
