"""A room: its life, its sockets, and what each of their frames does.

It is a `YRoom` of pycrdt-websocket: `ydoc`, `awareness`, `clients`, `serve(channel)`, `start()`, `stop()` and
the callbacks are where people who know that library expect them. Each override names the fault that it mends.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from inspect import isawaitable
from typing import Any

from anyio import CancelScope, create_task_group, get_cancelled_exc_class, sleep
from anyio.abc import TaskStatus
from pycrdt import Channel

from streamlit_crdt_server import apply, protocol
from streamlit_crdt_server.decoding import decode_fairly
from streamlit_crdt_server.errors import FrameTooLargeError, HubNotRunningError, MalformedFrameError
from streamlit_crdt_server.local import LocalPeer
from streamlit_crdt_server.peer import Peer, SocketPeer
from streamlit_crdt_server.pipeline import RoomPipeline
from streamlit_crdt_server.protocol import CloseCode, Presence

MAX_SWEEP_INTERVAL_S = 15.0


class Room(RoomPipeline):
    """One document and everybody who edits it."""

    async def _start(self, task_status: TaskStatus[None]) -> None:
        """Load, observe, and only then count as started (rule S1).

        Mends the shipped order, which says `started` first and attaches the observer in a task of its own:
        edits that arrive in between are neither stored nor sent to anybody.
        """
        assert self._task_group is not None
        if self.is_closed:  # stopped before it ran
            self._task_group.cancel_scope.cancel()
            return
        await self._load()
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
        self.ydoc_observed.set()  # who waits to be served finds the room closed

    async def _close_silent(self) -> None:
        """Close sockets whose other end is gone without a word: hypercorn does not look at pongs."""
        timeout_s = self.settings.silent_peer_timeout_s
        while True:
            await sleep(min(timeout_s / 4, MAX_SWEEP_INTERVAL_S))
            for peer in tuple(self.peers):
                if isinstance(peer, SocketPeer) and time.monotonic() - peer.heard_at > timeout_s:
                    peer.dismiss(CloseCode.SILENT, f"nothing came from it for {timeout_s:g} s")

    async def serve(self, channel: Channel) -> None:
        """Serve one connection until it or the room ends.

        Mends the shipped one, which serves before the room is observed (rule S1); swallows malformed
        messages, where here they end their own connection with 4400 (rule N2); lets a failed send end the
        room's other tasks; and does not tell a joiner who is there, nor the others who left (rule A3).
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
        try:
            peer.deliver(protocol.sync_step1(apply.read_vector(self.ydoc)))
        except apply.DocumentDamagedError:
            self._recover()
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
        match await decode_fairly(frame, self.settings):
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

    def _answer(self, peer: SocketPeer, state_vector: bytes) -> None:
        """Send what the peer lacks."""
        try:
            peer.deliver(protocol.sync_step2(apply.read_state(self.ydoc, state_vector)))
        except apply.DocumentDamagedError:
            self._recover()

    def _recover(self) -> None:
        """Have a document that cannot be read loaded again; everybody resyncs then."""
        self.log.exception("room %r cannot be read; loading it again", self.name)
        self._is_damaged = True
        self._has_work.set()

    def _tell_who_is_here(self, peer: SocketPeer) -> None:
        present = self.attendance.present()
        if present:
            peer.deliver(protocol.awareness(present))

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
