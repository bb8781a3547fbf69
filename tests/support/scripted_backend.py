"""Backend whose rooms respond when the test completes their futures."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from streamlit_crdt_server import KeyRing
from streamlit_crdt_server.rewriting import RoomPast


class ScriptedPeer:
    """Peer that accepts every update.

    Attributes:
        updates: pushed updates.
        answers: futures that `push` returned, for the test to complete.
        received: result of the next `drain`.
        states: futures that `read_state` returned, for the test to complete.
        requested_vector: result of the next `take_request`.
    """

    level = 2
    replica_ids = None
    past = RoomPast()

    def __init__(self, epoch: str = "0" * 32, first: bytes | None = None) -> None:
        self.epoch = epoch
        self.is_closed = False
        self.was_deleted = False
        self.updates: list[bytes] = []
        self.answers: list[Future[None]] = []
        self.requested_vector: bytes | None = None
        self.states: list[Future[bytes]] = []
        self.received = first

    def push(self, update: bytes) -> Future[None]:
        self.updates.append(update)
        self.answers.append(Future())
        return self.answers[-1]

    def drain(self) -> bytes | None:
        received, self.received = self.received, None
        return received

    def read_state(self) -> Future[bytes]:
        self.states.append(Future())
        return self.states[-1]

    def take_request(self) -> bytes | None:
        vector, self.requested_vector = self.requested_vector, None
        return vector

    def close(self, *, for_good: bool = False) -> None:
        self.is_closed = True


class ScriptedBackend:
    """Backend that returns one of its peers per open, or raises it if it is an error. After the last it has no room."""

    namespace = ""
    poll_s = None
    is_tab_only = False

    def __init__(self, *peers: Any, keys: KeyRing | None = None) -> None:
        self.keys = keys
        self._peers = list(peers)

    def open(self, room: str, session_id: str | None = None) -> Any:
        peer = self._peers.pop(0) if self._peers else None
        if isinstance(peer, Exception):
            raise peer
        return peer

    def socket_address(self, room: str) -> dict[str, Any]:
        return {}
