"""Rooms and updates larger than one frame: pieces for every client, fragments for clients that ask for them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pycrdt import Map, handle_sync_message

from streamlit_crdt_server import CloseCode, Hub, MemoryStore, Room, Settings, protocol
from streamlit_crdt_server.protocol import FragmentBuffer
from tests.server.support.fake_channel import Client, FakeChannel, connected, presence_frame, until

pytestmark = pytest.mark.anyio

LIMIT = 4096
SETTINGS = Settings(require_token=False, max_sent_frame_bytes=LIMIT, max_backlog_bytes_per_peer=16 * LIMIT)
SYNC_STEP2 = b"\x00\x01"
UPDATE = b"\x00\x02"


class OwnChannel(FakeChannel):
    """A channel of a client that takes fragments. `sent` has whole frames, `messages` what was sent."""

    takes_fragments = True

    def __init__(self, room: str = "room") -> None:
        super().__init__(room)
        self.messages: list[bytes] = []
        self._buffer = FragmentBuffer()

    async def send(self, message: bytes) -> None:
        await self.may_send.wait()
        self.messages.append(message)
        whole = self._buffer.receive(message)
        if whole is not None:
            self.sent.append(whole)


@asynccontextmanager
async def large_room(values: int = 40, value_bytes: int = 1000) -> AsyncIterator[Room]:
    async with Room(settings=SETTINGS, store=MemoryStore()) as room:
        async with connected(room) as ada:
            for number in range(values):
                ada.edit(f"k{number}", os.urandom(value_bytes))
            await until(lambda: len(room.document.ydoc.get_update()) > values * value_bytes)
        yield room


def keys(room: Room) -> list[str]:
    state: Map[object] = room.document.ydoc.get("state", type=Map)
    return list(state.keys())


def is_synced(client: Client) -> bool:
    return any(frame[:2] == SYNC_STEP2 for frame in client.channel.sent)


async def test_R3_large_room_arrives_in_pieces_and_step2_is_last() -> None:
    async with large_room() as room, connected(room) as ben:
        await until(lambda: is_synced(ben))
        assert len(ben.look()) == 40
        assert max(map(len, ben.channel.sent)) <= LIMIT + 8
        assert [frame[:2] for frame in ben.channel.sent].count(SYNC_STEP2) == 1


async def test_R3_edits_during_a_transfer_are_in_its_last_message() -> None:
    async with large_room() as room, connected(room) as ada:
        await until(lambda: is_synced(ada))
        async with connected(room) as ben:
            await until(lambda: ben.channel.sent)
            ben.channel.may_send.clear()
            await until(lambda: any(getattr(peer, "is_in_transfer", False) for peer in room.peers))
            ada.look()
            ada.edit("late", 1)
            with ada.ydoc.transaction():
                del ada.state["k0"]
            ada.channel.put(protocol.sync_update(ada.ydoc.get_update()))
            await until(lambda: "late" in keys(room) and "k0" not in keys(room))
            ben.channel.may_send.set()
            await until(lambda: is_synced(ben))
            assert ben.look()["late"] == 1
            assert "k0" not in ben.look()
            ada.edit("later", 2)
            await until(lambda: ben.look().get("later") == 2)


async def test_A3_presence_is_sent_between_two_pieces() -> None:
    async with large_room() as room, connected(room) as ada, connected(room) as ben:
        await until(lambda: ben.channel.sent)
        ben.channel.may_send.clear()
        ada.channel.put(presence_frame(7, 1))
        await until(lambda: room.connections.owners.present())
        await room.pipeline.flush()
        ben.channel.may_send.set()
        await until(lambda: is_synced(ben))
        kinds = [frame[0] for frame in ben.channel.sent]
        assert kinds.index(protocol.MessageType.AWARENESS) < len(kinds) - 2


async def test_R3_broken_transfer_continues_with_what_is_missing() -> None:
    async with large_room() as room:
        async with connected(room) as ben:
            await until(lambda: len(ben.channel.sent) > 6)
        ben.look()
        channel = FakeChannel()
        serving = asyncio.ensure_future(room.serve(channel))
        channel.put(protocol.sync_step1(ben.ydoc.get_state()))
        again = Client(channel)
        await until(lambda: is_synced(again))
        channel.leave()
        await serving
        for frame in channel.sent:
            if frame[:2] in (UPDATE, SYNC_STEP2):
                handle_sync_message(frame[1:], ben.ydoc)
        assert len(ben.state) == 40
        assert sum(map(len, channel.sent)) < 36 * 1000


async def test_R3_state_vector_sent_during_a_transfer_is_answered() -> None:
    async with large_room() as room, connected(room) as ben:
        await until(lambda: ben.channel.sent)
        ben.channel.may_send.clear()
        await until(lambda: any(getattr(peer, "is_in_transfer", False) for peer in room.peers))
        ben.channel.put(protocol.sync_step1(room.document.ydoc.get_state()))
        await until(lambda: any(getattr(peer, "next_vector", None) for peer in room.peers))
        ben.channel.may_send.set()
        await until(lambda: [frame[:2] for frame in ben.channel.sent].count(SYNC_STEP2) == 2)


async def test_N1_pieces_of_one_update_do_not_fill_the_backlog() -> None:
    async with Room(settings=SETTINGS) as room, connected(room) as ada, connected(room) as ben:
        await until(lambda: is_synced(ada) and is_synced(ben))
        ben.channel.may_send.clear()
        with ada.ydoc.transaction():
            for number in range(100):
                ada.state[f"k{number}"] = os.urandom(1000)
        ada.channel.put(protocol.sync_update(ada.ydoc.get_update()))
        await until(lambda: "k99" in keys(room))
        await room.flush(5)
        ben.channel.may_send.set()
        await until(lambda: len(ben.look()) == 100)
        assert ben.channel.closed_with is None
        assert max(map(len, ben.channel.sent)) <= LIMIT + 8


async def test_large_value_arrives_in_fragments_if_asked_for() -> None:
    async with Hub(SETTINGS) as hub:
        own, stock = OwnChannel(), FakeChannel()
        async with (
            connected(hub) as ada,
            connected(hub, channel=own) as cleo,
            connected(hub, channel=stock) as ben,
        ):
            ada.edit("large", os.urandom(3 * LIMIT))
            await until(lambda: "large" in cleo.look() and "large" in ben.look())
            assert max(map(len, own.messages)) <= LIMIT
            assert max(map(len, stock.sent)) > 3 * LIMIT


async def test_fragments_of_a_client_are_one_frame() -> None:
    async with Hub(SETTINGS) as hub:
        own = OwnChannel()
        async with connected(hub) as ada, connected(hub, channel=own) as cleo:
            await until(lambda: is_synced(cleo))
            assert protocol.parse_server_frame(own.messages[0]) == protocol.FragmentLimits(
                SETTINGS.max_frame_bytes
            )
            update = cleo.set("large", os.urandom(3 * LIMIT))
            for message in protocol.fragments(protocol.sync_update(update), LIMIT):
                own.put(message)
                own.put(protocol.query_awareness())
            own.put(protocol.saved_query(1))
            await until(lambda: "large" in ada.look())
            await until(lambda: any(frame[0] == protocol.MessageType.SAVED for frame in own.sent))
            assert sum(map(len, own.messages)) < LIMIT, "the update came back"


async def test_N2_fragments_above_the_frame_limit_close_the_socket() -> None:
    async with Hub(Settings(require_token=False, max_frame_bytes=10_000)) as hub:
        own = OwnChannel()
        async with connected(hub, channel=own):
            for _ in range(30):
                own.put(b"\x69\x01" + b"x" * 1000)
            await until(lambda: own.closed_with == CloseCode.TOO_LARGE)
