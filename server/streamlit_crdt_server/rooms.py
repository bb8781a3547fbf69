"""A room: its life, its sockets, and what each of their frames does.

It is a `YRoom` of pycrdt-websocket: `ydoc`, `awareness`, `clients`, `serve(channel)`, `start()`, `stop()` and
the callbacks are where people who know that library expect them. Each override names the fault that it mends.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from inspect import isawaitable
from logging import Logger
from typing import Any

from anyio import CancelScope, create_task_group, get_cancelled_exc_class, sleep, to_thread
from anyio.abc import TaskStatus
from pycrdt import Channel, Doc
from pycrdt.websocket.yroom import ProviderFactory

from streamlit_crdt_server import apply, protocol
from streamlit_crdt_server.errors import (
    FrameTooLargeError,
    HubNotRunningError,
    MalformedFrameError,
    UpdateRefusedError,
)
from streamlit_crdt_server.local import LocalPeer
from streamlit_crdt_server.peer import Peer, SocketPeer
from streamlit_crdt_server.pipeline import RoomPipeline
from streamlit_crdt_server.presence import Attendance, RoomAwareness
from streamlit_crdt_server.protocol import CloseCode, Presence
from streamlit_crdt_server.settings import Settings
from streamlit_crdt_server.store import Store

CHECK_IN_THREAD_OVER_BYTES = 64 * 1024
"""A larger frame is checked in a worker thread (about 100 ns per byte), so that it does not hold up other
rooms."""

MAX_SWEEP_INTERVAL_S = 15.0


class Room(RoomPipeline):
    """One document and everybody who edits it."""

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
            ready, exception_handler, log, ydoc, provider_factory, name=name, settings=settings, store=store
        )
        self.awareness = RoomAwareness(self.ydoc)
        self.awareness.observe(self.send_server_awareness)
        self.attendance = Attendance(self.awareness, self.settings.max_presences_per_connection)
        self._news: dict[int, Presence] = {}
        self._limits = protocol.Limits(
            self.settings.max_frame_bytes,
            self.settings.max_awareness_bytes,
            self.settings.max_state_vector_bytes,
        )
        self._is_loaded = False

    async def _start(self, task_status: TaskStatus[None]) -> None:
        """Load, observe, and only then count as started (rule S1).

        Mends the shipped order, which says `started` first and attaches the observer in a task of its own:
        edits that arrive in between are neither stored nor sent to anybody.
        """
        assert self._task_group is not None
        if self.is_closed:  # stopped before it ran
            self._task_group.cancel_scope.cancel()
            return
        if not self._is_loaded:
            await self._load()
            self._is_loaded = True
        if self.ready:
            self._observe()
        for task in (
            self._stopped.wait,
            self._watch_ready,
            self._run_flushes,
            self._close_silent,
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

    async def stop(self) -> None:
        """Flush, close every socket with 1012, and end (rule S2). May be called at any time, and again.

        Mends the shipped one, which drops what is still to be sent and written, raises if the room is not yet
        or no longer running (a client that opens and closes at once then stops the whole server), and leaves
        its provider.
        """
        if not self.is_closed:
            self.is_closed = True
            with CancelScope(shield=True):
                await self._flush()
            self.close()
        self._stopped.set()
        self._provider_stop_event.set()
        if self._task_group is not None:
            self._task_group.cancel_scope.cancel()
            self._task_group = None

    def close(self) -> None:
        """Let everybody go, without a flush; they may come back. May be called again."""
        self.is_closed = True
        for entry in self._take_inbox():
            entry.refuse(HubNotRunningError())
        for peer in tuple(self.peers):
            peer.dismiss(CloseCode.SERVICE_RESTART, "the server stops or restarts")
        self._unobserve()

    async def _close_silent(self) -> None:
        """Close sockets whose other end is gone without a word: hypercorn sends pings and never looks at the
        pongs."""
        timeout_s = self.settings.silent_peer_timeout_s
        while True:
            await sleep(min(timeout_s / 4, MAX_SWEEP_INTERVAL_S))
            for peer in tuple(self.peers):
                if isinstance(peer, SocketPeer) and time.monotonic() - peer.heard_at > timeout_s:
                    peer.dismiss(CloseCode.SILENT, f"nothing came from it for {timeout_s:g} s")

    async def serve(self, channel: Channel) -> None:
        """Serve one connection until it or the room ends.

        Mends the shipped one: it serves before the room is observed; it swallows malformed messages, where
            here they end their own connection with 4400 (rule N2); a failed send ends the room's other tasks;
            a joiner is not told who is there; and whoever leaves lingers for 30 seconds (rule A3).
        """
        await self.ydoc_observed.wait()
        peer = SocketPeer(channel, self.settings, self.log)
        self.clients.add(channel)
        try:
            with peer.scope:
                await self._serve_peer(peer)
        except get_cancelled_exc_class():
            peer.dismiss(CloseCode.SERVICE_RESTART, "the server stops or restarts")
            raise
        finally:
            self.clients.discard(channel)
            self.leave(peer)
            await peer.say_goodbye()

    async def _serve_peer(self, peer: SocketPeer) -> None:
        async with create_task_group() as tasks:
            self._join(peer)
            tasks.start_soon(self._write, peer)
            await self._read(peer)
            tasks.cancel_scope.cancel()

    def open_local(self, post: Callable[[Callable[[], None]], None]) -> LocalPeer:
        """Make a peer in this process. Loop thread only; the room must be started."""
        peer = LocalPeer(self, apply.read_state(self.ydoc), post)
        self.peers.add(peer)
        return peer

    def leave(self, peer: Peer) -> None:
        """Forget a peer, and tell the others that whom it announced is gone. Does nothing if it has left."""
        self.peers.discard(peer)
        self._announce(self.attendance.leave(peer))

    def _join(self, peer: SocketPeer) -> None:
        """Ask the newcomer for what it has, and tell it who is here."""
        if self.is_closed:
            peer.dismiss(CloseCode.SERVICE_RESTART, "the server stops or restarts")
            return
        self.peers.add(peer)
        peer.deliver(protocol.sync_step1(self.ydoc.get_state()))
        self._tell_who_is_here(peer)

    async def _write(self, peer: SocketPeer) -> None:
        """Write until the connection breaks; then nobody needs to read from it either."""
        try:
            await peer.write()
        except Exception:
            self.log.debug("room %r: a socket broke while it was written to", self.name, exc_info=True)
            peer.scope.cancel()

    async def _read(self, peer: SocketPeer) -> None:
        try:
            async for frame in peer.channel:
                peer.heard_at = time.monotonic()
                try:
                    await self._receive(peer, frame)
                except MalformedFrameError as error:
                    if not await self._is_excused(error, frame, peer.channel):
                        raise
        except FrameTooLargeError as error:
            peer.dismiss(CloseCode.TOO_LARGE, error.reason)
        except MalformedFrameError as error:
            peer.dismiss(CloseCode.MALFORMED, error.reason)
        except Exception:
            self.log.exception("room %r: a socket failed and was closed", self.name)
            peer.dismiss(CloseCode.INTERNAL_ERROR, "the server failed on this connection")

    async def _is_excused(self, error: Exception, frame: bytes, channel: Channel) -> bool:
        """Ask `on_message_error`, a callback of `YRoom`, whether to carry on after a malformed frame."""
        if self.on_message_error is None:
            return False
        answer = self.on_message_error(error, frame, channel)
        return bool(await answer if isawaitable(answer) else answer)

    async def _receive(self, peer: SocketPeer, frame: object) -> None:
        if not isinstance(frame, bytes):
            raise MalformedFrameError("a text frame, where the protocol has binary ones only")
        if self.on_message is not None:
            skip = self.on_message(frame)
            if await skip if isawaitable(skip) else skip:
                return
        match await self._decode(frame):
            case protocol.SyncStep1(state_vector):
                self._answer(peer, state_vector)
            case protocol.SyncUpdate(update):
                if update != protocol.EMPTY_UPDATE:
                    self.submit(peer, update)
                    await self.wait_for_space()
            case protocol.AwarenessUpdate(presences):
                self._announce(self.attendance.announce(peer, presences))
            case protocol.QueryAwareness():
                self._tell_who_is_here(peer)
            case protocol.UnknownMessage(kind):
                self.log.debug("room %r: ignored a message of type %d", self.name, kind)

    async def _decode(self, frame: bytes) -> protocol.Message:
        if len(frame) > CHECK_IN_THREAD_OVER_BYTES:
            return await to_thread.run_sync(decode, frame, self._limits)
        return decode(frame, self._limits)

    def _answer(self, peer: SocketPeer, state_vector: bytes) -> None:
        """Send what the peer lacks. A document that cannot be read is loaded again, and everybody resyncs."""
        try:
            peer.deliver(protocol.sync_step2(apply.read_state(self.ydoc, state_vector)))
        except apply.DocumentDamagedError:
            self.log.exception("room %r cannot be read; loading it again", self.name)
            self._is_damaged = True
            self._has_work.set()

    def _tell_who_is_here(self, peer: SocketPeer) -> None:
        present = self.attendance.present()
        if present:
            peer.deliver(protocol.awareness(present))

    def _announce(self, presences: Iterable[Presence]) -> None:
        """Send presences with the next flush; of one client id within a tick only the last counts."""
        for presence in presences:
            self._news.pop(presence.client_id, None)
            self._news[presence.client_id] = presence
            self._has_work.set()

    def _send_presence(self) -> None:
        if self._news:
            news, self._news = self._news, {}
            self._deliver(set(self.peers), protocol.awareness(news.values()), None)

    def send_server_awareness(self, type: str, changes: tuple[dict[str, Any], Any]) -> None:
        """Send what server code says with `awareness.set_local_state()`, to joiners as well.

        Mends the shipped one, which logs an error unless the room runs, and tells nobody who comes later.
        """
        if type != "update" or changes[1] != "local":
            return
        ids = [client_id for changed in changes[0].values() for client_id in changed]
        states, meta = dict(self.awareness.states), dict(self.awareness.meta)
        self._announce(
            self.attendance.announce(
                self, [Presence(i, meta[i]["clock"], json.dumps(states.get(i)), states.get(i)) for i in ids]
            )
        )


def decode(frame: bytes, limits: protocol.Limits) -> protocol.Message:
    """Parse a frame and try the update that it may carry. Any thread.

    Raises:
        MalformedFrameError: The connection that sent it is to be closed.
    """
    message = protocol.parse(frame, limits)
    if isinstance(message, protocol.SyncUpdate) and message.update != protocol.EMPTY_UPDATE:
        try:
            apply.try_update(message.update)
        except UpdateRefusedError as error:
            raise MalformedFrameError(error.reason) from error
    return message
