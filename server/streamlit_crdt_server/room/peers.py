"""Peers of a room: the `Peer` protocol, sockets, and replicas in this process.

The `YRoom` of pycrdt-websocket starts a task per message and client: four times the CPU of the Node server, and memory
that grows while a client does not read. Here a peer has one writer task and a bounded send queue. A peer that exceeds
the bound is closed and synchronizes again when it reconnects (rule N1).

A `LocalPeer` is used by the threads of a Streamlit session, and never waits for the event loop. `push` queues an update
for the room. `drain` returns the updates received since the last call.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from anyio import CancelScope, Event, move_on_after
from pycrdt import Channel, merge_updates

from streamlit_crdt_server.errors import HubNotRunningError
from streamlit_crdt_server.protocol import (
    CloseCode,
    FragmentBuffer,
    MessageType,
    SaveStatus,
    fragments,
    saved_answer,
    sync_step1,
)
from streamlit_crdt_server.room.cpu_budget import CpuBudget
from streamlit_crdt_server.room.permissions import session_of
from streamlit_crdt_server.yjs.lib0 import EMPTY_UPDATE
from streamlit_crdt_server.yjs.safe_apply import ValidatedUpdate, validate_update

if TYPE_CHECKING:
    from streamlit_crdt_server.rewriting import RoomPast
from streamlit_crdt_server.room.futures import settle
from streamlit_crdt_server.settings import Settings

REPLACE_RECEIVED_OVER_BYTES = 256 * 1024
REPLACE_RECEIVED_OVER_RATIO = 2
"""A local peer's queue is replaced by the room's state above this size, and above this multiple of the last state. A
session that never drains costs no more memory than the room then."""

_MERGE_AFTER = 256
"""Queued updates of a local peer that are merged into one. A session that never drains then costs little memory."""

_FRAME_OVERHEAD_BYTES = 64
"""Memory of a queued frame besides its bytes. Without it, a million empty frames would count as nothing."""

TOO_EXPENSIVE = "max_cpu_debt_ms_per_connection was exceeded"
_PEER_FAULTS = (CloseCode.MALFORMED, CloseCode.TOO_LARGE, CloseCode.TOO_SLOW)
_log = logging.getLogger(__name__)


class Peer(Protocol):
    """A receiver of updates in a room. Event loop only; no method waits.

    Attributes:
        session: The Streamlit session or client of the peer, None if unknown. Peers of one session are one participant.
        is_leaving: Whether its session has left. The connection may last a moment longer.
    """

    session: str | None
    is_leaving: bool

    def deliver(self, frame: bytes, update: bytes | None) -> None:
        """Queue a frame for the peer. `update` is the update in a sync frame, None for other frames."""

    def request_state(self, state_vector: bytes) -> None:
        """Ask the peer for what a document at `state_vector` lacks. It answers with updates, now or later."""

    def charge(self, cpu_s: float) -> bool:
        """Charge the CPU seconds that updates of the peer took. Return whether its others must be dropped."""

    def disconnect(self, code: CloseCode, reason: str) -> None:
        """Close the peer. Its client may reconnect unless the code forbids it."""


class PeerUpdates(Protocol):
    """The part of `UpdatePipeline` that a `LocalPeer` uses. Event loop only."""

    def submit(self, peer: Peer, update: ValidatedUpdate, done: Future[None] | None = None) -> None: ...
    def read_shared_state(self) -> bytes | None: ...


class ReplicaIds(Protocol):
    """Replica ids of a room that their sessions have left, see `hub.replica_ids`. Any thread."""

    def take(self) -> tuple[int, int] | None: ...
    def give_back(self, replica_id: int, clock: int) -> None: ...


class PeerDepartures(Protocol):
    """The part of `RoomConnections` that a `LocalPeer` uses. Event loop only."""

    def leave(self, peer: Peer) -> None: ...
    def depart(self, peer: Peer) -> None: ...


class LocalRoom(Protocol):
    """The part of a `Room` that a `LocalPeer` uses. The properties may be read in any thread."""

    name: str
    settings: Settings

    @property
    def pipeline(self) -> PeerUpdates: ...
    @property
    def connections(self) -> PeerDepartures: ...
    @property
    def epoch(self) -> str: ...
    @property
    def level(self) -> int: ...
    @property
    def is_saving_failing(self) -> bool: ...

    @property
    def past(self) -> RoomPast: ...


class SocketPeer:
    """A peer behind a `Channel`. One task runs `write()` while the channel is served.

    Attributes:
        channel: Source and destination of its frames.
        last_frame_at: Monotonic time of its last frame, in seconds.
        scope: Cancelled when the peer is disconnected.
        close_code: The code of the disconnect. None while it is served.
        was_denied: Whether an update of it was rejected because its role is viewer.
        was_limited: Whether a presence of it was ignored because of a limit.
        budget: CPU time that its frames may take.
        is_busy: Whether a frame of it is being handled, so that it is not read.
        is_synced: Whether it received the room's state.
        takes_fragments: Whether its client receives large frames in fragments, and asks for the save status.
        received_fragments: Fragments of its next frame.
        is_in_transfer: Whether it receives the document in pieces. Updates of others are then part of the last piece.
        has_state: Whether the document was sent to it. Earlier updates are part of that. By itself, an update without
            its predecessors would leave a client with the deletion of a value, and without the value that replaces it.
        next_vector: State vector that the client sent during a transfer.
        is_current: Whether its replica is not of a document that the room had before it was rewritten.
        session, is_leaving: See `Peer`.
    """

    def __init__(self, channel: Channel, settings: Settings, log: logging.Logger) -> None:
        self.channel = channel
        self.last_frame_at = time.monotonic()
        self.scope = CancelScope()
        self.close_code: CloseCode | None = None
        self.was_denied = False
        self.was_limited = False
        self.is_synced = False
        self.takes_fragments = bool(getattr(channel, "takes_fragments", False))
        self.received_fragments = FragmentBuffer(settings.max_frame_bytes)
        self.is_in_transfer = False
        self.has_state = False
        self.next_vector: bytes | None = None
        self.is_current = False
        self.budget = CpuBudget(settings)
        self.is_busy = False
        self.session = session_of(channel)
        self.is_leaving = False
        self._saved_version = 0
        self._close_reason = ""
        self._settings = settings
        self._log = log
        self._queue: deque[tuple[bytes, int]] = deque()
        self._queue_bytes = 0
        self._presences: deque[tuple[bytes, int]] = deque()
        self._fragments: Iterator[bytes] = iter(())
        self._piece: bytes | None = None
        self._has_frames = Event()
        self._has_taken_piece = Event()

    def deliver(self, frame: bytes, update: bytes | None = None) -> None:
        """Queue a frame, or close the peer if its queue is full. An empty queue accepts a frame of any size."""
        self.deliver_all((frame,), update)

    def deliver_all(self, frames: Sequence[bytes], update: bytes | None = None) -> None:
        """Queue the pieces of one update like one frame, see `deliver`."""
        if update is not None and (self.is_in_transfer or not self.has_state):
            return
        added = sum(map(len, frames))
        if self._queue_bytes and self._queue_bytes + added > self._settings.max_backlog_bytes_per_peer:
            self.disconnect(CloseCode.TOO_SLOW, "the send queue is full; reconnect to synchronize again")
            return
        for frame in frames:
            self._put(frame, len(frame) + _FRAME_OVERHEAD_BYTES)

    def request_state(self, state_vector: bytes) -> None:
        """Queue a SyncStep1, which the client answers with a SyncStep2."""
        self.deliver(sync_step1(state_vector))

    def introduce(self, frame: bytes) -> None:
        """Queue a frame of the introduction, which does not count: a joining peer needs the whole room."""
        self._put(frame, 0)

    def deliver_state(self, frame: bytes) -> None:
        """Queue a SyncStep2. The first one is part of the introduction."""
        put, self.is_synced = self.deliver if self.is_synced else self.introduce, True
        self.has_state = True
        put(frame)

    def _put(self, frame: bytes, counted_bytes: int) -> None:
        if self.close_code is not None:
            return
        queue = self._presences if frame[0] == MessageType.AWARENESS else self._queue
        queue.append((frame, counted_bytes))
        self._queue_bytes += counted_bytes
        self._has_frames.set()

    def charge(self, cpu_s: float) -> bool:
        """Charge CPU seconds. A peer in debt is read more slowly, and closed if the debt is large."""
        self.budget.charge(cpu_s)
        if self.budget.is_exceeded:
            self.disconnect(CloseCode.TOO_FAST, TOO_EXPENSIVE)
        return self.budget.is_exceeded

    def disconnect(self, code: CloseCode, reason: str) -> None:
        """Stop serving the peer. The first code and reason are the ones that are sent."""
        if self.close_code is not None:
            return
        self.close_code = code
        self._close_reason = reason
        self._queue.clear()
        self._presences.clear()
        level = logging.WARNING if code in _PEER_FAULTS else logging.INFO
        self._log.log(level, "closed a socket of room %r with %d: %s", self.channel.path, code, reason)
        self.scope.cancel()

    async def send_piece(self, frame: bytes) -> None:
        """Send a frame after all queued frames, and wait until it was taken. One call at a time."""
        self._piece, self._has_taken_piece = frame, Event()
        self._has_frames.set()
        await self._has_taken_piece.wait()

    def take_next_vector(self) -> bytes | None:
        """Return the state vector that the client sent during a transfer, and forget it."""
        vector, self.next_vector = self.next_vector, None
        return vector

    def send_saved(self, version: int, level: int, epoch: str) -> None:
        """Queue the answer that everything before the saved query `version` is saved. REFUSED for a viewer."""
        if self.was_denied:
            self.send_not_saved(SaveStatus.REFUSED, level, epoch)
            return
        self._saved_version = version
        self.deliver(saved_answer(version, level, SaveStatus.SAVED, epoch))

    def send_not_saved(self, status: SaveStatus, level: int, epoch: str) -> None:
        """Queue the answer that nothing after the last saved version is saved, and the status as the reason."""
        self.deliver(saved_answer(self._saved_version, level, status, epoch))

    async def write(self) -> None:
        """Send queued frames in order until cancelled, or until the channel fails. Presences do not wait."""
        while True:
            await self._has_frames.wait()
            while (message := self._next_message()) is not None:
                await self.channel.send(message)
            self._has_frames = Event()

    def _next_message(self) -> bytes | None:
        """Return the next message: a presence, a fragment of the current frame, or the next frame."""
        if self._presences:
            return self._take(self._presences)
        if (fragment := next(self._fragments, None)) is not None:
            return fragment
        if self._queue:
            frame = self._take(self._queue)
        elif self._piece is not None:
            frame, self._piece = self._piece, None
            self._has_taken_piece.set()
        else:
            return None
        if not self.takes_fragments or len(frame) <= self._settings.max_sent_frame_bytes:
            return frame
        self._fragments = fragments(frame, self._settings.max_sent_frame_bytes)
        return next(self._fragments)

    def _take(self, queue: deque[tuple[bytes, int]]) -> bytes:
        frame, counted_bytes = queue.popleft()
        self._queue_bytes -= counted_bytes
        return frame

    async def send_close(self) -> None:
        """Send the close message if the server closed the peer and the channel can close.

        The wait is at most `close_timeout_s`: a peer that does not read does not receive the close message either.
        """
        close = getattr(self.channel, "close", None)
        if self.close_code is None or close is None:
            return
        with move_on_after(self._settings.close_timeout_s, shield=True):
            await close(self.close_code, self._close_reason)


class LocalPeer:
    """A replica in this process. `Hub.open_local` creates it; `close()` ends it.

    Every method may be called from any thread, except `deliver`, `replace` and `disconnect`, which the room calls.

    Attributes:
        room: The room's name.
        session: See `Peer`. The socket of its tab has the same session.
        is_leaving: See `Peer`.
        is_closed: Whether it has left or its room has closed. Open the room again then.
        was_deleted: Whether it was closed because its room was deleted. Opening the room again creates another room.
        replica_ids: The free replica ids of the room. None if the peer was not opened through a hub.
        on_update, on_request: Called in the event loop when `drain`, or `take_request`, may return something new.
            They must not block.
    """

    def __init__(
        self,
        room: LocalRoom,
        state: bytes,
        post: Callable[[Callable[[], None]], None],
        *,
        session: str | None = None,
    ) -> None:
        """Create a peer whose first `drain()` returns `state`.

        Args:
            room: The room that it joins.
            state: The room's state as one update.
            post: Schedules a callable in the event loop. Raises RuntimeError after the loop was closed.
            session: See Attributes.
        """
        self.session = session
        self.is_leaving = False
        self.was_deleted = False
        self.room = room.name
        self.on_update: Callable[[], None] | None = None
        self.on_request: Callable[[], None] | None = None
        self.replica_ids: ReplicaIds | None = None
        self._room = room
        self._post = post
        self._lock = threading.Lock()
        self._received = [state] if state != EMPTY_UPDATE else []
        self._received_bytes = self._state_bytes = len(state)
        self._requested_vector: bytes | None = None
        self._unsaved: set[Future[None]] = set()
        self.is_closed = False

    @property
    def epoch(self) -> str:
        """The epoch of the room: 32 hex digits."""
        return self._room.epoch

    @property
    def past(self) -> RoomPast:
        """The epochs and replica ids of the room before it was rewritten."""
        return self._room.past

    @property
    def level(self) -> int:
        """The durability of a saved update: 1 until the room closes, 2 beyond the end of the process."""
        return self._room.level

    @property
    def is_failing(self) -> bool:
        """True if the store fails at present. Pushed updates are then in memory, and saving is retried."""
        return self._room.is_saving_failing

    def push(self, update: bytes) -> Future[None]:
        """Queue an update for the room and return at once.

        The update is validated in the calling thread, so that a large one does not stall the room's other peers.

        Returns:
            A future that completes after the room applied, sent and saved the update. It fails with
            `UpdateRefusedError`, with `RoomFullError`, or with `HubNotRunningError` if the room has closed. It stays
            pending while the store fails.
        """
        done: Future[None] = Future()
        try:
            validated = validate_update(update, self._room.settings.max_nesting)
        except ValueError as error:
            done.set_exception(error)
            return done
        with self._lock:
            if self.is_closed:
                done.set_exception(HubNotRunningError())
                return done
            self._unsaved.add(done)
        done.add_done_callback(self._forget)
        try:
            self._post(lambda: self._room.pipeline.submit(self, validated, done))
        except RuntimeError:  # the event loop is closed
            self.disconnect()
        return done

    def drain(self) -> bytes | None:
        """Return the updates of other peers since the last call as one update, or None if there are none.

        The first call returns the whole room as of its opening, and everything since. An update in which the room
        merged edits of this peer with others contains both. Applying own edits again changes nothing (rule R2).
        """
        self.is_leaving = False  # its session is alive
        with self._lock:
            received, self._received, self._received_bytes = self._received, [], 0
        return merge_updates(*received) if len(received) > 1 else next(iter(received), None)

    def read_state(self) -> Future[bytes]:
        """Read the whole room in the event loop. The future stays pending if that fails."""
        state: Future[bytes] = Future()

        def read() -> None:
            content = self._room.pipeline.read_shared_state()
            if content is not None:
                state.set_result(content)

        with suppress(RuntimeError):  # the event loop is closed
            self._post(read)
        return state

    def close(self, *, for_good: bool = False) -> None:
        """Leave the room. Updates pushed before are still applied. May be called again.

        Args:
            for_good: Whether the session leaves. A socket of the session, which is about to close, then no longer
                counts as a participant.
        """
        with self._lock:
            if self.is_closed:
                return
            self.is_closed = True
        leave = self._room.connections.depart if for_good else self._room.connections.leave
        with suppress(RuntimeError):  # the event loop is closed, and the room with it
            self._post(lambda: leave(self))

    def deliver(self, frame: bytes, update: bytes | None = None) -> None:
        """Keep an update until the next `drain()`. Ignores a frame without an update. Called by the room."""
        if update is None or self.is_closed:
            return
        with self._lock:
            self._received.append(update)
            self._received_bytes += len(update)
            is_long = self._received_bytes > max(
                REPLACE_RECEIVED_OVER_BYTES, REPLACE_RECEIVED_OVER_RATIO * self._state_bytes
            )
            if len(self._received) > _MERGE_AFTER:
                self._received = [merge_updates(*self._received)]
        if is_long and (state := self._room.pipeline.read_shared_state()) is not None:
            self._set_received(state)
        self._call(self.on_update)

    def request_state(self, state_vector: bytes) -> None:
        """Keep the request until `take_request()`. Called by the room."""
        with self._lock:
            self._requested_vector = state_vector
        self._call(self.on_request)
        self._call(self.on_update)

    def take_request(self) -> bytes | None:
        """Return the state vector beyond which the room requests everything, because it lacks updates. Else None."""
        with self._lock:
            vector, self._requested_vector = self._requested_vector, None
        return vector

    def charge(self, cpu_s: float) -> bool:
        return False  # the session is a part of this process

    def replace(self, state: bytes) -> None:
        """Replace the undrained updates by a whole state, after the room was loaded again. Called by the room."""
        self._set_received(state)
        self._call(self.on_update)

    def disconnect(self, code: CloseCode = CloseCode.SERVICE_RESTART, reason: str = "") -> None:
        """Close the peer because its room closes. Unsaved and later pushes fail. Called by the room."""
        with self._lock:
            self.was_deleted = self.was_deleted or code is CloseCode.OTHER_EPOCH
            self.is_closed = True
            unsaved = tuple(self._unsaved)
        for done in unsaved:
            settle(done, HubNotRunningError())

    def _set_received(self, state: bytes) -> None:
        """Keep only `state`. A concurrent `drain()` may return the same content twice, which changes nothing."""
        with self._lock:
            self._received = [state]
            self._received_bytes = self._state_bytes = len(state)

    def _call(self, callback: Callable[[], None] | None) -> None:
        """Call a callback. Its exception is logged and must not reach other peers."""
        try:
            if callback is not None:
                callback()
        except Exception:
            _log.exception("room %r: the callback of a peer failed", self.room)

    def _forget(self, done: Future[None]) -> None:
        with self._lock:
            self._unsaved.discard(done)
