"""Transfer of a document that is larger than one frame to a peer, and of large updates to all peers.

A peer that joins receives the document in pieces, one at a time, each after the peer has taken the one before. Other
frames are sent between two pieces. Updates of others are not sent meanwhile. The last message is a SyncStep2 with
everything since the transfer began, so that a client reports its document as synchronized when it is whole. A client
whose connection breaks off states what it has, and the next transfer continues there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from anyio import to_thread
from pycrdt import Doc

from streamlit_crdt_server import protocol
from streamlit_crdt_server.room.document import RoomDocument
from streamlit_crdt_server.room.peers import Peer, SocketPeer
from streamlit_crdt_server.yjs import safe_apply
from streamlit_crdt_server.yjs.update_slices import cut_update

_EMPTY_VECTOR = b"\0"


async def cut_off_loop(update: bytes, max_bytes: int) -> Sequence[bytes]:
    """Call `cut_if_possible` in a worker thread if there is something to cut."""
    if len(update) <= max_bytes:
        return (update,)
    return await to_thread.run_sync(cut_if_possible, update, max_bytes)


def cut_if_possible(update: bytes, max_bytes: int) -> Sequence[bytes]:
    """Call `cut_update`. Server code can write content that Yjs 13 has not, which stays whole."""
    try:
        return cut_update(update, max_bytes)
    except ValueError:
        return (update,)


def deliver_pieces(peers: Iterable[Peer], update: bytes, pieces: Sequence[bytes]) -> None:
    """Queue an update for peers: as a whole for local peers, in `pieces` for sockets."""
    frames = [protocol.sync_update(piece) for piece in pieces]
    for peer in peers:
        if isinstance(peer, SocketPeer):
            peer.deliver_all(frames, update)
        else:
            peer.deliver(frames[0], update)


class StateTransfers:
    """The transfers of one document. Event loop only.

    Peers that join at the same time without content share the pieces, for example after a restart.
    """

    def __init__(self, document: RoomDocument, max_bytes: int) -> None:
        """Create the transfers of `document`, with frames of `max_bytes`."""
        self._document = document
        self._max_bytes = max_bytes
        self._shared: tuple[Doc[Any], bytes, Sequence[bytes]] | None = None
        self._count = 0

    def send_small(self, peer: SocketPeer, state_vector: bytes) -> bytes | None:
        """Send the delta beyond a state vector if it fits into one frame. Else return it, for `send_large`.

        During a transfer, the state vector is kept until the end of the transfer.

        Raises:
            DocumentDamagedError: The document panicked.
        """
        if peer.is_in_transfer:
            peer.next_vector = state_vector
            return None
        state = safe_apply.read_state(self._document.ydoc, state_vector)
        if len(state) > self._max_bytes:
            peer.is_in_transfer = True
            return state
        peer.deliver_state(protocol.sync_step2(state))
        return None

    async def send_large(self, peer: SocketPeer, state_vector: bytes, state: bytes | None) -> None:
        """Send a delta in pieces, until the client has sent no other state vector meanwhile.

        Args:
            peer: The receiver.
            state_vector: The state vector that the client sent.
            state: The result of `send_small`.

        Raises:
            DocumentDamagedError: The document panicked.
        """
        while state is not None:
            self._count += 1
            try:
                await self._send_in_pieces(peer, state_vector, state)
            finally:
                peer.is_in_transfer = False
                self._count -= 1
                if self._count == 0:
                    self._shared = None
            next_vector = peer.take_next_vector()
            if next_vector is None:
                return
            state_vector, state = next_vector, self.send_small(peer, next_vector)

    async def _send_in_pieces(self, peer: SocketPeer, state_vector: bytes, state: bytes) -> None:
        vector, pieces = await self._cut(state_vector, state)
        for piece in pieces:
            await peer.send_piece(protocol.sync_update(piece))
        rest = safe_apply.read_state(self._document.ydoc, vector)
        # From here on, updates of others are sent as they come.
        peer.is_in_transfer, peer.has_state = False, True
        *pieces, last = await cut_off_loop(rest, self._max_bytes)
        for piece in pieces:
            await peer.send_piece(protocol.sync_update(piece))
        peer.deliver_state(protocol.sync_step2(last))

    async def _cut(self, state_vector: bytes, state: bytes) -> tuple[bytes, Sequence[bytes]]:
        """Return the state vector of the document after `state`, and the pieces of `state`."""
        ydoc = self._document.ydoc
        is_whole = state_vector == _EMPTY_VECTOR
        if is_whole and self._shared is not None and self._shared[0] is ydoc:
            vector, pieces = self._shared[1:]
            if len(safe_apply.read_state(ydoc, vector)) <= self._max_bytes:
                return vector, pieces
        vector = safe_apply.read_vector(ydoc)
        pieces = await cut_off_loop(state, self._max_bytes)
        if is_whole:
            self._shared = ydoc, vector, pieces
        return vector, pieces
