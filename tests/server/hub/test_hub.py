"""Opening and closing of rooms in a hub, and peers in this process."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import Any

import pytest
from pycrdt import Doc, Map

from streamlit_crdt_server import (
    CloseCode,
    Hub,
    HubNotRunningError,
    LocalPeer,
    OpenTimeoutError,
    RoomNameRefused,
    RoomUnavailableError,
    Settings,
    TooManyRoomsError,
    UpdateRefusedError,
    WrongThreadError,
)
from streamlit_crdt_server.room.peers import REPLACE_RECEIVED_OVER_BYTES
from tests.server.support.fake_channel import DEADLINE_S, POISON, Client, FakeChannel, connected, until
from tests.server.support.unreliable_store import UnreliableStore

pytestmark = pytest.mark.anyio


def values_of(update: bytes | None) -> dict[str, Any]:
    ydoc: Doc[Any] = Doc()
    if update is not None:
        ydoc.apply_update(update)
    return dict(ydoc.get("state", type=Map).to_py() or {})


def an_update(key: str = "x", value: Any = 1) -> bytes:
    return Client(FakeChannel()).set(key, value)


async def done(future: Future[None]) -> None:
    await asyncio.wait_for(asyncio.wrap_future(future), DEADLINE_S)


async def test_concurrent_opens_of_a_new_room_share_all_edits() -> None:
    async with Hub() as hub:
        for number in range(100):
            channels = [FakeChannel(f"room{number}") for _ in range(3)]
            clients = [Client(channel) for channel in channels]
            serving = [asyncio.ensure_future(hub.serve(channel)) for channel in channels]
            for index, client in enumerate(clients):
                client.edit(f"k{index}", index)
            for client in clients:
                await until(lambda client=client: client.look() == {"k0": 0, "k1": 1, "k2": 2})
            for channel in channels:
                channel.leave()
            await asyncio.gather(*serving)


async def test_immediate_disconnects_do_not_stop_the_hub() -> None:
    async with Hub() as hub:
        for number in range(200):
            channel = FakeChannel(f"room{number % 7}")
            serving = asyncio.ensure_future(hub.serve(channel))
            if number % 3:
                await asyncio.sleep(0)
            if number % 2:
                serving.cancel()
            channel.leave()
            await asyncio.wait((serving,))
        async with connected(hub, "room1") as ada:
            ada.edit("x", 1)
            await until(lambda: ada.look() and len(ada.channel.sent) >= 2)
        assert hub.running


async def test_cancelled_first_opener_does_not_stop_the_room() -> None:
    async with Hub() as hub:
        first = asyncio.ensure_future(hub.get_room("room"))
        second = asyncio.ensure_future(hub.get_room("room"))
        await asyncio.sleep(0)
        first.cancel()
        assert (await asyncio.wait_for(second, DEADLINE_S)).started.is_set()


async def test_room_without_peers_keeps_its_content() -> None:
    async with Hub() as hub:
        async with connected(hub) as ada:
            ada.edit("x", 1)
            await until(lambda: ada.look() and len(ada.channel.sent) >= 2)
        async with connected(hub) as bob:
            await until(lambda: bob.look() == {"x": 1})


async def test_S2_auto_cleaned_room_reopens_with_its_content() -> None:
    async with Hub(auto_clean_rooms=True) as hub:
        async with connected(hub) as ada:
            ada.edit("x", 1)
        assert not hub.rooms
        async with connected(hub) as bob:
            await until(lambda: bob.look() == {"x": 1})


async def test_failed_room_does_not_stop_other_rooms() -> None:
    async with Hub() as hub, connected(hub, "good") as ada, connected(hub, "bad") as bob:
        task_group = hub.rooms["bad"]._task_group
        assert task_group is not None

        async def fail() -> None:
            raise RuntimeError("on purpose")

        task_group.start_soon(fail)
        await until(lambda: bob.channel.closed_with == CloseCode.SERVICE_RESTART)
        ada.edit("x", 1)
        await until(lambda: len(ada.channel.sent) >= 3)
        async with connected(hub, "bad") as again:
            again.edit("y", 2)
            await until(lambda: len(again.channel.sent) >= 3)


class Panic(BaseException):
    """A stand-in for a panic of pycrdt, which is no `Exception`."""


async def test_panic_in_a_room_does_not_stop_other_rooms(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def panic(*_: object) -> None:
        raise Panic()

    async with Hub() as hub, connected(hub, "good") as ada, connected(hub, "bad") as bob:
        pushed = (await hub.aopen_local("bad")).push(an_update())
        monkeypatch.setattr(hub.rooms["bad"].pipeline, "_publish", panic)
        await until(lambda: bob.channel.closed_with == CloseCode.SERVICE_RESTART)
        with pytest.raises(HubNotRunningError):
            await done(pushed)
        ada.edit("x", 1)
        await until(lambda: len(ada.channel.sent) >= 3)
        async with connected(hub, "bad") as again:
            again.edit("y", 2)
            await until(lambda: len(again.channel.sent) >= 3)


@pytest.mark.parametrize("how", ["loop", "thread"])
async def test_unreadable_document_is_unavailable_until_it_is_reloaded(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Hub() as hub:
        ada = await hub.aopen_local("room")
        await done(ada.push(an_update()))
        room = hub.rooms["room"]
        damaged = room.ydoc
        get_update = Doc.get_update

        def read(ydoc: Doc[Any], vector: bytes | None = None) -> bytes:
            if ydoc is damaged:
                raise Panic()
            return get_update(ydoc, vector)

        monkeypatch.setattr(Doc, "get_update", read)
        with pytest.raises(RoomUnavailableError):
            if how == "loop":
                await hub.aopen_local("room")
            else:
                await asyncio.to_thread(hub.open_local, "room")
        await until(lambda: room.ydoc is not damaged)
        assert values_of((await hub.aopen_local("room")).drain()) == {"x": 1}


async def test_S4_room_that_cannot_be_loaded_is_unavailable_and_not_empty() -> None:
    store = UnreliableStore()
    store.can_load = False
    async with Hub(store=store) as hub:
        with pytest.raises(RoomUnavailableError):
            await hub.get_room("room")
        channel = FakeChannel()
        await asyncio.wait_for(hub.serve(channel), DEADLINE_S)
        assert channel.closed_with == CloseCode.TRY_AGAIN_LATER
        assert channel.sent == []


async def test_max_rooms_is_enforced_and_blank_rooms_are_evicted() -> None:
    async with Hub(Settings(require_token=False, max_rooms=2)) as hub:
        await hub.get_room("blank")
        for name in ("a", "b"):
            async with connected(hub, name) as ada:
                ada.edit("x", 1)
                await until(lambda ada=ada: len(ada.channel.sent) >= 3)
        assert set(hub.rooms) == {"a", "b"}
        with pytest.raises(TooManyRoomsError, match="STREAMLIT_CRDT_MAX_ROOMS"):
            await hub.get_room("c")


@pytest.mark.parametrize("name", ["", ".", "..", "a/../b", "*", "a" * 257, "é" * 129, "a\n", "\ud800"])
async def test_invalid_room_name_is_refused(name: str) -> None:
    async with Hub() as hub:
        with pytest.raises(RoomNameRefused):
            await hub.get_room(name)
        with pytest.raises(RoomNameRefused):
            hub.open_local(name)


async def test_deleted_room_reopens_empty() -> None:
    async with Hub() as hub:
        peer = await hub.aopen_local("room")
        await done(peer.push(an_update()))
        await hub.delete_room(name="room")
        assert values_of((await hub.aopen_local("room")).drain()) == {}
        with pytest.raises(HubNotRunningError):
            await done(peer.push(an_update("y")))


async def test_stop_closes_sockets_with_1012() -> None:
    hub = Hub()
    channel = FakeChannel()
    async with hub:
        serving = asyncio.ensure_future(hub.serve(channel))
        await until(lambda: channel.sent)
    await asyncio.wait_for(serving, DEADLINE_S)
    assert channel.closed_with == CloseCode.SERVICE_RESTART
    assert hub.loop is None
    await hub.stop()


async def test_R6_local_peer_receives_no_echo_of_its_own_push() -> None:
    async with Hub() as hub, connected(hub) as ada:
        session, other = await hub.aopen_local("room"), await hub.aopen_local("room")
        await done(session.push(an_update("x", 1)))
        await until(lambda: ada.look() == {"x": 1})
        assert session.drain() is None
        assert values_of(other.drain()) == {"x": 1}
        ada.edit("y", 2)
        await until(lambda: ada.look() == {"x": 1, "y": 2} and len(ada.channel.sent) >= 4)
        assert values_of(session.drain())["y"] == 2
        assert session.drain() is None


async def test_first_drain_returns_the_room_and_later_updates() -> None:
    async with Hub() as hub:
        ada = await hub.aopen_local("room")
        await done(ada.push(an_update("x", 1)))
        bob = await hub.aopen_local("room")
        await done(ada.push(an_update("y", 2)))
        assert values_of(bob.drain()) == {"x": 1, "y": 2}
        assert bob.drain() is None


async def test_on_update_is_called_for_updates_of_other_peers() -> None:
    async with Hub() as hub:
        ada, bob = await hub.aopen_local("room"), await hub.aopen_local("room")
        notified: list[str] = []
        bob.on_update = lambda: notified.append("bob")
        ada.on_update = lambda: notified.append("ada")
        await done(ada.push(an_update()))
        assert notified == ["bob"]


async def test_exception_in_on_update_does_not_affect_other_peers() -> None:
    async with Hub() as hub:
        ada, bob = await hub.aopen_local("room"), await hub.aopen_local("room")

        def fail() -> None:
            raise RuntimeError("on purpose")

        bob.on_update = fail
        await done(ada.push(an_update()))
        assert values_of(bob.drain()) == {"x": 1}


@pytest.mark.parametrize("update", [POISON, b"", b"\xff\xff", b"\x01\x02\x03"])
async def test_N2_invalid_update_of_a_local_peer_is_rejected(update: bytes) -> None:
    async with Hub() as hub:
        ada = await hub.aopen_local("room")
        with pytest.raises(UpdateRefusedError):
            await done(ada.push(update))
        await done(ada.push(an_update()))


async def test_N1_undrained_updates_of_a_local_peer_are_merged() -> None:
    async with Hub() as hub:
        idle = await hub.aopen_local("room")
        replica = Client(FakeChannel())
        for number in range(600):
            idle.deliver(b"", replica.set("k", number))
        assert len(idle._received) <= 257
        assert values_of(idle.drain()) == {"k": 599}


async def test_N1_undrained_updates_stay_bounded_by_the_room() -> None:
    async with Hub() as hub:
        ada = await hub.aopen_local("room")
        idle = [await hub.aopen_local("room") for _ in range(2)]
        replica = Client(FakeChannel())
        for number in range(60):
            await done(ada.push(replica.set("k", f"{number}" + "x" * 20_000)))
            for peer in idle:
                assert sum(map(len, peer._received)) < REPLACE_RECEIVED_OVER_BYTES + 30_000
        await done(ada.push(replica.set("last", 1)))
        for peer in idle:
            found = values_of(peer.drain())
            assert (found["k"][:2], found["last"]) == ("59", 1)
            assert peer.drain() is None


async def test_closed_local_peer_neither_pushes_nor_receives() -> None:
    async with Hub() as hub:
        ada, bob = await hub.aopen_local("room"), await hub.aopen_local("room")
        pending = bob.push(an_update("last", 1))
        bob.close()
        bob.close()
        await done(pending)
        with pytest.raises(HubNotRunningError):
            await done(bob.push(an_update()))
        assert values_of(ada.drain()) == {"last": 1}
        assert hub.rooms["room"].peers == {ada}


async def test_open_local_in_the_loop_thread_raises_wrong_thread() -> None:
    async with Hub() as hub:
        with pytest.raises(WrongThreadError):
            hub.open_local("room")


def test_open_local_on_a_stopped_hub_raises_hub_not_running() -> None:
    with pytest.raises(HubNotRunningError):
        Hub().open_local("room")


async def test_open_local_times_out_while_the_loop_is_busy() -> None:
    async with Hub() as hub:
        failed: list[BaseException] = []

        def open_it() -> None:
            try:
                hub.open_local("room", timeout_s=0.01)
            except OpenTimeoutError as error:
                failed.append(error)

        thread = threading.Thread(target=open_it)
        thread.start()
        thread.join(DEADLINE_S)  # blocks the loop on purpose
        assert len(failed) == 1
        await asyncio.sleep(0)
        assert not any(room.peers for room in hub.rooms.values())


async def test_pushes_from_many_threads_converge() -> None:
    async with Hub() as hub:
        peers = [await hub.aopen_local("room") for _ in range(4)]
        await asyncio.gather(*(asyncio.to_thread(_edit, peer, str(i)) for i, peer in enumerate(peers)))
        expected = {f"{i}-{n}": n for i in range(4) for n in range(50)}
        assert values_of((await hub.aopen_local("room")).drain()) == expected


def _edit(peer: LocalPeer, name: str) -> None:
    replica = Client(FakeChannel())
    pushed = []
    for number in range(50):
        pushed.append(peer.push(replica.set(f"{name}-{number}", number)))
        if (update := peer.drain()) is not None:
            replica.ydoc.apply_update(update)
    for future in pushed:
        future.result(DEADLINE_S)
