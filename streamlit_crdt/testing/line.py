"""A simulated session's line to the rooms: it can be cut, and while it is not, it has no delay."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, wait
from typing import Any, Final

from streamlit_crdt.testing.rooms import RoomsInMemory
from streamlit_crdt_server import HubNotRunningError, KeyRing, LocalPeer, RoomEntry

ANSWER_TIMEOUT_S: Final = 10.0
"""So long a push may take on a busy machine; then the test goes on without its answer."""


class PromptPeer:
    """A peer in whose room everybody has an update once `push` returns.

    So a test that runs one session and then another need not wait for the room's thread: what was done first is there.
    """

    def __init__(self, peer: LocalPeer) -> None:
        self._peer = peer

    @property
    def epoch(self) -> str:
        return self._peer.epoch

    @property
    def is_closed(self) -> bool:
        return self._peer.is_closed

    @property
    def was_deleted(self) -> bool:
        return self._peer.was_deleted

    def push(self, update: bytes) -> Future[None]:
        answer = self._peer.push(update)
        wait([answer], ANSWER_TIMEOUT_S)
        return answer

    def drain(self) -> bytes | None:
        return self._peer.drain()

    def close(self, *, for_good: bool = False) -> None:
        self._peer.close(for_good=for_good)


class Line:
    """A `Place` of one session.

    Attributes:
        hub: whose rooms these are.
        is_cut: whether no room can be joined at the moment.
    """

    namespace: str = ""
    poll_s: float | None = None
    tab_brings_the_room: bool = False
    keys: KeyRing | None = None

    def __init__(self, rooms: RoomsInMemory) -> None:
        self.hub = rooms.hub
        self.is_cut = False
        self._rooms = rooms

    def open(self, room: str, session: str | None = None) -> PromptPeer | None:
        return None if self.is_cut else PromptPeer(self._rooms.open(room, session))

    def socket(self, room: str) -> Mapping[str, Any]:
        """There is no tab, and so no socket."""
        return {}

    def list_rooms(self) -> list[RoomEntry]:
        self._check()
        return self.hub.list_rooms(self.namespace)

    def delete_room(self, room: str) -> None:
        self._check()
        self.hub.delete_room_and_wait(room)

    def _check(self) -> None:
        if self.is_cut:
            raise HubNotRunningError()
