"""Bugs of pycrdt-websocket that our overrides fix, each reproduced on the upstream class.

A failure of one of these tests means that an upgrade fixed the bug, and that the override can be removed.
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
from tests.server.support.fake_channel import (
    POISON,
    Client,
    FakeChannel,
    newest_clock,
    presence_frame,
    until,
)

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore")]

UPSTREAM, OURS = WebsocketServer, Hub
"""Each scenario runs on both classes with different outcomes."""


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """Collect the unclosed resources of the upstream classes while their warnings are ignored."""
    yield
    gc.collect()


async def settle() -> None:
    """Run all tasks that can run. No task of these scenarios waits for the clock."""
    for _ in range(200):
        await asyncio.sleep(0)


async def test_S1_upstream_room_starts_before_it_is_observed() -> None:
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


class CountingDoc(Doc[Any]):
    """A document that counts its observers."""

    observers = 0

    def observe(self, callback: Any) -> Subscription:
        self.observers += 1
        return super().observe(callback)

    def unobserve(self, subscription: Subscription) -> None:
        self.observers -= 1
        super().unobserve(subscription)


class FailsOnce:
    """A provider whose first start fails, which ends the tasks of its room."""

    def __init__(self, failures: list[Exception]) -> None:
        self._failures = failures

    async def __aenter__(self) -> None:
        if not self._failures:
            raise OSError

    async def __aexit__(self, *_: object) -> None:
        pass


async def observers_of_a_restarted_room(kind: type[YRoom]) -> tuple[int, int, int]:
    """Make a room fail and restart.

    Returns:
        The observers of its document while it runs and after it stopped, and how often a client received an edit.
    """
    failures: list[Exception] = []

    def restart(error: Exception, log: object) -> bool:
        failures.append(error)
        return isinstance(
            error, ExceptionGroup
        )  # not the failure itself, which must end the tasks of the room

    ydoc, channel = CountingDoc(), FakeChannel()
    room = kind(
        ydoc=ydoc,
        exception_handler=restart,
        provider_factory=lambda **_: FailsOnce(failures),  # type: ignore[arg-type, return-value]
    )
    running = asyncio.ensure_future(room.start())
    await until(lambda: failures)
    await settle()
    running_observers = ydoc.observers
    serving = asyncio.ensure_future(room.serve(channel))
    channel.put(protocol.sync_step1(b"\0"))
    await until(lambda: any(frame[:2] == b"\x00\x01" for frame in channel.sent))
    ydoc.get("state", type=Map)["x"] = 1
    await until(lambda: any(frame[:2] == b"\x00\x02" for frame in channel.sent))
    await settle()
    channel.leave()
    await serving
    await room.stop()
    await asyncio.wait((running,))
    times_sent = sum(frame[:2] == b"\x00\x02" for frame in channel.sent)
    return running_observers, ydoc.observers, times_sent


async def test_upstream_restarted_room_adds_a_second_observer() -> None:
    assert await observers_of_a_restarted_room(YRoom) == (2, 1, 1)
    assert await observers_of_a_restarted_room(Room) == (1, 0, 1)


async def test_upstream_drops_updates_beyond_a_full_buffer_silently(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Server code writes more than the buffer of `put_updates` holds: no client receives the last updates."""
    count = 65_536 + 10
    async with YRoom() as upstream:
        channel = FakeChannel()
        serving = asyncio.ensure_future(upstream.serve(channel))
        await until(lambda: upstream.clients)
        state = upstream.ydoc.get("state", type=Map)
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
        ours.document.outbox.clear()  # merging them would take a minute


async def test_upstream_stop_before_start_raises() -> None:
    with pytest.raises(RuntimeError):
        await YRoom().stop()
    await Room().stop()


async def test_upstream_second_get_room_call_never_returns() -> None:
    opened: dict[type[WebsocketServer], int] = {}
    for kind in (UPSTREAM, OURS):
        async with kind() as hub:
            opening = [asyncio.ensure_future(hub.get_room("room")) for _ in range(3)]
            await settle()
            opened[kind] = sum(task.done() for task in opening)
            for task in opening:
                task.cancel()
            await asyncio.wait(opening)
    assert opened[OURS] == 3
    assert opened[UPSTREAM] < 3


async def test_N2_upstream_server_stops_at_an_immediate_disconnect() -> None:
    survived: dict[type[WebsocketServer], bool] = {}
    for kind in (UPSTREAM, OURS):
        channel = FakeChannel()
        channel.leave()
        try:
            async with kind() as hub:
                await hub.serve(channel)
                await settle()
            survived[kind] = True
        except ExceptionGroup:
            survived[kind] = False
    assert survived == {UPSTREAM: False, OURS: True}


async def test_upstream_discards_the_room_when_the_last_client_leaves() -> None:
    kept: dict[type[WebsocketServer], bool] = {}
    for kind in (UPSTREAM, OURS):
        async with kind() as hub:
            channel = FakeChannel()
            serving = asyncio.ensure_future(hub.serve(channel))
            Client(channel).edit("x", 1)
            await until(lambda channel=channel: channel.sent)
            await settle()
            channel.leave()
            await serving
            kept[kind] = bool(hub.rooms)
    assert kept == {UPSTREAM: False, OURS: True}


async def after_a_frame(kind: type[YRoom], frame: bytes) -> tuple[bool, bool]:
    """Return whether the sender of `frame` is still connected, and whether the room can still be read."""
    async with kind() as room:
        channel = FakeChannel()
        serving = asyncio.ensure_future(room.serve(channel))
        channel.put(frame)
        await settle()
        is_connected = not serving.done()
        channel.leave()
        with suppress(BaseException):
            await serving
        can_join = True
        try:
            room.ydoc.get_update()
        except BaseException:
            can_join = False
        return is_connected, can_join


async def test_N2_upstream_ignores_a_malformed_frame() -> None:
    assert (await after_a_frame(YRoom, b"\x00\x01"))[0]
    assert not (await after_a_frame(Room, b"\x00\x01"))[0]


async def test_N2_upstream_room_is_unusable_after_a_poison_update() -> None:
    poison = protocol.sync_update(POISON)
    upstream: Any = None
    with suppress(BaseException):
        upstream = await after_a_frame(YRoom, poison)
    assert upstream is None or not upstream[1]
    assert (await after_a_frame(Room, poison))[1]


async def test_N1_upstream_room_ends_at_a_failing_send() -> None:
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
    """Return whether a joiner receives present clients, and others the departure of a broken socket."""
    async with kind() as room:
        first, second = FakeChannel(), FakeChannel()
        serving = asyncio.ensure_future(room.serve(first))
        first.put(presence_frame(1, 1))
        await until(lambda: newest_clock(first.sent, 1))
        clock = newest_clock(first.sent, 1) or 0
        watching = asyncio.ensure_future(room.serve(second))
        await until(lambda: second.sent)
        await settle()
        clock += kind is Room  # with a clock that is new to earlier clients
        is_received_by_joiner = presence_frame(1, clock) in second.sent
        first.leave()
        await serving
        await asyncio.sleep(0.02)
        is_departure_sent = presence_frame(1, clock + 1, "null") in second.sent
        second.leave()
        await watching
        return is_received_by_joiner, is_departure_sent


async def test_A3_upstream_sends_no_presence_of_peers() -> None:
    assert await presences_after(YRoom) == (False, False)
    assert await presences_after(Room) == (True, True)


async def test_A3_upstream_server_has_its_own_presence() -> None:
    assert list(YRoom().awareness.states.values()) == [{}]
    assert Room().awareness.states == {}


async def test_upstream_loses_server_presence_for_later_clients(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logged: dict[type[YRoom], int] = {}
    received: dict[type[YRoom], tuple[bool, bool]] = {}
    for kind in (YRoom, Room):
        room = kind()
        caplog.clear()
        room.awareness.set_local_state({"name": "state before start"})
        logged[kind] = len(caplog.records)
        async with room:
            first, second = FakeChannel(), FakeChannel()
            serving = [asyncio.ensure_future(room.serve(first))]
            await until(lambda channel=first: channel.sent)
            await settle()
            has_received_early_state = any(b"state before start" in frame for frame in first.sent)
            room.awareness.set_local_state({"name": "current state"})
            await until(lambda channel=first: any(b"current state" in frame for frame in channel.sent))
            serving.append(asyncio.ensure_future(room.serve(second)))
            await until(lambda channel=second: channel.sent)
            await settle()
            received[kind] = has_received_early_state, any(b"current state" in frame for frame in second.sent)
            for channel in (first, second):
                channel.leave()
            await asyncio.gather(*serving)
    assert logged == {YRoom: 1, Room: 0}
    assert received == {YRoom: (False, False), Room: (True, True)}
