"""One session with two tabs: sockets and channels that delay, and channels that lose and repeat frames (rule S6)."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from random import Random
from typing import Any

import pytest

from streamlit_crdt.document.document import merge_updates
from streamlit_crdt.document.replica import ROOM, TAB, Replica
from streamlit_crdt.merge import RULES
from streamlit_crdt.transport.channel import Channel
from streamlit_crdt.transport.connection import RoomConnection
from streamlit_crdt.transport.frame import Frame, StatusReport
from tests.support.scripted_backend import ScriptedBackend, ScriptedPeer

COUNTER, LIST = RULES["counter"], RULES["list"]
SEEDS = 20
STEPS = 60


class Socket:
    """Ordered updates between a replica and the room, which wait until they are delivered."""

    def __init__(self, room: Room, replica: Replica | None) -> None:
        self.replica = replica
        self.to_room: deque[bytes] = deque()
        self.from_room: deque[bytes] = deque()
        self._room = room
        room.sockets.append(self)

    def deliver(self, count: int) -> None:
        for _ in range(min(count, len(self.to_room))):
            self._room.receive(self.to_room.popleft(), self)
        for _ in range(min(count, len(self.from_room)) if self.replica is not None else 0):
            assert self.replica is not None
            self.replica.apply(self.from_room.popleft(), origin=ROOM)


class Room:
    """Replica that sends each change to all sockets but its origin."""

    def __init__(self) -> None:
        self.replica = Replica()
        self.sockets: list[Socket] = []
        self._origin: Socket | None = None
        self.replica.subscribe(self._send)

    def receive(self, update: bytes, origin: Socket) -> None:
        self._origin = origin
        try:
            self.replica.apply(update)
        finally:
            self._origin = None

    def _send(self, update: bytes, _: str) -> None:
        for socket in self.sockets:
            if socket is not self._origin:
                socket.from_room.append(update)


class Peer(ScriptedPeer):
    """The session's peer in the room."""

    def __init__(self, room: Room) -> None:
        super().__init__()
        self.socket = Socket(room, None)
        self._room = room

    def push(self, update: bytes) -> Future[None]:
        self.socket.to_room.append(update)
        return super().push(update)

    def drain(self) -> bytes | None:
        updates = list(self.socket.from_room)
        self.socket.from_room.clear()
        return merge_updates(updates) or None

    def read_state(self) -> Future[bytes]:
        state: Future[bytes] = Future()
        state.set_result(self._room.replica.diff())
        return state


class Tab:
    """A tab with its socket to the room, its channel to the session, and the frames in both directions."""

    def __init__(self, world: World) -> None:
        self.replica = Replica()
        self.socket = Socket(world.room, self.replica)
        self.sent: list[Frame] = []
        self.received: list[Frame] = []
        self._channel = Channel(self.replica)
        self._world = world
        self.replica.subscribe(self._relay)

    def _relay(self, update: bytes, origin: str) -> None:
        if origin == TAB:
            self.socket.to_room.append(update)

    def send(self) -> None:
        self.sent.append(self._channel.compose())

    def receive(self, frame: Frame) -> None:
        self._channel.receive(frame, StatusReport())
        if frame.ack == 0 and frame.ack_of == self.replica.birth_id:
            self._channel = Channel(self.replica)  # the session requests everything, as in `AckState.update`

    def exchange(self) -> None:
        """Exchange one frame in each direction, and lose the others."""
        self.send()
        self._world.receive(self.sent.pop(), self, with_update=True)
        self.receive(self.received.pop())
        self.sent.clear()
        self.received.clear()


class World:
    """The room, one session in it, and the two tabs of the session."""

    def __init__(self, seed: int) -> None:
        self.randomness = Random(seed)
        self.now = 0.0
        self.room = Room()
        self.peer = Peer(self.room)
        self.session = RoomConnection("r", ScriptedBackend(self.peer), clock=lambda: self.now)
        self.session.attach()
        self.tabs = [Tab(self), Tab(self)]
        self._numbers = itertools.count()

    def receive(self, frame: Frame, tab: Tab, *, with_update: bool) -> None:
        """Apply a frame of a tab as `TabConnection.receive`, and send the session's next frame."""
        self.session.drain()
        self.session.receive(frame, StatusReport())
        tab.received.append(self.session.channel.compose(with_update=with_update))

    def edit(self, replica: Replica) -> None:
        number = next(self._numbers)
        key = f"k{self.randomness.randrange(4)}"
        match self.randomness.randrange(4):
            case 0:
                replica.set(key, number)
            case 1:
                replica.delete(key)
            case 2:
                replica.change("clicks", COUNTER, 0, lambda clicks: clicks + 1)
            case 3:
                replica.change("list", LIST, [], lambda items: [*items[-3:], number])

    def step(self) -> None:
        self.now += 0.05
        tab = self.randomness.choice(self.tabs)
        steps: list[Callable[[], Any]] = [
            lambda: self.edit(self.session.replica),
            lambda: self.edit(self.room.replica),
            self.session.drain,
            lambda: self.peer.socket.deliver(3),
            lambda: self.tabs[0].socket.deliver(self.randomness.choice((0, 0, 0, 9))),
            lambda: self.tabs[1].socket.deliver(3),
            tab.send,
            lambda: self._pass_on(tab.sent, lambda frame: self.receive(frame, tab, with_update=is_offline)),
            lambda: self._pass_on(tab.received, tab.receive),
        ]
        is_offline = self.randomness.random() < 0.5
        self.randomness.choice(steps)()

    def _pass_on(self, frames: list[Frame], receive: Callable[[Frame], None]) -> None:
        """Pass on any frame. Some are lost, and some are kept and passed on again."""
        if frames:
            frame = frames.pop(self.randomness.randrange(len(frames)))
            chance = self.randomness.random()
            if chance < 0.2:
                frames.append(frame)
            if chance < 0.9:
                receive(frame)

    def settle(self) -> None:
        """Deliver everything, and exchange frames until nothing changes."""
        for _ in range(8):
            self.now += 1.0
            for socket in self.room.sockets:
                socket.deliver(10**6)
            self.session.drain()
            for tab in self.tabs:
                tab.exchange()

    def replicas(self) -> list[Replica]:
        return [self.room.replica, self.session.replica, *(tab.replica for tab in self.tabs)]


def check(seed: int) -> None:
    world = World(seed)
    for _ in range(STEPS):
        world.step()
    world.settle()
    first, *others = [dict(replica.items()) for replica in world.replicas()]
    for other in others:
        assert other == first, seed
    assert [replica.oldest_pending for replica in world.replicas()] == [None] * 4, seed


def test_S6_session_with_two_tabs_and_a_slow_socket_converges() -> None:
    for seed in range(SEEDS):
        check(seed)


@pytest.mark.soak
@pytest.mark.parametrize("first", range(1_000, 21_000, 1_000))
def test_S6_session_with_two_tabs_and_a_slow_socket_converges_soak(first: int) -> None:
    for seed in range(first, first + 1_000):
        check(seed)
