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
from pycrdt import Doc, Map, Subscription
from pycrdt.websocket import WebsocketServer, YRoom

from streamlit_crdt_server import Hub, Room, protocol
from tests.server.support.fake_channel import POISON, Client, FakeChannel, presence_frame, until

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


class Watched(Doc[Any]):
    """A document that counts who observes it."""

    observers = 0

    def observe(self, callback: Any) -> Subscription:
        self.observers += 1
        return super().observe(callback)

    def unobserve(self, subscription: Subscription) -> None:
        self.observers -= 1
        super().unobserve(subscription)


class FailsOnce:
    """A provider whose first start ends the tasks of its room."""

    def __init__(self, failures: list[Exception]) -> None:
        self._failures = failures

    async def __aenter__(self) -> None:
        if not self._failures:
            raise OSError

    async def __aexit__(self, *_: object) -> None:
        pass


async def observers_of_a_restarted_room(kind: type[YRoom]) -> tuple[int, int, int]:
    """Let a room fail and begin again: how many observe its document, still do once it has stopped, and how often a
    client gets an edit.
    """
    failures: list[Exception] = []

    def begin_again(error: Exception, log: object) -> bool:
        failures.append(error)
        return isinstance(error, ExceptionGroup)  # not the failure itself, which is to end the room's tasks

    ydoc, channel = Watched(), FakeChannel()
    room = kind(
        ydoc=ydoc,
        exception_handler=begin_again,
        provider_factory=lambda **_: FailsOnce(failures),  # type: ignore[arg-type, return-value]
    )
    running = asyncio.ensure_future(room.start())
    await until(lambda: failures)
    await settle()
    running_observers = ydoc.observers
    serving = asyncio.ensure_future(room.serve(channel))
    await until(lambda: room.clients)
    ydoc.get("state", type=Map)["x"] = 1
    await until(lambda: any(frame[:2] == b"\x00\x02" for frame in channel.sent))
    await settle()
    channel.leave()
    await serving
    await room.stop()
    await asyncio.wait((running,))
    times_sent = sum(frame[:2] == b"\x00\x02" for frame in channel.sent)
    return running_observers, ydoc.observers, times_sent


async def test_shipped_restarted_room_observes_once_more_and_keeps_the_first_observer() -> None:
    assert await observers_of_a_restarted_room(YRoom) == (2, 1, 1)
    assert await observers_of_a_restarted_room(Room) == (1, 0, 1)


async def test_shipped_updates_beyond_a_full_buffer_are_dropped_in_silence(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Server code writes more in one go than `put_updates` has space for: nobody gets the last of it."""
    count = 65_536 + 10
    async with YRoom() as shipped:
        channel = FakeChannel()
        serving = asyncio.ensure_future(shipped.serve(channel))
        await until(lambda: shipped.clients)
        state = shipped.ydoc.get("state", type=Map)
        for number in range(count):
            state[f"k{number % 7}"] = f"value {number}"
        known = -1
        while known < len(channel.sent):
            known = len(channel.sent)
            await settle()
        assert any(b"value 65535" in frame for frame in channel.sent)
        assert not any(b"value %d" % (count - 1) in frame for frame in channel.sent)
        channel.leave()
        await serving
    assert not caplog.records

    async with Room() as ours:
        state = ours.ydoc.get("state", type=Map)
        for number in range(count):
            state["k"] = f"value {number}"
        assert len(ours.document.outbox) == count
        ours.document.outbox.clear()  # to merge so many takes a minute


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


async def test_shipped_what_the_server_says_of_itself_is_lost_before_the_start_and_on_who_comes_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logged: dict[type[YRoom], int] = {}
    told: dict[type[YRoom], tuple[bool, bool]] = {}
    for kind in (YRoom, Room):
        room = kind()
        caplog.clear()
        room.awareness.set_local_state({"name": "said before"})
        logged[kind] = len(caplog.records)
        async with room:
            first, second = FakeChannel(), FakeChannel()
            serving = [asyncio.ensure_future(room.serve(first))]
            await until(lambda channel=first: channel.sent)
            await settle()
            is_told_of_before = any(b"said before" in frame for frame in first.sent)
            room.awareness.set_local_state({"name": "said now"})
            await until(lambda channel=first: any(b"said now" in frame for frame in channel.sent))
            serving.append(asyncio.ensure_future(room.serve(second)))
            await until(lambda channel=second: channel.sent)
            await settle()
            told[kind] = is_told_of_before, any(b"said now" in frame for frame in second.sent)
            for channel in (first, second):
                channel.leave()
            await asyncio.gather(*serving)
    assert logged == {YRoom: 1, Room: 0}
    assert told == {YRoom: (False, False), Room: (True, True)}
