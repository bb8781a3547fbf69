"""A room with fake channels: delivery of updates and presences, and isolation of invalid input."""

from __future__ import annotations

import asyncio
import logging
from contextlib import nullcontext
from typing import Any

import pytest
from pycrdt import Doc, Map

from streamlit_crdt_server import CloseCode, Hub, MemoryStore, Room, Settings, protocol
from streamlit_crdt_server.yjs.lib0 import EMPTY_UPDATE
from streamlit_crdt_server.yjs.nesting import NestingDepths
from streamlit_crdt_server.yjs.safe_apply import ValidatedUpdate
from tests.server.support.expensive_updates import competing_structs
from tests.server.support.fake_channel import (
    DEADLINE_S,
    LIMITS,
    POISON,
    Client,
    FakeChannel,
    connected,
    newest_clock,
    presence_frame,
    until,
)
from tests.support.past_replicas import counted_by

pytestmark = pytest.mark.anyio


def updates_in(channel: FakeChannel) -> list[bytes]:
    """Return the update frames sent to a channel, without SyncStep2."""
    return [frame for frame in channel.sent if frame[:2] == b"\x00\x02"]


async def test_edit_reaches_every_other_peer() -> None:
    async with Room() as room, connected(room) as ada, connected(room) as bob:
        ada.edit("x", 1)
        await until(lambda: bob.look() == {"x": 1})


async def test_R3_new_client_gets_the_delta() -> None:
    async with Room() as room:
        async with connected(room) as ada:
            ada.edit("x", 1)
            await until(lambda: updates_in(ada.channel))
        async with connected(room) as bob:
            await until(lambda: bob.look() == {"x": 1})


async def test_S5_sender_gets_its_update_as_the_ack() -> None:
    async with Room() as room, connected(room) as ada:
        update = ada.set("x", 1)
        ada.channel.put(protocol.sync_update(update))
        await until(lambda: updates_in(ada.channel) == [protocol.sync_update(update)])


async def test_updates_of_one_tick_are_sent_as_one_frame() -> None:
    async with Room() as room, connected(room) as ada, connected(room) as bob:
        for number in range(100):
            ada.edit(f"k{number}", number)
        await until(lambda: len(bob.look()) == 100)
        assert len(updates_in(bob.channel)) < 10


async def test_server_edit_of_the_document_reaches_peers() -> None:
    async with Room() as room, connected(room) as ada:
        room.ydoc.get("state", type=Map)["x"] = 1.0
        await until(lambda: ada.look() == {"x": 1})


async def test_S1_edit_before_the_room_is_open_is_applied_and_sent() -> None:
    for number in range(50):
        async with Hub() as hub:
            first, second = FakeChannel(), FakeChannel()
            ada, bob = Client(first), Client(second)
            ada.edit("x", number)
            second.put(protocol.sync_step1(b"\0"))
            serving = [asyncio.ensure_future(hub.serve(channel)) for channel in (first, second)]
            await until(lambda bob=bob, number=number: bob.look() == {"x": number})
            first.leave()
            second.leave()
            await asyncio.gather(*serving)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        pytest.param(b"\x00\x01", CloseCode.MALFORMED, id="truncated"),
        pytest.param(b"\x00\x02\x03abc", CloseCode.MALFORMED, id="not an update"),
        pytest.param(protocol.sync_update(POISON), CloseCode.MALFORMED, id="the poison update"),
        pytest.param(protocol.sync_step1(b"\xff\xff\xff\xff\x0f"), CloseCode.MALFORMED, id="vector bomb"),
        pytest.param(b"\x00\x02" + b"\x00" * 3000, CloseCode.TOO_LARGE, id="oversize"),
        pytest.param(
            presence_frame(1, 1, '"' + "x" * 600 + '"'), CloseCode.TOO_LARGE, id="oversize presence"
        ),
    ],
)
async def test_N2_invalid_frame_closes_its_own_connection_only(
    frame: bytes, code: CloseCode, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(max_frame_bytes=2000, max_awareness_bytes=500)
    async with Room(settings=settings) as room, connected(room) as ada, connected(room) as mallory:
        ada.edit("x", 1)
        mallory.channel.put(frame)
        await until(lambda: mallory.channel.closed_with == code)
        assert sum(record.levelno >= logging.WARNING for record in caplog.records) == 1
        ada.edit("y", 2)
        async with connected(room) as late:
            await until(lambda: late.look() == {"x": 1, "y": 2})


async def test_N4_client_with_all_of_a_long_past_is_served() -> None:
    settings = Settings(max_state_vector_bytes=2000)
    past: Doc[Any] = Doc()
    past.apply_update(counted_by(2000))
    async with Room(settings=settings) as room:
        room.ydoc.apply_update(past.get_update())
        async with connected(room) as returning, connected(room) as mallory:
            await until(lambda: room.document.replica_count > 2000)
            returning.channel.put(protocol.sync_step1(past.get_state()))
            mallory.channel.put(protocol.sync_step1(Doc(client_id=1).get_state() + bytes(30_000)))
            await until(lambda: any(frame[:2] == b"\0\1" for frame in returning.channel.sent))
            await until(lambda: mallory.channel.closed_with == CloseCode.TOO_LARGE)


async def test_N2_deeply_nested_update_is_rejected() -> None:
    bomb = b"\x01\x01\x05\x00\x28\x01\x01m\x01k\x01" + b"\x75\x01" * 100_000 + b"\x7e\x00"
    async with Room() as room, connected(room) as mallory:
        mallory.channel.put(protocol.sync_update(bomb))
        await until(lambda: mallory.channel.closed_with == CloseCode.MALFORMED)


@pytest.mark.parametrize("value", [2, "👍"], ids=["plain", "surrogate pair"])
async def test_N2_damaged_document_is_reloaded_without_the_damaging_update(
    value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Bypasses the validation, as with an unknown bug.
    monkeypatch.setattr(NestingDepths, "admit", lambda *_: nullcontext())
    async with Room() as room, connected(room) as ada, connected(room) as mallory:
        ada.edit("x", 1)
        await until(lambda: updates_in(ada.channel))
        local = room.open_local(asyncio.get_running_loop().call_soon)
        local.drain()
        mallory_peer = next(p for p in room.peers if getattr(p, "channel", None) is mallory.channel)
        ada_peer = next(p for p in room.peers if getattr(p, "channel", None) is ada.channel)
        room.pipeline.submit(ada_peer, ValidatedUpdate(ada.set("y", value)))
        room.pipeline.submit(mallory_peer, ValidatedUpdate(POISON))
        await until(lambda: mallory.channel.closed_with == CloseCode.MALFORMED)
        await until(lambda: ada.channel.closed_with == CloseCode.SERVICE_RESTART)
        async with connected(room) as late:
            await until(lambda: late.look() == {"x": 1, "y": value})
        replica: Doc[Any] = Doc()
        replica.apply_update(local.drain() or b"")
        assert replica.get("state", type=Map).to_py() == {"x": 1, "y": value}


class Panic(BaseException):
    """A stand-in for a panic of pycrdt, which is no `Exception`."""


async def test_N2_panic_in_a_frame_closes_its_own_socket_only() -> None:
    async with Hub() as hub, connected(hub) as ada, connected(hub) as mallory:
        room = await hub.get_room("room")

        def panic(frame: bytes) -> bool:
            if frame == b"panic":
                raise Panic
            return False

        room.on_message = panic
        mallory.channel.put(b"panic")
        await until(lambda: mallory.channel.closed_with == CloseCode.INTERNAL_ERROR)
        ada.edit("x", 1)
        await until(lambda: updates_in(ada.channel))


async def test_N1_peer_that_does_not_read_is_closed_and_delays_no_other() -> None:
    settings = Settings(max_backlog_bytes_per_peer=50_000, close_timeout_s=0.05)
    async with Room(settings=settings) as room, connected(room) as ada, connected(room) as sloth:
        sloth.channel.may_send.clear()
        written = 0
        while sloth.channel.closed_with is None:
            ada.edit(f"k{written}", "x" * 10_000)
            written += 1
            await until(lambda written=written: len(updates_in(ada.channel)) >= written)
            assert written < 50
        assert sloth.channel.closed_with == CloseCode.TOO_SLOW
        assert len(room.peers) == 1


async def test_silent_socket_is_closed() -> None:
    async with Room(settings=Settings(silent_peer_timeout_s=0.05)) as room, connected(room) as ada:
        await until(lambda: ada.channel.closed_with == CloseCode.SILENT)
        await until(lambda: not room.clients)


async def test_N3_connection_that_is_not_read_receives_messages() -> None:
    limits = {"max_cpu_burst_ms_per_connection": 1, "max_cpu_ms_per_s_per_connection": 1}
    async with Room(settings=Settings(silent_peer_timeout_s=0.1, **limits)) as room, connected(room) as ada:
        ada.channel.put(protocol.sync_update(competing_structs(60)))
        await until(lambda: ada.channel.sent.count(protocol.awareness(())) > 3)
        assert ada.channel.closed_with is None


async def test_failed_send_does_not_affect_the_room() -> None:
    class Broken(FakeChannel):
        async def send(self, message: bytes) -> None:
            raise ConnectionResetError

    async with Room() as room, connected(room) as ada:
        await asyncio.wait_for(room.serve(Broken()), DEADLINE_S)
        ada.edit("x", 1)
        await until(lambda: updates_in(ada.channel))


async def test_A3_new_client_gets_exactly_the_current_presences() -> None:
    async with Room() as room, connected(room) as ada:
        ada.announce(1, 1)
        await until(lambda: room.connections.owners.present())
        async with connected(room) as bob:
            await until(lambda: bob.look() is not None and bob.present == {1: {"name": "Ada"}})


async def test_A3_presence_is_removed_at_disconnect() -> None:
    async with Room() as room, connected(room) as bob:
        async with connected(room) as ada:
            ada.announce(1, 1)
            await until(lambda: bob.look() is not None and 1 in bob.present)
        await until(lambda: bob.look() is not None and not bob.present)


async def test_A3_client_cannot_remove_the_presence_of_another() -> None:
    async with Room() as room, connected(room) as ada, connected(room) as mallory:
        ada.announce(1, 1)
        await until(lambda: mallory.look() is not None and 1 in mallory.present)
        mallory.announce(1, 50, "null")
        mallory.announce(2, 1)
        await until(lambda: ada.look() is not None and 2 in ada.present)
        assert set(ada.present) == {1, 2}


async def test_query_awareness_is_answered() -> None:
    async with Room() as room, connected(room) as ada:
        ada.announce(1, 1)
        await until(lambda: ada.look() is not None and ada.present)
        ada.present.clear()
        ada.channel.put(protocol.query_awareness())
        await until(lambda: ada.look() is not None and ada.present == {1: {"name": "Ada"}})


async def test_S6_client_receives_no_update_before_the_state() -> None:
    """An update without its predecessors could leave the client with only the deletion of a saved value."""
    async with Room() as room, connected(room) as ada:
        ada.edit("k", "saved")
        await until(lambda: room.ydoc.get("state", type=Map).to_py() == {"k": "saved"})
        joining = FakeChannel()
        serving = asyncio.ensure_future(room.serve(joining))
        await until(lambda: joining.sent)
        joining.put(protocol.sync_step2(EMPTY_UPDATE))  # the answer to SyncStep1 of the server
        await until(lambda: joining.incoming.empty())
        ada.edit("k", "new")
        await until(lambda: sync_updates(ada.channel.sent) == 2)
        joining.put(protocol.query_awareness())
        ada.announce(1, 1)
        await until(lambda: newest_clock(joining.sent, 1))
        assert sync_updates(joining.sent) == 0
        joining.put(protocol.sync_step1(b"\0"))
        bob = Client(joining)
        await until(lambda: bob.look() == {"k": "new"})
        ada.edit("k", "newest")
        await until(lambda: bob.look() == {"k": "newest"})
        joining.leave()
        await serving


def sync_updates(frames: list[bytes]) -> int:
    """Count the updates in frames, without SyncStep2."""
    return sum(frame[:2] == b"\0\2" for frame in frames)


async def test_renewed_presence_is_sent_to_its_owner_too() -> None:
    async with Room() as room, connected(room) as ada:
        ada.announce(1, 1)
        await until(lambda: newest_clock(ada.channel.sent, 1))
        renewed = (newest_clock(ada.channel.sent, 1) or 0) + 1
        ada.announce(1, renewed)
        await until(lambda: presence_frame(1, renewed) in ada.channel.sent)


async def test_server_presence_reaches_current_and_later_clients() -> None:
    async with Room() as room, connected(room) as ada:
        room.awareness.set_local_state({"name": "job"})
        await until(lambda: ada.look() is not None and list(ada.present.values()) == [{"name": "job"}])
        async with connected(room) as bob:
            await until(lambda: bob.look() is not None and list(bob.present.values()) == [{"name": "job"}])


async def test_S2_stop_sends_and_saves_the_inbox_then_closes_sockets() -> None:
    store = MemoryStore()
    room = Room(store=store)
    async with room, connected(room) as ada:
        peer = next(iter(room.peers))
        room.pipeline.submit(peer, ValidatedUpdate(ada.set("x", 1)))
        await room.stop()
        await until(lambda: ada.channel.closed_with == CloseCode.SERVICE_RESTART)
    replica: Doc[Any] = Doc()
    for update in (await store.load("")).updates:
        replica.apply_update(update)
    assert replica.get("state", type=Map).to_py() == {"x": 1}


async def test_stop_before_start_and_second_stop_do_nothing() -> None:
    room = Room()
    await room.stop()
    await room.stop()


async def test_S3_long_log_is_compacted() -> None:
    store = MemoryStore()
    async with Room(store=store) as room, connected(room) as ada:
        for number in range(40):
            ada.edit("k", "x" * 10_000)
            await until(lambda number=number: len(updates_in(ada.channel)) == number + 1)
        log = (await store.load("")).updates
        assert sum(map(len, log)) < 100_000
        replica: Doc[Any] = Doc()
        for update in log:
            replica.apply_update(update)
        assert replica.get_state() == room.ydoc.get_state()


async def test_messages_of_unknown_type_are_ignored() -> None:
    async with Room() as room, connected(room) as ada:
        ada.channel.put(bytes([120, 1, 5]))
        ada.edit("x", 1)
        await until(lambda: updates_in(ada.channel))


async def test_message_callbacks_of_pycrdt_websocket_are_called() -> None:
    seen: list[bytes] = []
    async with Room() as room, connected(room) as ada:
        room.on_message = lambda frame: bool(seen.append(frame)) or frame == b"skip me"
        room.on_message_error = lambda error, frame, channel: frame == b"\x00"
        ada.channel.put(b"skip me")
        ada.channel.put(b"\x00")
        ada.edit("x", 1)
        await until(lambda: updates_in(ada.channel))
    assert seen[1:3] == [b"skip me", b"\x00"]


async def test_frame_validated_in_a_thread_keeps_its_order() -> None:
    async with Room() as room, connected(room) as ada, connected(room) as bob:
        ada.edit("x", "a" * 200_000)
        ada.edit("x", "b")
        await until(lambda: bob.look() == {"x": "b"})
        assert all(protocol.parse(frame, LIMITS) for frame in bob.channel.sent)


async def test_connection_to_a_room_that_stops_before_ready_is_closed() -> None:
    async with Hub(rooms_ready=False) as hub:
        channel = FakeChannel()
        serving = asyncio.ensure_future(hub.serve(channel))
        await until(lambda: hub.rooms and hub.rooms["room"].started.is_set())
        await hub.drain()
        await asyncio.wait_for(serving, DEADLINE_S)
        assert channel.closed_with == CloseCode.SERVICE_RESTART


async def test_connections_are_served_after_the_room_becomes_ready() -> None:
    async with Hub(rooms_ready=False) as hub:
        channel = FakeChannel()
        ada = Client(channel)
        ada.edit("x", 1)
        serving = asyncio.ensure_future(hub.serve(channel))
        await until(lambda: hub.rooms and hub.rooms["room"].started.is_set())
        assert not channel.sent
        hub.rooms["room"].ready = True
        await until(lambda: updates_in(channel))
        channel.leave()
        await serving
