"""Requests of a room for the updates that pending ones depend on (rule S6)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from streamlit_crdt_server import Hub, Role, protocol
from streamlit_crdt_server.auth.tokens import Claims
from streamlit_crdt_server.gap_timer import FIRST_REQUEST_S
from tests.server.support.fake_channel import (
    LIMITS,
    Client,
    FakeChannel,
    connected,
    until,
)

pytestmark = pytest.mark.anyio


class AnsweringClient(Client):
    """A client that answers each SyncStep1 with what the other side lacks, as every Yjs client does."""

    def __init__(self, channel: FakeChannel) -> None:
        super().__init__(channel)
        self.requests: list[float] = []
        self._read = 0

    async def answer(self) -> None:
        """Read and answer frames until cancelled."""
        while True:
            frames, self._read = self.channel.sent[self._read :], len(self.channel.sent)
            for frame in frames:
                if isinstance(message := protocol.parse(frame, LIMITS), protocol.SyncStep1):
                    self.requests.append(time.monotonic())
                    self.channel.put(protocol.sync_step2(self.ydoc.get_update(message.state_vector)))
            await asyncio.sleep(0.002)


@asynccontextmanager
async def answering(hub: Hub) -> AsyncIterator[AnsweringClient]:
    """Connect a client that answers, after its first SyncStep1."""
    async with connected(hub) as plain:
        client = AnsweringClient(plain.channel)
        task = asyncio.ensure_future(client.answer())
        try:
            await until(lambda: client.requests)
            client.requests.clear()
            yield client
        finally:
            task.cancel()


def consecutive_updates(client: Client, count: int) -> Sequence[bytes]:
    return [client.set(f"k{number}", number) for number in range(count)]


def requests_in(frames: Sequence[bytes]) -> int:
    messages = (protocol.parse(frame, LIMITS) for frame in frames)
    return sum(isinstance(message, protocol.SyncStep1) for message in messages)


async def test_S6_room_asks_the_sender_of_a_pending_update() -> None:
    async with Hub() as hub, answering(hub) as ada, answering(hub) as ben:
        _, second = consecutive_updates(ada, 2)
        began_at = time.monotonic()
        ada.channel.put(protocol.sync_update(second))
        await until(lambda: ben.look() == {"k0": 0, "k1": 1})
        assert time.monotonic() - began_at > 0.9 * FIRST_REQUEST_S
        assert len(ada.requests) == 1
        assert ben.requests == []


async def test_S6_room_asks_all_peers_for_the_updates_of_a_lost_sender() -> None:
    async with Hub() as hub, answering(hub) as ben:
        async with connected(hub) as ada:
            first, second = consecutive_updates(ada, 2)
            ada.channel.put(protocol.sync_update(second))
            await until(lambda: hub.rooms["room"].document.pending())
        ben.ydoc.apply_update(first)  # by another way than the room
        await until(lambda: ben.look() == {"k0": 0, "k1": 1})
        assert len(ben.requests) == 1
        assert not hub.rooms["room"].document.pending()


async def test_S6_room_asks_all_peers_if_the_sender_lacks_the_update_too() -> None:
    async with Hub() as hub, connected(hub) as ada, answering(hub) as ben:
        first, second = consecutive_updates(Client(FakeChannel()), 2)
        ben.ydoc.apply_update(first)
        ada.channel.put(protocol.sync_update(second))
        await until(lambda: requests_in(ada.channel.sent) == 2)  # one at the connect
        assert ben.requests == []
        await until(lambda: ben.look() == {"k0": 0, "k1": 1})


async def test_S6_room_asks_a_peer_in_this_process() -> None:
    async with Hub() as hub:
        author = Client(FakeChannel())
        _, second = consecutive_updates(author, 2)
        peer = await hub.aopen_local("room")
        saved = peer.push(second)
        asked = asyncio.Event()
        peer.on_update = asked.set
        await asked.wait()
        vector = peer.take_request()
        assert vector is not None and peer.take_request() is None
        assert not saved.done()
        peer.push(author.ydoc.get_update(vector))
        await asyncio.wait_for(asyncio.wrap_future(saved), 30)


async def test_N3_many_gaps_of_one_sender_cause_two_requests() -> None:
    async with Hub() as hub, connected(hub) as mallory, connected(hub) as ben:
        _, *others = consecutive_updates(Client(FakeChannel()), 50)
        ends_at = time.monotonic() + 2.5 * FIRST_REQUEST_S
        while time.monotonic() < ends_at:
            mallory.channel.put(protocol.sync_update(others[len(mallory.channel.sent) % 49]))
            await asyncio.sleep(0.02)
        assert requests_in(ben.channel.sent) == 1 + 1
        assert requests_in(mallory.channel.sent) == 1 + 2
        assert ben.look() == {}


class ViewerChannel(FakeChannel):
    claims = Claims({"room": Role.VIEWER}, "eve", "Eve", "session", 2.0**40, "key")


async def test_A1_viewer_is_not_asked_for_missing_updates() -> None:
    async with Hub() as hub, connected(hub) as ada, connected(hub, channel=ViewerChannel()) as viewer:
        _, second = consecutive_updates(Client(FakeChannel()), 2)
        ada.channel.put(protocol.sync_update(second))
        await until(lambda: requests_in(ada.channel.sent) == 3)
        assert requests_in(viewer.channel.sent) == 1
