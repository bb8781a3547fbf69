"""Epochs, deletion, eviction and size limit of a room."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Future
from typing import Any

import pytest
from pycrdt import Doc, Map

from streamlit_crdt_server import (
    CloseCode,
    Hub,
    HubNotRunningError,
    MemoryStore,
    Room,
    RoomFullError,
    RoomNameRefused,
    Settings,
    StoreError,
    protocol,
)
from streamlit_crdt_server.yjs.lib0 import EMPTY_UPDATE
from tests.server.support.fake_channel import DEADLINE_S, Client, FakeChannel, connected, until
from tests.server.support.unreliable_store import UnreliableStore

pytestmark = pytest.mark.anyio


class EpochChannel(FakeChannel):
    """A channel whose client sent an epoch."""

    def __init__(self, epoch: str | None) -> None:
        super().__init__()
        self.epoch = epoch


async def done(future: Future[None]) -> None:
    await asyncio.wait_for(asyncio.wrap_future(future), DEADLINE_S)


def an_update(key: str = "x", value: Any = 1) -> bytes:
    return Client(FakeChannel()).set(key, value)


def values_of(update: bytes | None) -> dict[str, Any]:
    ydoc: Doc[Any] = Doc()
    ydoc.apply_update(update or b"\0\0")
    return dict(ydoc.get("state", type=Map).to_py() or {})


async def test_other_epoch_is_closed_with_4409_before_any_exchange() -> None:
    async with Hub() as hub:
        channel = EpochChannel("ab" * 16)
        channel.put(protocol.sync_update(an_update()))
        await asyncio.wait_for(hub.serve(channel), DEADLINE_S)
        assert (channel.closed_with, channel.sent) == (CloseCode.OTHER_EPOCH, [])
        assert values_of((await hub.aopen_local("room")).drain()) == {}


async def test_same_epoch_and_no_epoch_are_served() -> None:
    async with Hub() as hub:
        epoch = (await hub.aopen_local("room")).epoch
        for epoch_sent in (epoch, None):
            channel = EpochChannel(epoch_sent)
            serving = asyncio.ensure_future(hub.serve(channel))
            await until(lambda channel=channel: channel.sent)
            channel.leave()
            await serving
            assert channel.closed_with is None


async def test_deletion_closes_peers_with_4409_and_changes_the_epoch() -> None:
    async with Hub() as hub, connected(hub) as ada:
        peer = await hub.aopen_local("room")
        await done(peer.push(an_update()))
        epoch = peer.epoch
        await hub.delete_room("room")
        await until(lambda: ada.channel.closed_with == CloseCode.OTHER_EPOCH)
        assert peer.is_closed
        with pytest.raises(HubNotRunningError):
            await done(peer.push(an_update("y")))
        again = await hub.aopen_local("room")
        assert values_of(again.drain()) == {}
        assert again.epoch != epoch


async def test_room_outside_memory_is_deleted_from_the_store() -> None:
    store = MemoryStore()
    await store.append("room", an_update())
    async with Hub(store=store) as hub:
        await hub.delete_room("room")
        assert (await store.load("room")).updates == ()
        with pytest.raises(RoomNameRefused):
            await hub.delete_room("../room")


async def test_delete_room_of_pycrdt_websocket_raises_for_a_room_not_in_memory() -> None:
    from pycrdt.websocket import WebsocketServer

    async with WebsocketServer() as server:
        with pytest.raises(KeyError):
            await server.delete_room(name="room")


async def test_open_during_a_deletion_returns_the_new_room() -> None:
    store = UnreliableStore()
    async with Hub(store=store) as hub:
        for _ in range(20):
            peer = await hub.aopen_local("room")
            await done(peer.push(an_update()))
            deleting = [asyncio.ensure_future(hub.delete_room("room")) for _ in range(2)]
            await asyncio.sleep(0)
            opened = await asyncio.wait_for(hub.aopen_local("room"), DEADLINE_S)
            await asyncio.gather(*deleting)
            found = await hub.aopen_local("room")
            assert opened.is_closed or opened.epoch == found.epoch
            assert values_of(found.drain()) == {}
            assert found.epoch == (await store.load("room")).epoch


async def test_S4_failed_deletion_leaves_the_room_unchanged() -> None:
    store = UnreliableStore()
    async with Hub(store=store) as hub, connected(hub) as ada:
        peer = await hub.aopen_local("room")
        await done(peer.push(an_update()))
        store.can_write = False
        with pytest.raises(StoreError):
            await hub.delete_room("room")
        store.can_write = True
        await done(peer.push(an_update("y", 2)))
        await until(lambda: ada.look() == {"x": 1, "y": 2} and ada.channel.closed_with is None)


async def test_unsaved_edit_of_a_deleted_room_is_not_saved_into_the_new_room() -> None:
    store = UnreliableStore()
    async with Hub(store=store) as hub:
        peer = await hub.aopen_local("room")
        store.can_write = False
        pushed = peer.push(an_update())
        await until(lambda: peer.is_failing)
        store.can_write = True
        await hub.delete_room("room")
        with pytest.raises(HubNotRunningError):
            await done(pushed)
        assert (await store.load("room")).updates == ()


async def test_S2_idle_room_is_evicted_and_reopens_with_its_content() -> None:
    settings = Settings(require_token=False, evict_after_s=0.02)
    async with Hub(settings) as hub:
        async with connected(hub) as ada:
            ada.edit("x", 1)
            await asyncio.wait_for(asyncio.shield(hub.rooms["room"].ydoc_observed.wait()), DEADLINE_S)
        await until(lambda: not hub.rooms)
        async with connected(hub) as bob:
            await until(lambda: bob.look() == {"x": 1})


async def test_room_with_a_peer_is_not_evicted() -> None:
    settings = Settings(require_token=False, evict_after_s=0.01)
    async with Hub(settings) as hub:
        peer = await hub.aopen_local("used")
        await hub.get_room("idle")
        await until(lambda: "idle" not in hub.rooms)
        assert not peer.is_closed


async def test_S2_room_is_not_evicted_while_its_store_fails() -> None:
    store = UnreliableStore()
    settings = Settings(require_token=False, evict_after_s=0.01, flush_timeout_s=0.01)
    async with Hub(settings, store=store) as hub:
        peer = await hub.aopen_local("room")
        store.can_write = False
        peer.push(an_update())
        await until(lambda: peer.is_failing)
        peer.close()
        attempts = store.attempts
        await until(lambda: store.attempts > attempts + 1)
        assert "room" in hub.rooms
        store.can_write = True
        await until(lambda: not hub.rooms)
        assert values_of((await store.load("room")).updates[0]) == {"x": 1}


async def test_S2_auto_clean_rooms_keeps_a_room_with_a_failing_store() -> None:
    store = UnreliableStore()
    settings = Settings(require_token=False, flush_timeout_s=0.01)
    async with Hub(settings, store=store, auto_clean_rooms=True) as hub:
        store.can_write = False
        async with connected(hub) as ada:
            ada.edit("x", 1)
        store.can_write = True
        async with connected(hub) as bob:
            await until(lambda: bob.look() == {"x": 1})


SMALL = Settings(require_token=False, warn_room_bytes=2_000, max_room_bytes=5_000)


def updates_in(client: Client) -> list[bytes]:
    return [frame for frame in client.channel.sent if frame[:2] == b"\x00\x02"]


async def fill(room: Room, ada: Client) -> None:
    """Edit until the room is full."""
    number = 0
    while not room.is_full:
        vector = room.ydoc.get_state()
        ada.edit(f"k{number}", "x" * 1_000)
        await until(lambda vector=vector: room.ydoc.get_state() != vector)
        number += 1


async def test_full_room_rejects_edits_and_serves_readers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Room(settings=SMALL) as room, connected(room) as viewer:
        async with connected(room) as ada:
            await fill(room, ada)
        async with connected(room) as bob:
            bob.edit("late", "x" * 1_000)
            await until(lambda: bob.channel.closed_with == CloseCode.ROOM_FULL)
        local = room.open_local(asyncio.get_running_loop().call_soon)
        with pytest.raises(RoomFullError, match="STREAMLIT_CRDT_MAX_ROOM_BYTES"):
            await done(local.push(an_update("y", "x" * 1_000)))
        content = viewer.look()
        assert len(content) >= 5 and "late" not in content
        viewer.channel.put(protocol.sync_step2(viewer.ydoc.get_update()))  # no change: every client sends it
        viewer.channel.put(protocol.query_awareness())
        async with connected(room) as late:
            await until(lambda: late.look() == content)
        assert viewer.channel.closed_with is None
    assert sum("is read-only" in record.message for record in caplog.records) == 1
    assert any(
        record.levelno == logging.WARNING and "is large" in record.message for record in caplog.records
    )


async def test_overwritten_content_does_not_count_towards_the_room_size() -> None:
    async with Room(settings=SMALL) as room, connected(room) as ada:
        for number in range(20):
            ada.edit("k", f"{number}" + "x" * 1_000)
            await until(lambda number=number: len(updates_in(ada)) > number)
        await until(lambda: not room.is_full and ada.channel.closed_with is None)


async def test_A1_viewer_is_denied_once_and_gets_no_saved_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streamlit_crdt_server.room.connections.may_write", lambda channel, room: False)
    async with Room() as room, connected(room) as mallory:
        for number in range(3):
            mallory.edit("x", number)
        mallory.channel.put(protocol.sync_step2(an_update("y")))
        mallory.channel.put(protocol.saved_query(9))
        await until(lambda: any(frame[0] == 102 for frame in mallory.channel.sent))
        denied = [frame for frame in mallory.channel.sent if frame[0] == protocol.MessageType.AUTH]
        assert len(denied) == 1
        refused = protocol.saved_answer(0, 1, protocol.SaveStatus.REFUSED, room.epoch)
        assert [frame for frame in mallory.channel.sent if frame[0] == 102] == [refused]
        assert room.ydoc.get_update() == EMPTY_UPDATE
