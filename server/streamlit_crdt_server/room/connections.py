"""The sockets of a room: how each is welcomed, what each of its frames does, and how it is let go."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from inspect import isawaitable
from typing import Any

from anyio import create_task_group, get_cancelled_exc_class
from pycrdt import Channel

from streamlit_crdt_server import protocol
from streamlit_crdt_server.errors import FrameTooLargeError, MalformedFrameError
from streamlit_crdt_server.protocol import CloseCode, Presence
from streamlit_crdt_server.room.message_validation import decode_off_loop
from streamlit_crdt_server.room.peers import Peer, SocketPeer
from streamlit_crdt_server.room.permissions import may_write
from streamlit_crdt_server.room.pipeline import UpdatePipeline
from streamlit_crdt_server.room.presence import name_presences
from streamlit_crdt_server.yjs import safe_apply
from streamlit_crdt_server.yjs.lib0 import EMPTY_UPDATE

DELETED = "this room was deleted and begun anew"
RESTARTS = "the server stops or restarts"
VIEWS_ONLY = "you may look at this room and not change it"


class RoomConnections(UpdatePipeline):
    """The way of a frame from a socket into the room."""

    _empty_since = 0.0

    async def serve(self, channel: Channel) -> None:
        """Serve one connection until it or the room ends.

        Mends the shipped one, which serves before the room is observed (rule S1); swallows malformed
        messages, where here they end their own connection with 4400 (rule N2); lets a failed send end the
        room's other tasks; and does not tell a joiner who is there, nor the others who left (rule A3).
        """
        await self.ydoc_observed.wait()
        peer = SocketPeer(channel, self.settings, self.log)
        self.clients.add(channel)
        self.metrics.connections.inc()
        try:
            with peer.scope:
                await self._serve_peer(peer)
        except get_cancelled_exc_class():
            peer.disconnect(CloseCode.SERVICE_RESTART, RESTARTS)
            raise
        finally:
            self.clients.discard(channel)
            self.metrics.connections.dec()
            self.leave(peer)
            await peer.send_close()

    async def _serve_peer(self, peer: SocketPeer) -> None:
        async with create_task_group() as tasks:
            self._join(peer)
            tasks.start_soon(self._write, peer)
            await self._read(peer)
            tasks.cancel_scope.cancel()

    def leave(self, peer: Peer) -> None:
        """Forget a peer, and tell the others that whom it announced is gone. Does nothing if it has left."""
        self.peers.discard(peer)
        self._empty_since = time.monotonic()
        self.announce(self.attendance.leave(peer))

    def _join(self, peer: SocketPeer) -> None:
        """Ask the newcomer for what it has, and tell it who is here."""
        if self.is_closed:
            peer.disconnect(CloseCode.SERVICE_RESTART, RESTARTS)
            return
        epoch = getattr(peer.channel, "epoch", None)
        if epoch is not None and epoch != self.epoch:
            peer.disconnect(CloseCode.OTHER_EPOCH, DELETED)
            return
        self.peers.add(peer)
        self._mark_leaving(peer.session, False)
        try:
            peer.deliver(protocol.sync_step1(safe_apply.read_vector(self.ydoc)))
        except safe_apply.DocumentDamagedError:
            self.document.mark_damaged()
        self._introduce(peer)

    def _mark_leaving(self, session: str | None, is_leaving: bool) -> None:
        """Count a session no more, or again, however many peers it has."""
        for peer in self.peers:
            if session is not None and peer.session == session:
                peer.is_leaving = is_leaving

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
                if peer.close_code is not None:  # what lay there already is not read any more
                    return
                peer.last_frame_at = time.monotonic()
                try:
                    await self._receive(peer, frame)
                except MalformedFrameError as error:
                    if not await self._is_excused(error, frame, peer.channel):
                        raise
        except FrameTooLargeError as error:
            peer.disconnect(CloseCode.TOO_LARGE, error.reason)
        except MalformedFrameError as error:
            peer.disconnect(CloseCode.MALFORMED, error.reason)
        except BaseException as error:  # a panic of pycrdt is no `Exception`
            if isinstance(error, get_cancelled_exc_class()):
                raise
            safe_apply.reraise_exit(error)
            self.log.exception("room %r: a socket failed and was closed", self.name)
            peer.disconnect(CloseCode.INTERNAL_ERROR, "the server failed on this connection")

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
        match await decode_off_loop(frame, self.settings):
            case protocol.SyncStep1(state_vector):
                self._answer(peer, state_vector)
            case protocol.SyncUpdate(update, reach):
                await self._take(peer, update, reach)
            case protocol.AwarenessUpdate(presences):
                self.announce(self.attendance.announce(peer, name_presences(peer.channel, presences)))
            case protocol.QueryAwareness():
                self._tell_who_is_here(peer)
            case protocol.SavedQuery(version):
                self.query_saved(peer, version)
            case protocol.UnknownMessage(kind):
                self.log.debug("room %r: ignored a message of type %d", self.name, kind)

    async def _take(self, peer: SocketPeer, update: bytes, reach: Mapping[int, int]) -> None:
        """Have an update applied, unless it comes from a viewer, who is told once (rule A1)."""
        if update == EMPTY_UPDATE:
            return
        if may_write(peer.channel, self.name):
            self.submit(peer, update, reach=reach)
            await self.wait_for_space()
        elif not peer.was_denied:
            peer.was_denied = True
            peer.deliver(protocol.permission_denied(VIEWS_ONLY))

    def _answer(self, peer: SocketPeer, state_vector: bytes) -> None:
        """Send what the peer lacks."""
        try:
            peer.deliver(protocol.sync_step2(safe_apply.read_state(self.ydoc, state_vector)))
        except safe_apply.DocumentDamagedError:
            self.document.mark_damaged()

    def _introduce(self, newcomer: SocketPeer) -> None:
        """Tell a newcomer who is here, under clocks that are news to it, and each of them its clock."""
        renewed = self.attendance.renew()
        if renewed:
            newcomer.deliver(protocol.awareness(presence for _, presence in renewed))
        for owner, presence in renewed:
            if isinstance(owner, SocketPeer):
                owner.deliver(protocol.awareness((presence,)))

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
        self.announce(
            self.attendance.announce(
                self, [Presence(i, meta[i]["clock"], json.dumps(states.get(i)), states.get(i)) for i in ids]
            )
        )
