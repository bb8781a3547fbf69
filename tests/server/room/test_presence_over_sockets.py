"""Presence over real sockets on a stand-alone server: every present client exactly once (rule A3).

Neither the clients nor the server have a timer for presence, so every removal comes from the server.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket as network
import struct
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pycrdt import Awareness, Doc, create_awareness_message, read_message
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from streamlit_crdt_server import protocol
from streamlit_crdt_server.protocol import AwarenessUpdate
from tests.server.support.fake_channel import DEADLINE_S, LIMITS
from tests.server.support.node_clients import member_token
from tests.server.support.server_process import StandAlone, stand_alone

pytestmark = pytest.mark.anyio

MAX_REMOVAL_S = 1.0
"""Longest time in seconds from the close of a socket to the removal of its presence at other clients."""


class Person:
    """A client that handles presence as y-websocket does, but without a timer.

    Attributes:
        client_id: Its id in the room, also after a reconnect.
        frames: The user by client id in each awareness message since it connected. None is a removal.
    """

    def __init__(self, user: str, port: int) -> None:
        self.user = user
        self.frames: list[dict[int, str | None]] = []
        self._port = port
        self._awareness = Awareness(Doc())
        self._awareness.set_local_state({"user": {"name": "an announced name"}})
        self._awareness.observe(self._record_change)
        self.client_id = self._awareness.client_id
        self._changed: set[int] = set()
        self._has_message = asyncio.Event()
        self._socket: ClientConnection | None = None
        self._receiving: asyncio.Task[None] | None = None

    @property
    def socket(self) -> ClientConnection:
        assert self._socket is not None, f"{self.user} is not connected"
        return self._socket

    @property
    def others(self) -> dict[int, str]:
        """The users of other clients by client id."""
        seen = self._awareness.states.items()
        return {number: state["user"]["id"] for number, state in seen if number != self.client_id}

    @property
    def seen_ids(self) -> set[int]:
        """Every client id in awareness messages since it connected."""
        return {number for frame in self.frames for number in frame}

    async def connects(self, port: int | None = None, *, announces: bool = True) -> None:
        """Connect. With `announces=False` it sends nothing at all, not even SyncStep1."""
        self._port = port or self._port
        address = f"ws://127.0.0.1:{self._port}/room?token={member_token('room', self.user)}"
        self._socket = await connect(address)
        self.frames.clear()
        self._receiving = asyncio.create_task(self._receive(self._socket))
        if announces:
            await self._send(self.socket, [self.client_id])

    async def renews(self) -> None:
        """Renew its presence, as clients do periodically."""
        self._awareness.set_local_state(self._awareness.get_local_state())
        self._changed.clear()
        await self._send(self.socket, [self.client_id])

    async def sees(self, *people: Person) -> None:
        """Wait until exactly these clients are present besides itself."""
        expected = {person.client_id: person.user for person in people}
        await self._until(lambda: self.others == expected, f"{self.user} sees {expected}")

    async def is_answered(self, *people: Person) -> None:
        """Send QueryAwareness until the answer has exactly these clients."""
        expected = {person.client_id: person.user for person in people}
        ends_at = time.monotonic() + 4 * DEADLINE_S
        answer: dict[int, str | None] = {}
        while answer != expected:
            assert time.monotonic() < ends_at, f"the server answers {answer} instead of {expected}"
            received = len(self.frames)
            await self.socket.send(protocol.query_awareness())
            await self._until(
                lambda received=received: len(self.frames) > received, f"{self.user} is answered"
            )
            answer = self.frames[-1]

    async def first_message(self) -> dict[int, str | None]:
        """Return the first awareness message."""
        await self._until(lambda: bool(self.frames), f"{self.user} gets an awareness message")
        return self.frames[0]

    async def leaves(self) -> None:
        await self.socket.close()
        await self._forget()

    async def is_killed(self) -> None:
        """Close the connection without a close frame, as the system does for a killed process."""
        self.socket.transport.abort()
        await self._forget()

    async def is_reset(self) -> None:
        """Reset the connection, as a restarted machine does."""
        raw = self.socket.transport.get_extra_info("socket")
        raw.setsockopt(network.SOL_SOCKET, network.SO_LINGER, struct.pack("ii", 1, 0))
        await self.is_killed()

    async def falls_silent(self) -> None:
        """Stop sending and receiving on an open connection, as after a network failure."""
        assert self._receiving is not None
        self._receiving.cancel()
        await asyncio.wait((self._receiving,))

    async def is_closed_by_server(self) -> None:
        """Wait until the server closes the connection."""
        assert self._receiving is not None
        await self._receiving
        await self._forget()

    async def cleans_up(self) -> None:
        """Close an open connection after a test."""
        if self._socket is not None:
            await self.is_killed()

    async def _forget(self) -> None:
        """Remove the presences of others, as y-websocket does without a connection."""
        assert self._receiving is not None
        await asyncio.wait((self._receiving,))
        self._socket = None
        self._awareness.remove_awareness_states(list(self.others), "the connection ended")
        self._changed.clear()

    async def _receive(self, socket: ClientConnection) -> None:
        """Apply received presences and send the changed ones back, as y-websocket does."""
        try:
            while True:
                frame = bytes(await socket.recv(decode=False))
                message = protocol.parse(frame, LIMITS)
                if isinstance(message, AwarenessUpdate):
                    self.frames.append({one.client_id: user_of(one.state) for one in message.presences})
                    self._awareness.apply_awareness_update(read_message(frame[1:]), self)
                    changed, self._changed = self._changed, set()
                    if changed:
                        await self._send(socket, sorted(changed))
                self._has_message.set()
        except ConnectionClosed:
            return

    async def _send(self, socket: ClientConnection, client_ids: list[int]) -> None:
        update = self._awareness.encode_awareness_update(client_ids)
        await socket.send(create_awareness_message(update))

    def _record_change(self, topic: str, changes: tuple[dict[str, Any], Any]) -> None:
        if topic == "update":
            self._changed.update(number for numbers in changes[0].values() for number in numbers)

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        try:
            async with asyncio.timeout(4 * DEADLINE_S):
                while not condition():
                    self._has_message.clear()
                    await self._has_message.wait()
        except TimeoutError:
            raise AssertionError(f"deadline passed: {what}; it sees {self.others}") from None


def user_of(state: Any) -> str | None:
    return None if state is None else state["user"]["id"]


Meet = Callable[[str], Person]
End = Callable[[Person], Awaitable[None]]
ENDS = pytest.mark.parametrize(
    "end", [Person.leaves, Person.is_killed, Person.is_reset], ids=lambda end: end.__name__
)


@asynccontextmanager
async def meeting(store: Path, **settings: object) -> AsyncIterator[tuple[StandAlone, Meet]]:
    """Yield a server, and a function that creates a client of a user."""
    async with stand_alone(store / "rooms.db", **settings) as server, AsyncExitStack() as stack:

        def meet(user: str) -> Person:
            person = Person(user, server.port)
            stack.push_async_callback(person.cleans_up)
            return person

        yield server, meet


async def together(meet: Meet, *users: str) -> list[Person]:
    """Return connected clients that see each other."""
    people = [meet(user) for user in users]
    for person in people:
        await person.connects()
    for person in people:
        await person.sees(*(other for other in people if other is not person))
    return people


def by_client_id(*people: Person) -> dict[int, str]:
    return {person.client_id: person.user for person in people}


async def test_A3_new_client_gets_all_presences_in_one_frame(tmp_path: Path) -> None:
    async with meeting(tmp_path) as (_, meet):
        people = await together(meet, "ada", "ben", "cleo", "dan", "eve")
        joiner = meet("joiner")
        await joiner.connects(announces=False)
        assert await joiner.first_message() == by_client_id(*people)


@ENDS
async def test_A3_closed_socket_removes_its_presence_within_a_second(end: End, tmp_path: Path) -> None:
    async with meeting(tmp_path) as (_, meet):
        ada, ben = await together(meet, "ada", "ben")
        started_at = time.monotonic()
        cleo = meet("cleo")
        await cleo.connects()
        await asyncio.gather(ada.sees(ben, cleo), ben.sees(ada, cleo))
        joining_s = time.monotonic() - started_at
        started_at = time.monotonic()
        await end(cleo)
        await asyncio.gather(ada.sees(ben), ben.sees(ada))
        leaving_s = time.monotonic() - started_at
        print(f"{end.__name__}: joining took {1000 * joining_s:.0f} ms, leaving {1000 * leaving_s:.0f} ms")
        assert leaving_s < MAX_REMOVAL_S + joining_s  # a round trip under the present load takes `joining_s`
        await ada.is_answered(ada, ben)


@ENDS
async def test_A3_user_with_a_new_client_id_is_present_once(end: End, tmp_path: Path) -> None:
    async with meeting(tmp_path) as (_, meet):
        ada, ben = await together(meet, "ada", "ben")
        for _ in range(10):
            await end(ben)
            ben = meet("ben")
            await ben.connects()
            await ada.sees(ben)
        await ada.is_answered(ada, ben)
        joiner = meet("joiner")
        await joiner.connects(announces=False)
        assert await joiner.first_message() == by_client_id(ada, ben)


@ENDS
async def test_A3_user_with_overlapping_clients_is_present_once_afterwards(end: End, tmp_path: Path) -> None:
    async with meeting(tmp_path) as (_, meet):
        ada, ben = await together(meet, "ada", "ben")
        for _ in range(10):
            ben_again = meet("ben")
            await ben_again.connects()
            await ada.sees(ben, ben_again)
            await end(ben)
            await asyncio.gather(ada.sees(ben_again), ben_again.sees(ada))
            ben = ben_again
        await ada.is_answered(ada, ben)


@ENDS
async def test_A3_reconnected_client_is_present_once(end: End, tmp_path: Path) -> None:
    async with meeting(tmp_path) as (_, meet):
        ada, ben = await together(meet, "ada", "ben")
        for _ in range(10):
            await end(ben)
            await ben.connects()
            await ben.is_answered(ada, ben)
            await asyncio.gather(ada.sees(ben), ben.sees(ada))


async def test_A3_silent_client_is_removed_after_its_timeout(
    tmp_path: Path,
) -> None:
    async with meeting(tmp_path, silent_peer_timeout_s=2) as (_, meet):
        ada, ben = await together(meet, "ada", "ben")
        await ben.falls_silent()
        ben_again = meet("ben")
        await ben_again.connects()
        await ada.sees(ben, ben_again)
        async with asyncio.timeout(4 * DEADLINE_S):
            while ben.client_id in ada.others:  # the connected clients renew their presences, as tabs do
                await asyncio.gather(ada.renews(), ben_again.renews())
                await asyncio.sleep(0.1)
        await ada.is_answered(ada, ben_again)


async def visit_briefly(meet: Meet, chance: random.Random) -> Person:
    """Connect, wait for a message in half of the cases, and disconnect."""
    visitor = meet(f"visitor {chance.randrange(5)}")
    await visitor.connects(announces=chance.random() < 0.9)
    if chance.random() < 0.5:
        await visitor.first_message()
    await chance.choice([Person.leaves, Person.is_killed, Person.is_reset])(visitor)
    return visitor


async def reconnect(person: Person, chance: random.Random) -> None:
    await chance.choice([Person.leaves, Person.is_killed, Person.is_reset])(person)
    await person.connects()


async def rooms_in_memory(server: StandAlone) -> float:
    def read() -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=DEADLINE_S) as answer:
            lines = answer.read().decode().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("streamlit_crdt_rooms "))

    return await asyncio.to_thread(read)


async def until_evicted(server: StandAlone) -> None:
    ends_at = time.monotonic() + 4 * DEADLINE_S
    while await rooms_in_memory(server):
        assert time.monotonic() < ends_at, "the room stays in memory"
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_A3_short_visits_and_reconnects_leave_no_stale_presence(
    how: signal.Signals, tmp_path: Path
) -> None:
    seed = int(os.environ.get("STREAMLIT_CRDT_TEST_SEED", random.randrange(10**6)))
    print(f"seed {seed}")
    chance = random.Random(seed)
    async with meeting(tmp_path, evict_after_s=1) as (server, meet):
        staying = await together(meet, "ada", "ben", "cleo")
        visitors: list[Person] = []
        for _ in range(15):
            visits = [visit_briefly(meet, chance) for _ in range(2)]
            visited, *_ = await asyncio.gather(
                asyncio.gather(*visits), reconnect(chance.choice(staying), chance)
            )
            visitors += visited
        for person in staying:
            await person.sees(*(other for other in staying if other is not person))
        joiner = meet("joiner")
        await joiner.connects(announces=False)
        assert await joiner.first_message() == by_client_id(*staying)

        # The room becomes empty, and is joined again before its eviction and after it.
        for person in (*staying, joiner):
            await chance.choice([Person.leaves, Person.is_killed])(person)
        await joiner.connects()
        await joiner.sees()
        await joiner.is_answered(joiner)
        await joiner.is_killed()
        await until_evicted(server)
        await joiner.connects()
        await joiner.is_answered(joiner)
        assert joiner.seen_ids == {joiner.client_id}

        # The server ends with connected clients. Some of them reconnect to its successor.
        for person in staying:
            await person.connects()
        visitor = meet("visitor")
        await visitor.connects()
        await joiner.sees(*staying, visitor)
        await server.end(how)
        for person in (*staying, visitor, joiner):
            await person.is_closed_by_server()
        await server.start()
        for person in staying:
            await person.connects(server.port)
        for person in staying:
            await person.sees(*(other for other in staying if other is not person))
        await joiner.connects(server.port, announces=False)
        await joiner.is_answered(*staying)
        seen = set().union(*(person.seen_ids for person in (*staying, joiner)))
        assert seen == {person.client_id for person in staying}
