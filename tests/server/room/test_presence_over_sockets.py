"""Who is seen in a room, over real sockets on a stand-alone server: all who are there, each once, nobody else (A3).

The clients have no timer, nor has the server one for presence: whoever is gone is gone because the server said so.
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

PROMISE_S = 1.0
"""Within this time after a socket's end the others know that whoever was there is gone."""


class Person:
    """A client of somebody, which does with presence what y-websocket does, but has no timer.

    Attributes:
        client_id: What it is known by in the room, also when it comes back.
        frames: What each word of the server about presence said since it came: the users, by client id.
    """

    def __init__(self, user: str, port: int) -> None:
        self.user = user
        self.frames: list[dict[int, str | None]] = []
        self._port = port
        self._awareness = Awareness(Doc())
        self._awareness.set_local_state({"user": {"name": "what it calls itself"}})
        self._awareness.observe(self._note_change)
        self.client_id = self._awareness.client_id
        self._changed: set[int] = set()
        self._news = asyncio.Event()
        self._socket: ClientConnection | None = None
        self._listening: asyncio.Task[None] | None = None

    @property
    def socket(self) -> ClientConnection:
        assert self._socket is not None, f"{self.user} is not there"
        return self._socket

    @property
    def others(self) -> dict[int, str]:
        """The users that it sees beside itself."""
        seen = self._awareness.states.items()
        return {number: state["user"]["id"] for number, state in seen if number != self.client_id}

    @property
    def ever_told_of(self) -> set[int]:
        """Every client id that the server has named since it came."""
        return {number for frame in self.frames for number in frame}

    async def comes(self, port: int | None = None, *, announces: bool = True) -> None:
        """Connect; without announcing itself it says nothing at all, not even what of the document it has."""
        self._port = port or self._port
        address = f"ws://127.0.0.1:{self._port}/room?token={member_token('room', self.user)}"
        self._socket = await connect(address)
        self.frames.clear()
        self._listening = asyncio.create_task(self._listen(self._socket))
        if announces:
            await self._say(self.socket, [self.client_id])

    async def speaks(self) -> None:
        """Say that it is still there, as clients do from time to time."""
        self._awareness.set_local_state(self._awareness.get_local_state())
        self._changed.clear()
        await self._say(self.socket, [self.client_id])

    async def sees(self, *people: Person) -> None:
        """Wait until it sees these beside itself, and nobody else or twice."""
        expected = {person.client_id: person.user for person in people}
        await self._until(lambda: self.others == expected, f"{self.user} sees {expected}")

    async def is_answered(self, *people: Person) -> None:
        """Ask the server who is there until it names these, and nobody else."""
        expected = {person.client_id: person.user for person in people}
        ends_at = time.monotonic() + 4 * DEADLINE_S
        answer: dict[int, str | None] = {}
        while answer != expected:
            assert time.monotonic() < ends_at, f"the server says {answer} and not {expected}"
            told = len(self.frames)
            await self.socket.send(protocol.query_awareness())
            await self._until(lambda told=told: len(self.frames) > told, f"{self.user} is answered")
            answer = self.frames[-1]

    async def is_told(self) -> dict[int, str | None]:
        """Return the first thing that the server says of who is there."""
        await self._until(lambda: bool(self.frames), f"{self.user} is told who is there")
        return self.frames[0]

    async def leaves(self) -> None:
        await self.socket.close()
        await self._forget()

    async def is_killed(self) -> None:
        """End the connection as the system does it for a killed process: without a closing frame."""
        self.socket.transport.abort()
        await self._forget()

    async def is_reset(self) -> None:
        """End the connection as a machine does that knows nothing of it any more."""
        raw = self.socket.transport.get_extra_info("socket")
        raw.setsockopt(network.SOL_SOCKET, network.SO_LINGER, struct.pack("ii", 1, 0))
        await self.is_killed()

    async def falls_silent(self) -> None:
        """Say and hear nothing from here on, while the connection stands: that is how a lost network looks."""
        assert self._listening is not None
        self._listening.cancel()
        await asyncio.wait((self._listening,))

    async def is_let_go(self) -> None:
        """Return when the server has ended the connection."""
        assert self._listening is not None
        await self._listening
        await self._forget()

    async def goes_home(self) -> None:
        """End whatever is there, after a test."""
        if self._socket is not None:
            await self.is_killed()

    async def _forget(self) -> None:
        """Be as y-websocket is without a connection: alone."""
        assert self._listening is not None
        await asyncio.wait((self._listening,))
        self._socket = None
        self._awareness.remove_awareness_states(list(self.others), "the connection ended")
        self._changed.clear()

    async def _listen(self, socket: ClientConnection) -> None:
        """Take in what comes, and send all of it that was news back, as stock clients do."""
        try:
            while True:
                frame = bytes(await socket.recv(decode=False))
                message = protocol.parse(frame, LIMITS)
                if isinstance(message, AwarenessUpdate):
                    self.frames.append({one.client_id: user_of(one.state) for one in message.presences})
                    self._awareness.apply_awareness_update(read_message(frame[1:]), self)
                    changed, self._changed = self._changed, set()
                    if changed:
                        await self._say(socket, sorted(changed))
                self._news.set()
        except ConnectionClosed:
            return

    async def _say(self, socket: ClientConnection, client_ids: list[int]) -> None:
        update = self._awareness.encode_awareness_update(client_ids)
        await socket.send(create_awareness_message(update))

    def _note_change(self, topic: str, changes: tuple[dict[str, Any], Any]) -> None:
        if topic == "update":
            self._changed.update(number for numbers in changes[0].values() for number in numbers)

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        try:
            async with asyncio.timeout(4 * DEADLINE_S):
                while not condition():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"never: {what}; it sees {self.others}") from None


def user_of(state: Any) -> str | None:
    return None if state is None else state["user"]["id"]


Meet = Callable[[str], Person]
End = Callable[[Person], Awaitable[None]]
ENDS = pytest.mark.parametrize(
    "end", [Person.leaves, Person.is_killed, Person.is_reset], ids=lambda end: end.__name__
)


@asynccontextmanager
async def meeting(store: Path, **settings: object) -> AsyncIterator[tuple[StandAlone, Meet]]:
    """Yield a server, and what makes a new client of a user."""
    async with stand_alone(store / "rooms.db", **settings) as server, AsyncExitStack() as stack:

        def meet(user: str) -> Person:
            person = Person(user, server.port)
            stack.push_async_callback(person.goes_home)
            return person

        yield server, meet


async def together(meet: Meet, *users: str) -> list[Person]:
    """Return people who are there and see each other."""
    people = [meet(user) for user in users]
    for person in people:
        await person.comes()
    for person in people:
        await person.sees(*(other for other in people if other is not person))
    return people


def known_as(*people: Person) -> dict[int, str]:
    return {person.client_id: person.user for person in people}


async def test_A3_a_joiner_is_told_of_everybody_at_once_and_in_one_frame(tmp_path: Path) -> None:
    async with meeting(tmp_path) as (_, meet):
        people = await together(meet, "ada", "ben", "cleo", "dan", "eve")
        joiner = meet("joiner")
        await joiner.comes(announces=False)
        assert await joiner.is_told() == known_as(*people)


@ENDS
async def test_A3_whoever_has_lost_the_socket_is_gone_for_all_within_a_second(
    end: End, tmp_path: Path
) -> None:
    async with meeting(tmp_path) as (_, meet):
        ada, ben = await together(meet, "ada", "ben")
        started_at = time.monotonic()
        cleo = meet("cleo")
        await cleo.comes()
        await asyncio.gather(ada.sees(ben, cleo), ben.sees(ada, cleo))
        coming_s = time.monotonic() - started_at
        started_at = time.monotonic()
        await end(cleo)
        await asyncio.gather(ada.sees(ben), ben.sees(ada))
        going_s = time.monotonic() - started_at
        print(f"{end.__name__}: coming took {1000 * coming_s:.0f} ms, going {1000 * going_s:.0f} ms")
        assert going_s < PROMISE_S + coming_s  # what anything takes on a machine as busy as this one
        await ada.is_answered(ada, ben)


@ENDS
async def test_A3_nobody_is_there_twice_who_comes_back_as_another_client(end: End, tmp_path: Path) -> None:
    async with meeting(tmp_path) as (_, meet):
        ada, ben = await together(meet, "ada", "ben")
        for _ in range(10):
            await end(ben)
            ben = meet("ben")
            await ben.comes()
            await ada.sees(ben)
        await ada.is_answered(ada, ben)
        joiner = meet("joiner")
        await joiner.comes(announces=False)
        assert await joiner.is_told() == known_as(ada, ben)


@ENDS
async def test_A3_nobody_stays_twice_whose_new_client_was_there_before_the_old_one_ended(
    end: End, tmp_path: Path
) -> None:
    async with meeting(tmp_path) as (_, meet):
        ada, ben = await together(meet, "ada", "ben")
        for _ in range(10):
            ben_again = meet("ben")
            await ben_again.comes()
            await ada.sees(ben, ben_again)
            await end(ben)
            await asyncio.gather(ada.sees(ben_again), ben_again.sees(ada))
            ben = ben_again
        await ada.is_answered(ada, ben)


@ENDS
async def test_A3_somebody_who_comes_back_as_the_same_client_is_seen_once(end: End, tmp_path: Path) -> None:
    async with meeting(tmp_path) as (_, meet):
        ada, ben = await together(meet, "ada", "ben")
        for _ in range(10):
            await end(ben)
            await ben.comes()
            await ben.is_answered(ada, ben)
            await asyncio.gather(ada.sees(ben), ben.sees(ada))


async def test_A3_whom_the_network_lost_is_there_twice_until_the_server_notices_and_no_longer(
    tmp_path: Path,
) -> None:
    async with meeting(tmp_path, silent_peer_timeout_s=2) as (_, meet):
        ada, ben = await together(meet, "ada", "ben")
        await ben.falls_silent()
        ben_again = meet("ben")
        await ben_again.comes()
        await ada.sees(ben, ben_again)
        async with asyncio.timeout(4 * DEADLINE_S):
            while ben.client_id in ada.others:  # the two who are there speak, as tabs do
                await asyncio.gather(ada.speaks(), ben_again.speaks())
                await asyncio.sleep(0.1)
        await ada.is_answered(ada, ben_again)


async def pass_by(meet: Meet, chance: random.Random) -> Person:
    """Come, perhaps wait until somebody has noticed, and be gone."""
    passer_by = meet(f"passer-by {chance.randrange(5)}")
    await passer_by.comes(announces=chance.random() < 0.9)
    if chance.random() < 0.5:
        await passer_by.is_told()
    await chance.choice([Person.leaves, Person.is_killed, Person.is_reset])(passer_by)
    return passer_by


async def come_back(person: Person, chance: random.Random) -> None:
    await chance.choice([Person.leaves, Person.is_killed, Person.is_reset])(person)
    await person.comes()


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
async def test_A3_who_passed_by_while_others_came_back_leaves_nothing_behind(
    how: signal.Signals, tmp_path: Path
) -> None:
    seed = int(os.environ.get("STREAMLIT_CRDT_TEST_SEED", random.randrange(10**6)))
    print(f"seed {seed}")
    chance = random.Random(seed)
    async with meeting(tmp_path, evict_after_s=1) as (server, meet):
        stay = await together(meet, "ada", "ben", "cleo")
        passed_by: list[Person] = []
        for _ in range(15):
            passing = [pass_by(meet, chance) for _ in range(2)]
            passed, *_ = await asyncio.gather(
                asyncio.gather(*passing), come_back(chance.choice(stay), chance)
            )
            passed_by += passed
        for person in stay:
            await person.sees(*(other for other in stay if other is not person))
        joiner = meet("joiner")
        await joiner.comes(announces=False)
        assert await joiner.is_told() == known_as(*stay)

        # Emptied, and joined again before it left memory and after.
        for person in (*stay, joiner):
            await chance.choice([Person.leaves, Person.is_killed])(person)
        await joiner.comes()
        await joiner.sees()
        await joiner.is_answered(joiner)
        await joiner.is_killed()
        await until_evicted(server)
        await joiner.comes()
        await joiner.is_answered(joiner)
        assert joiner.ever_told_of == {joiner.client_id}

        # Ended with people inside, who come back to its successor, and some who do not.
        for person in stay:
            await person.comes()
        passer_by = meet("passer-by")
        await passer_by.comes()
        await joiner.sees(*stay, passer_by)
        await server.end(how)
        for person in (*stay, passer_by, joiner):
            await person.is_let_go()
        await server.start()
        for person in stay:
            await person.comes(server.port)
        for person in stay:
            await person.sees(*(other for other in stay if other is not person))
        await joiner.comes(server.port, announces=False)
        await joiner.is_answered(*stay)
        told_of = set().union(*(person.ever_told_of for person in (*stay, joiner)))
        assert told_of == {person.client_id for person in stay}
