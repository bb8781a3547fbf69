"""The faults of pycrdt-websocket that our overrides mend, each shown on the shipped class.

When one of these tests fails, an upgrade has mended the fault: the override that names it can go.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from pycrdt import Map
from pycrdt.websocket import WebsocketServer, YRoom

from streamlit_crdt_server import Hub, Room, protocol
from tests.server.fakes import POISON, Client, FakeChannel, presence_frame, until

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore")]

SHIPPED, OURS = WebsocketServer, Hub
"""The same scenario runs on both; only the outcome differs."""


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """Collect what the shipped classes leave open while their warnings are ignored, and not in another test."""
    yield
    gc.collect()


async def settle() -> None:
    """Let every task that can run do so: nothing in these scenarios waits for the clock."""
    for _ in range(200):
        await asyncio.sleep(0)


async def test_S1_shipped_started_comes_before_the_observer() -> None:
    observed: dict[type[YRoom], bool] = {}
    for kind in (YRoom, Room):
        room = kind()
        starting = asyncio.ensure_future(room.start())
        await room.started.wait()
        observed[kind] = room.ydoc_observed.is_set()
        await settle()
        await room.stop()
        await asyncio.wait((starting,))
    assert observed == {YRoom: False, Room: True}


async def test_shipped_stop_before_the_start_raises() -> None:
    with pytest.raises(RuntimeError):
        await YRoom().stop()
    await Room().stop()


async def test_shipped_second_opener_of_a_room_waits_for_ever() -> None:
    reached: dict[type[WebsocketServer], int] = {}
    for kind in (SHIPPED, OURS):
        async with kind() as hub:
            opening = [asyncio.ensure_future(hub.get_room("room")) for _ in range(3)]
            await settle()
            reached[kind] = sum(task.done() for task in opening)
            for task in opening:
                task.cancel()
            await asyncio.wait(opening)
    assert reached[OURS] == 3
    assert reached[SHIPPED] < 3


async def test_N2_shipped_opening_and_closing_at_once_stops_the_server() -> None:
    survived: dict[type[WebsocketServer], bool] = {}
    for kind in (SHIPPED, OURS):
        channel = FakeChannel()
        channel.leave()
        try:
            async with kind() as hub:
                await hub.serve(channel)
                await settle()
            survived[kind] = True
        except ExceptionGroup:
            survived[kind] = False
    assert survived == {SHIPPED: False, OURS: True}


async def test_shipped_the_last_one_leaving_discards_the_room() -> None:
    kept: dict[type[WebsocketServer], bool] = {}
    for kind in (SHIPPED, OURS):
        async with kind() as hub:
            channel = FakeChannel()
            serving = asyncio.ensure_future(hub.serve(channel))
            Client(channel).edit("x", 1)
            await until(lambda channel=channel: channel.sent)
            await settle()
            channel.leave()
            await serving
            kept[kind] = bool(hub.rooms)
    assert kept == {SHIPPED: False, OURS: True}


async def after_a_frame(kind: type[YRoom], frame: bytes) -> tuple[bool, bool]:
    """Whether the connection that sent `frame` still stands, and whether the room can still be joined."""
    async with kind() as room:
        channel = FakeChannel()
        serving = asyncio.ensure_future(room.serve(channel))
        channel.put(frame)
        await settle()
        stands = not serving.done()
        channel.leave()
        with suppress(BaseException):
            await serving
        can_join = True
        try:
            room.ydoc.get_update()
        except BaseException:
            can_join = False
        return stands, can_join


async def test_N2_shipped_a_malformed_frame_is_swallowed() -> None:
    assert (await after_a_frame(YRoom, b"\x00\x01"))[0]
    assert not (await after_a_frame(Room, b"\x00\x01"))[0]


async def test_N2_shipped_the_poison_update_locks_everybody_out() -> None:
    poison = protocol.sync_update(POISON)
    shipped: Any = None
    with suppress(BaseException):
        shipped = await after_a_frame(YRoom, poison)
    assert shipped is None or not shipped[1]
    assert (await after_a_frame(Room, poison))[1]


async def test_N1_shipped_a_failing_send_ends_the_room() -> None:
    class Broken(FakeChannel):
        async def send(self, message: bytes) -> None:
            if message[:2] != b"\x00\x00":
                raise ConnectionResetError

    survived: dict[type[YRoom], bool] = {}
    for kind in (YRoom, Room):
        room = kind()
        try:
            async with room:
                serving = asyncio.ensure_future(room.serve(Broken()))
                await until(lambda room=room: room.clients)
                room.ydoc.get("state", type=Map)["x"] = 1
                await settle()
                survived[kind] = True
        except BaseException:
            survived[kind] = False
        serving.cancel()
        await asyncio.wait((serving,))
    assert survived == {YRoom: False, Room: True}


async def presences_after(kind: type[YRoom]) -> tuple[bool, bool]:
    """Whether a joiner is told of somebody who is there, and others of somebody whose socket broke."""
    async with kind() as room:
        first, second = FakeChannel(), FakeChannel()
        serving = asyncio.ensure_future(room.serve(first))
        first.put(presence_frame(1, 1))
        clock = 1 if kind is YRoom else 2
        await until(lambda: presence_frame(1, clock) in first.sent)
        watching = asyncio.ensure_future(room.serve(second))
        await until(lambda: second.sent)
        await settle()
        clock += kind is Room  # under a clock that is news to whoever was here before
        joiner_knows = presence_frame(1, clock) in second.sent
        first.leave()
        await serving
        await asyncio.sleep(0.02)
        leaver_is_gone = presence_frame(1, clock + 1, "null") in second.sent
        second.leave()
        await watching
        return joiner_knows, leaver_is_gone


async def test_A3_shipped_nobody_is_told_who_is_there_and_who_is_gone() -> None:
    assert await presences_after(YRoom) == (False, False)
    assert await presences_after(Room) == (True, True)


async def test_A3_shipped_the_server_is_a_user_of_its_own() -> None:
    assert list(YRoom().awareness.states.values()) == [{}]
    assert Room().awareness.states == {}
