"""A session's way into a room in this process, seen from the threads that use it at the same time."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future
from typing import Any

import pytest

from streamlit_crdt.transport.connection import LocalConnection
from streamlit_crdt.transport.unsaved_edits import UnsavedEdits
from streamlit_crdt_server import HubNotRunningError, KeyRing

DEADLINE_S = 10.0


class Peer:
    """A room that keeps what it is given and answers when the test does."""

    epoch = "a" * 32

    def __init__(self) -> None:
        self.is_closed = False
        self.was_deleted = False
        self.pushed: list[Future[None]] = []

    def push(self, update: bytes) -> Future[None]:
        self.pushed.append(Future())
        return self.pushed[-1]

    def close(self, *, for_good: bool = False) -> None:
        self.is_closed = True


class Place:
    """Where rooms live; an attempt to join waits for what the loop's thread has to do first."""

    poll_s = None
    tab_brings_the_room = False
    keys: KeyRing | None = None

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.is_asked = threading.Event()
        self.may_answer = threading.Event()
        self.may_answer.set()

    def open(self, room: str, session: str) -> Any:
        self.is_asked.set()
        assert self.may_answer.wait(DEADLINE_S)
        self.peers.append(Peer())
        return self.peers[-1]

    def socket(self, room: str) -> dict[str, Any]:
        return {}


@pytest.fixture
def place() -> Place:
    return Place()


@pytest.fixture
def door(place: Place) -> LocalConnection:
    """A door that is open."""
    made = LocalConnection("r", place, "s1")
    made.open()
    place.is_asked.clear()
    return made


def rejoin(door: LocalConnection, place: Place) -> threading.Thread:
    """Have another thread join the room, up to where it waits for the loop."""
    place.may_answer.clear()
    joining = threading.Thread(target=door.open, daemon=True)
    joining.start()
    assert place.is_asked.wait(DEADLINE_S)
    return joining


def in_the_loop(task: Any) -> bool:
    """Do something in a thread that stands for the loop's; say whether it ended although somebody is joining."""
    loop = threading.Thread(target=task, daemon=True)
    loop.start()
    loop.join(1.0)
    return not loop.is_alive()


class JoinsMeanwhile(logging.Handler):
    """Has the session's next run join the room just when its refusal is written about."""

    def __init__(self, door: LocalConnection, place: Place) -> None:
        super().__init__()
        self.door = door
        self.place = place
        self.joining: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        self.joining = self.joining or rejoin(self.door, self.place)


def test_N2_a_room_that_refuses_while_it_is_joined_again_does_not_wait_for_that(
    door: LocalConnection, place: Place
) -> None:
    (first,) = place.peers
    door.push(first, b"update", range(1), UnsavedEdits())  # type: ignore[arg-type]
    first.is_closed = True
    meanwhile = JoinsMeanwhile(door, place)
    logging.getLogger("streamlit_crdt").addHandler(meanwhile)
    try:
        assert in_the_loop(lambda: first.pushed[0].set_exception(HubNotRunningError()))
    finally:
        logging.getLogger("streamlit_crdt").removeHandler(meanwhile)
        place.may_answer.set()
    assert meanwhile.joining is not None
    meanwhile.joining.join(DEADLINE_S)
    assert door.peer is place.peers[1]
    assert not place.peers[1].is_closed


def test_a_room_that_does_not_take_an_edit_is_left_and_joined_again(
    door: LocalConnection, place: Place
) -> None:
    (first,) = place.peers
    door.push(first, b"update", range(1), UnsavedEdits())  # type: ignore[arg-type]
    first.pushed[0].set_exception(HubNotRunningError())
    assert first.is_closed
    assert door.peer is None
    assert door.open() is door.peer is place.peers[1]


def test_N2_a_session_that_ends_while_it_joins_its_room_waits_for_nothing_and_stays_in_no_room(
    place: Place,
) -> None:
    door = LocalConnection("r", place, "s1")
    joining = rejoin(door, place)
    assert in_the_loop(door.close)
    place.may_answer.set()
    joining.join(DEADLINE_S)
    assert door.peer is None
    assert place.peers[0].is_closed
    assert door.open() is place.peers[1]
