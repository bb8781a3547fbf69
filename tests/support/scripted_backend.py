"""A room in this process that answers when the test says so, and the place where a session finds it."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from streamlit_crdt_server import KeyRing


class ScriptedPeer:
    """Takes every update; `answers` are the futures that `push` gave out, for the test to settle."""

    level = 2

    def __init__(self, epoch: str = "0" * 32, first: bytes | None = None) -> None:
        self.epoch = epoch
        self.is_closed = False
        self.was_deleted = False
        self.updates: list[bytes] = []
        self.answers: list[Future[None]] = []
        self._waiting = first

    def push(self, update: bytes) -> Future[None]:
        self.updates.append(update)
        self.answers.append(Future())
        return self.answers[-1]

    def drain(self) -> bytes | None:
        waiting, self._waiting = self._waiting, None
        return waiting

    def close(self, *, for_good: bool = False) -> None:
        self.is_closed = True


class ScriptedPlace:
    """Gives its peers out one after the other, raises those that are errors, and has no room after the last."""

    namespace = ""
    poll_s = None
    tab_brings_the_room = False

    def __init__(self, *peers: Any, keys: KeyRing | None = None) -> None:
        self.keys = keys
        self._peers = list(peers)

    def open(self, room: str, session: str = "") -> Any:
        peer = self._peers.pop(0) if self._peers else None
        if isinstance(peer, Exception):
            raise peer
        return peer

    def socket(self, room: str) -> dict[str, Any]:
        return {}
