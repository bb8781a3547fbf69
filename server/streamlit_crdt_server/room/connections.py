"""Sockets of a room: the handshake, the effect of each received frame, and the close."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from inspect import isawaitable
from logging import Logger
from typing import Protocol

from anyio import create_task_group, get_cancelled_exc_class, sleep
from anyio.abc import TaskGroup
from pycrdt import Awareness, Channel

from streamlit_crdt_server import protocol
from streamlit_crdt_server.errors import FrameTooLargeError, MalformedFrameError
from streamlit_crdt_server.metrics import Metrics
from streamlit_crdt_server.protocol import CloseCode, Presence
from streamlit_crdt_server.rewriting import RoomPast, replicas_in, rewritten_reason
from streamlit_crdt_server.room.document import RoomDocument
from streamlit_crdt_server.room.message_validation import (
    FREE_BYTES,
    FrameValidator,
    Received,
    ReceivedUpdate,
    decode,
    limits_of,
)
from streamlit_crdt_server.room.peers import TOO_EXPENSIVE, Peer, SocketPeer
from streamlit_crdt_server.room.permissions import claims_of, may_write
from streamlit_crdt_server.room.pipeline import UpdatePipeline
from streamlit_crdt_server.room.presence import PresenceOwners, name_presences
from streamlit_crdt_server.room.state_transfer import StateTransfers
from streamlit_crdt_server.settings import Settings
from streamlit_crdt_server.storage.store import RoomLog
from streamlit_crdt_server.yjs import safe_apply
from streamlit_crdt_server.yjs.lib0 import EMPTY_UPDATE
from streamlit_crdt_server.yjs.pacing import CpuLimitError, WorkEndedError
from streamlit_crdt_server.yjs.safe_apply import ValidatedUpdate

MAX_SWEEP_INTERVAL_S = 15.0
"""Longest time in seconds between two checks for silent sockets or for an idle room."""

MIN_DELAY_S = 0.005
"""Shortest delay in seconds of a connection that exceeds its CPU budget."""

DELETED = "the room was deleted"
RESTARTS = "the server is stopping or restarting"
READ_ONLY = "this connection has the role viewer and cannot edit the room"

_EMPTY_UPDATES = (protocol.sync_step2(EMPTY_UPDATE), protocol.sync_update(EMPTY_UPDATE))


class MessageCallbacks(Protocol):
    """The callbacks of a `YRoom` for received messages, which may change at any time."""

    @property
    def on_message(self) -> Callable[[bytes], Awaitable[bool] | bool] | None: ...

    @property
    def on_message_error(self) -> Callable[[Exception, bytes, Channel], Awaitable[bool] | bool] | None: ...


class RoomConnections:
    """The peers of a room: serves sockets, and keeps their presences. Event loop only.

    Attributes:
        owners: The peer that announced each client id.
        past: The documents before the room was rewritten.
        empty_since: Monotonic time at which the last peer left, in seconds.
    """

    def __init__(
        self,
        room_log: RoomLog,
        document: RoomDocument,
        pipeline: UpdatePipeline,
        peers: set[Peer],
        awareness: Awareness,
        *,
        channels: set[Channel],
        callbacks: MessageCallbacks,
        validator: FrameValidator,
        settings: Settings,
        log: Logger,
        metrics: Metrics,
    ) -> None:
        """Create the connections of a room.

        Args:
            room_log: Gives the name and the epoch of the room.
            document: The document that peers synchronize with.
            pipeline: Receives the updates and presences of peers.
            peers: The peers of the room. Shared with the pipeline, changed here only.
            awareness: The presences of the room.
            channels: The served channels, `YRoom.clients`.
            callbacks: Called for received messages.
            validator: Validates received frames. Common to all rooms of a server.
            settings: The limits.
            log: The logger of the room.
            metrics: Counts connections.
        """
        self.owners = PresenceOwners(awareness, settings)
        self.empty_since = time.monotonic()
        self.past = RoomPast()
        self._document = document
        self._transfers = StateTransfers(document, settings.max_sent_frame_bytes)
        self._pipeline = pipeline
        self._room_log = room_log
        self._awareness = awareness
        self._peers = peers
        self._channels = channels
        self._callbacks = callbacks
        self._validator = validator
        self._settings = settings
        self._limits_for = 0
        self._limits = limits_of(settings, 0)
        self._log = log
        self._metrics = metrics

    async def serve(self, channel: Channel) -> None:
        """Serve one connection until it or the room closes."""
        peer = SocketPeer(channel, self._settings, self._log)
        self._channels.add(channel)
        self._metrics.connections.inc()
        try:
            with peer.scope:
                await self._serve_peer(peer)
        except get_cancelled_exc_class():
            peer.disconnect(CloseCode.SERVICE_RESTART, RESTARTS)
            raise
        finally:
            self._channels.discard(channel)
            self._metrics.connections.dec()
            self.leave(peer)
            await peer.send_close()

    def join(self, peer: Peer) -> None:
        """Add a peer. Its session counts as a participant."""
        self._peers.add(peer)
        self._mark_leaving(peer.session, False)

    def leave(self, peer: Peer) -> None:
        """Remove a peer, and send the removal of its presences. Does nothing if it has left."""
        self._peers.discard(peer)
        self.empty_since = time.monotonic()
        self._pipeline.announce(self.owners.leave(peer))

    def depart(self, peer: Peer) -> None:
        """Remove a peer whose session leaves. The socket of its tab, which closes soon, no longer counts."""
        self.leave(peer)
        self._mark_leaving(peer.session, True)

    def announce_local(self, client_ids: list[int]) -> None:
        """Send the presences that server code set in the room's awareness, also to peers that join later."""
        states, meta = dict(self._awareness.states), dict(self._awareness.meta)
        presences = [
            Presence(i, meta[i]["clock"], json.dumps(states.get(i)), states.get(i)) for i in client_ids
        ]
        self._pipeline.announce(self.owners.announce(self, presences))

    async def close_silent(self) -> None:
        """Close sockets without a frame for `silent_peer_timeout_s`, until cancelled. hypercorn ignores pongs.

        A socket that is not read, because a frame of it is being handled, is not silent. It receives messages:
        y-websocket closes a connection without one for 30 seconds.
        """
        timeout_s = self._settings.silent_peer_timeout_s
        while True:
            await sleep(min(timeout_s / 4, MAX_SWEEP_INTERVAL_S))
            for peer in tuple(self._peers):
                if not isinstance(peer, SocketPeer):
                    continue
                if peer.is_busy:
                    peer.last_frame_at = time.monotonic()
                    peer.deliver(protocol.awareness(()))
                elif time.monotonic() - peer.last_frame_at > timeout_s:
                    peer.disconnect(CloseCode.SILENT, f"no frame received for {timeout_s:g} s")
                    self._mark_leaving(peer.session, True)  # its session did not receive a close either

    def _mark_leaving(self, session: str | None, is_leaving: bool) -> None:
        """Set `is_leaving` of every peer of a session."""
        for peer in self._peers:
            if session is not None and peer.session == session:
                peer.is_leaving = is_leaving

    async def _serve_peer(self, peer: SocketPeer) -> None:
        async with create_task_group() as tasks:
            self._accept(peer)
            tasks.start_soon(self._write, peer)
            await self._read(peer, tasks)
            tasks.cancel_scope.cancel()

    def _accept(self, peer: SocketPeer) -> None:
        """Add a socket, and send it SyncStep1 and the presences. Closes it if the room closed or the epoch differs."""
        if self._pipeline.is_closed:
            peer.disconnect(CloseCode.SERVICE_RESTART, RESTARTS)
            return
        epoch = getattr(peer.channel, "epoch", None)
        if epoch is not None and epoch != self._room_log.epoch:
            self._reject_epoch(peer, epoch)
            return
        peer.is_current = epoch is not None or not self.past.clocks
        self.join(peer)
        if peer.takes_fragments:
            peer.introduce(protocol.fragment_limits(self._settings.max_frame_bytes))
        try:
            peer.introduce(protocol.sync_step1(safe_apply.read_vector(self._document.ydoc)))
        except safe_apply.DocumentDamagedError:
            self._document.mark_damaged()
        self._introduce(peer)

    def _reject_epoch(self, peer: SocketPeer, epoch: str) -> None:
        if epoch in self.past.epochs:
            self._close_rewritten(peer)
        else:
            peer.disconnect(CloseCode.OTHER_EPOCH, DELETED)

    def _is_of_past(self, peer: SocketPeer, replica_ids: Iterable[int]) -> bool:
        """Return whether these ids are of an earlier document, and close the peer if they are (rule N4).

        Its document and the present one have the same content under different ids, and would merge to twice of it.
        """
        if peer.is_current or not self.past.has_any(replica_ids):
            return False
        self._close_rewritten(peer)
        return True

    def _close_rewritten(self, peer: SocketPeer) -> None:
        replica_id = getattr(peer.channel, "replica_id", None)
        kept = 0 if replica_id is None else self.past.clocks.get(replica_id, 0)
        peer.disconnect(CloseCode.REWRITTEN, rewritten_reason(kept))

    def _introduce(self, newcomer: SocketPeer) -> None:
        """Send all presences to a new peer under newer clocks, and each presence to its owner."""
        renewed = self.owners.renew()
        if renewed:
            newcomer.introduce(protocol.awareness(presence for _, presence in renewed))
        for owner, presence in renewed:
            if isinstance(owner, SocketPeer):
                owner.deliver(protocol.awareness((presence,)))

    async def _write(self, peer: SocketPeer) -> None:
        """Write until the connection fails, then stop reading from it too."""
        try:
            await peer.write()
        except Exception:
            self._log.debug("room %r: a write to a socket failed", self._room_log.room, exc_info=True)
            peer.scope.cancel()

    async def _read(self, peer: SocketPeer, tasks: TaskGroup) -> None:
        try:
            async for frame in peer.channel:
                if peer.close_code is not None:  # a frame received before the close is ignored
                    return
                peer.last_frame_at = time.monotonic()
                peer.is_busy = True
                try:
                    await self._receive(peer, frame, tasks)
                except MalformedFrameError as error:
                    if not await self._is_handled(error, frame, peer.channel):
                        raise
                if peer.budget.is_in_debt:
                    await self._wait_for_budget(peer)
                peer.is_busy = False
        except WorkEndedError:
            return
        except CpuLimitError:
            peer.disconnect(CloseCode.TOO_FAST, TOO_EXPENSIVE)
        except FrameTooLargeError as error:
            peer.disconnect(CloseCode.TOO_LARGE, error.reason)
        except MalformedFrameError as error:
            peer.disconnect(CloseCode.MALFORMED, error.reason)
        except BaseException as error:  # a panic of pycrdt is no `Exception`
            if isinstance(error, get_cancelled_exc_class()):
                raise
            safe_apply.reraise_exit(error)
            self._log.exception("room %r: a socket failed and was closed", self._room_log.room)
            peer.disconnect(CloseCode.INTERNAL_ERROR, "the server failed on this connection")

    async def _wait_for_budget(self, peer: SocketPeer) -> None:
        """Read nothing from a peer that is in debt, so that its sender slows down. Close it if the debt is large."""
        while (delay_s := peer.budget.delay_s()) > MIN_DELAY_S:
            if peer.budget.is_exceeded:
                peer.disconnect(CloseCode.TOO_FAST, TOO_EXPENSIVE)
                return
            await sleep(delay_s)

    async def _is_handled(self, error: Exception, frame: bytes, channel: Channel) -> bool:
        """Return whether `on_message_error` handles a malformed frame, so that the connection continues."""
        on_message_error = self._callbacks.on_message_error
        if on_message_error is None:
            return False
        answer = on_message_error(error, frame, channel)
        return bool(await answer if isawaitable(answer) else answer)

    async def _receive(self, peer: SocketPeer, message: object, tasks: TaskGroup) -> None:
        if not isinstance(message, bytes):
            raise MalformedFrameError("the frame is text; the protocol has binary frames only")
        frame = message
        if protocol.is_fragment(message):
            if not may_write(peer.channel, self._room_log.room):
                self._deny(peer, message)  # only updates are that large
                return
            whole = peer.received_fragments.receive(message)
            if whole is None:
                return
            frame = whole
        on_message = self._callbacks.on_message
        if on_message is not None:
            skip = on_message(frame)
            if await skip if isawaitable(skip) else skip:
                return
        if protocol.carries_update(frame) and not may_write(peer.channel, self._room_log.room):
            self._deny(peer, frame)
            return
        match await self._validate(peer, frame):
            case ReceivedUpdate(slices):
                ids = (id_ for each in slices for id_ in (*each.ends, *each.dependencies))
                if not self._is_of_past(peer, ids):
                    # Some clients send updates without a SyncStep1, and wait for the echo.
                    peer.has_state = peer.has_state or (
                        protocol.is_sync_update(frame) and not peer.is_in_transfer
                    )
                    await self._submit(peer, slices)
            case protocol.SyncStep1(state_vector):
                if not self._is_of_past(peer, replicas_in(state_vector)):
                    peer.is_current = True
                    self._send_step2(peer, state_vector, tasks)
            case protocol.AwarenessUpdate(presences):
                self._announce(peer, presences)
            case protocol.QueryAwareness():
                self._send_presences(peer)
            case protocol.SavedQuery(version):
                self._pipeline.query_saved(peer, version)
            case protocol.UnknownMessage(kind):
                self._log.debug("room %r: ignored a message of type %d", self._room_log.room, kind)

    async def _validate(self, peer: SocketPeer, frame: bytes) -> Received:
        if self._limits_for != self._document.replica_count:
            self._limits_for = self._document.replica_count
            self._limits = limits_of(self._settings, self._limits_for)
        if len(frame) <= FREE_BYTES:
            return decode(frame, self._limits)
        claims = claims_of(peer.channel)
        return await self._validator.validate(
            frame,
            self._limits,
            peer if claims is None else claims.user,
            charge=peer.budget.charge,
            is_over=lambda: peer.scope.cancel_called,
        )

    def _deny(self, peer: SocketPeer, frame: bytes) -> None:
        """Ignore an update of a viewer without decoding it; the first is answered (rules A1, N3).

        An empty one is no edit: every client answers SyncStep1.
        """
        protocol.check_frame_size(len(frame), self._settings.max_frame_bytes)
        if frame not in _EMPTY_UPDATES and not peer.was_denied:
            peer.was_denied = True
            peer.deliver(protocol.permission_denied(READ_ONLY))

    async def _submit(self, peer: SocketPeer, slices: Sequence[ValidatedUpdate]) -> None:
        """Submit the slices of an update. The peer may have become a viewer during the validation."""
        for update in slices:
            if may_write(peer.channel, self._room_log.room):
                self._pipeline.submit(peer, update)
                if not self._pipeline.has_space:
                    await self._pipeline.wait_for_space()

    def _announce(self, peer: SocketPeer, presences: Iterable[Presence]) -> None:
        """Send presences of a peer to all. One that exceeds a limit of bytes is sent back to the peer only.

        y-websocket closes a connection without a message for 30 seconds.
        """
        claims = claims_of(peer.channel)
        ignored: dict[Presence, str] = {}
        with peer.budget.charging():
            accepted = self.owners.announce(
                peer,
                name_presences(peer.channel, presences),
                user=None if claims is None else claims.user,
                on_excess=ignored.__setitem__,
            )
        self._pipeline.announce(accepted)
        if ignored:
            peer.deliver(protocol.awareness(ignored))
            if not peer.was_limited:
                peer.was_limited = True
                limit = next(iter(ignored.values()))
                self._log.warning("room %r: ignored a presence that exceeds %s", self._room_log.room, limit)

    def _send_step2(self, peer: SocketPeer, state_vector: bytes, tasks: TaskGroup) -> None:
        """Send the delta beyond a state vector, a large one while frames of the peer are read."""
        try:
            with peer.budget.charging():
                state = self._transfers.send_small(peer, state_vector)
        except safe_apply.DocumentDamagedError:
            self._document.mark_damaged()
            return
        if state is not None:
            tasks.start_soon(self._send_state, peer, state_vector, state)

    async def _send_state(self, peer: SocketPeer, state_vector: bytes, state: bytes) -> None:
        """Send a large delta. A failure closes the peer."""
        try:
            await self._transfers.send_large(peer, state_vector, state)
        except safe_apply.DocumentDamagedError:
            self._document.mark_damaged()
        except Exception:
            self._log.exception("room %r: a transfer failed and its socket was closed", self._room_log.room)
            peer.disconnect(CloseCode.INTERNAL_ERROR, "the server failed on this connection")

    def _send_presences(self, peer: SocketPeer) -> None:
        present = self.owners.present()
        if present:
            with peer.budget.charging():
                peer.deliver(protocol.awareness(present))
