"""Saving and acks of a room while its store is slow, fails or recovers."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from pycrdt import Array, Doc, Map

from streamlit_crdt_server import (
    CloseCode,
    Hub,
    HubNotRunningError,
    PendingLimitError,
    Room,
    RoomUnavailableError,
    Settings,
    SQLiteStore,
    Store,
    StoreUnavailableError,
    protocol,
)
from streamlit_crdt_server.protocol import SaveStatus
from streamlit_crdt_server.room import batch
from streamlit_crdt_server.room.peers import SocketPeer
from streamlit_crdt_server.room.write_queue import REPLACE_QUEUED_OVER_BYTES
from streamlit_crdt_server.yjs.lib0 import EMPTY_UPDATE, Decoder
from streamlit_crdt_server.yjs.safe_apply import ValidatedUpdate, validate_update
from streamlit_crdt_server.yjs.surrogate_pairs import SurrogatePairs
from streamlit_crdt_server.yjs.update_decoder import read_update_meta
from streamlit_crdt_server.yjs.update_order import MAX_PENDING_BYTES
from tests.server.support.expensive_updates import NULL, struct
from tests.server.support.fake_channel import DEADLINE_S, POISON, Client, FakeChannel, connected, until
from tests.server.support.hostile_updates import blocks
from tests.server.support.unreliable_store import UnreliableStore

pytestmark = pytest.mark.anyio

Answer = tuple[int, int, int, str]


def echoes(client: Client) -> list[bytes]:
    return [frame for frame in client.channel.sent if frame[:2] == b"\x00\x02"]


def answers(client: Client) -> list[Answer]:
    """Return the saved answers to a client: version, level, status, epoch."""
    found = []
    for frame in client.channel.sent:
        if frame[0] == 102:
            content = Decoder(frame[2:])
            found.append(
                (content.read_varuint(), content.read_varuint(), content.read_varuint(), content.read_text())
            )
    return found


async def stored(store: Store, room: str = "") -> dict[str, Any]:
    ydoc: Doc[Any] = Doc()
    for update in (await store.load(room)).updates:
        ydoc.apply_update(update)
    return dict(ydoc.get("state", type=Map).to_py() or {})


async def done(future: Future[None]) -> None:
    await asyncio.wait_for(asyncio.wrap_future(future), DEADLINE_S)


async def test_S5_ack_follows_the_commit_and_other_peers_do_not_wait() -> None:
    store = UnreliableStore()
    async with Room(store=store) as room, connected(room) as ada, connected(room) as bob:
        store.may_commit.clear()
        ada.edit("x", 1)
        await until(lambda: bob.look() == {"x": 1})
        assert not echoes(ada)
        store.may_commit.set()
        await until(lambda: echoes(ada))
        assert await stored(store) == {"x": 1}


async def test_edit_reaches_peers_during_the_commit_of_an_earlier_edit() -> None:
    store = UnreliableStore()
    async with Room(store=store) as room, connected(room) as ada, connected(room) as bob:
        store.may_commit.clear()
        ada.edit("x", 1)
        await until(lambda: store.attempts == 1)
        ada.edit("y", 2)
        await until(lambda: bob.look() == {"x": 1, "y": 2})
        store.may_commit.set()
        await until(lambda: len(echoes(ada)) == 2)


async def test_S5_senders_of_one_batch_get_each_others_updates_in_a_slow_commit() -> None:
    store = UnreliableStore()
    async with Room(store=store) as room, connected(room) as ada, connected(room) as bob:
        await until(lambda: len(room.peers) == 2)
        store.may_commit.clear()
        first, second = ada.set("a", 1), bob.set("b", 2)
        by_channel = {getattr(peer, "channel", None): peer for peer in room.peers}
        room.pipeline.submit(by_channel[ada.channel], ValidatedUpdate(first))
        room.pipeline.submit(by_channel[bob.channel], ValidatedUpdate(second))
        await until(lambda: ada.look() == {"a": 1, "b": 2} and bob.look() == {"a": 1, "b": 2})
        assert echoes(ada) == [protocol.sync_update(second)]
        assert echoes(bob) == [protocol.sync_update(first)]
        store.may_commit.set()
        await until(lambda: len(echoes(ada)) == len(echoes(bob)) == 2)


class InOrder:
    """A client that keeps the updates it receives, and fails on one whose predecessors are missing."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._seen = 0
        self.clocks: dict[int, int] = {}

    def look(self) -> dict[int, int]:
        """Return the clocks of everything received."""
        frames = echoes(self._client)
        for frame in frames[self._seen :]:
            meta = read_update_meta(Decoder(frame[2:]).read_bytes())
            early = {
                replica: clock
                for replica, clock in meta.needed_clocks().items()
                if self.clocks.get(replica, 0) < clock
            }
            assert not early, "an update came before one that it depends on"
            meta.advance(self.clocks)
        self._seen = len(frames)
        return self.clocks


@pytest.mark.parametrize("size", [10, 200_000], ids=["small", "in pieces"])
async def test_S6_sender_gets_the_updates_of_others_in_order_during_a_commit(size: int) -> None:
    """The sender waits for the echo of its own update. Later updates of others must not overtake those beside it."""
    store = UnreliableStore()
    settings = Settings(max_sent_frame_bytes=65_536)
    async with (
        Room(store=store, settings=settings) as room,
        connected(room) as ada,
        connected(room) as bob,
    ):
        await until(lambda: len(room.peers) == 2 and all(map(synced, (ada, bob))))
        in_order = InOrder(ada)
        by_channel = {getattr(peer, "channel", None): peer for peer in room.peers}
        for number in range(5):
            store.may_commit.clear()
            room.pipeline.submit(by_channel[ada.channel], validate_update(ada.set("a", number)))
            room.pipeline.submit(by_channel[bob.channel], validate_update(bob.set("b", "x" * size)))
            await until(lambda number=number: store.attempts >= number + 1)
            bob.edit("b", number)
            await until(lambda number=number: in_order.look().get(bob.ydoc.client_id) == 2 * number + 2)
            assert in_order.look().get(ada.ydoc.client_id, 0) == number, "an echo came before the commit"
            store.may_commit.set()
            await until(lambda number=number: in_order.look().get(ada.ydoc.client_id) == number + 1)


def synced(client: Client) -> bool:
    return any(frame[:2] == b"\0\1" for frame in client.channel.sent)


async def test_S4_failing_store_gives_no_acks_and_the_room_recovers() -> None:
    store = UnreliableStore()
    async with Room(store=store) as room, connected(room) as ada, connected(room) as bob:
        store.can_write = False
        for number in range(20):
            ada.edit(f"k{number}", number)
        await until(lambda: len(bob.look()) == 20 and room.is_saving_failing)
        local = room.open_local(asyncio.get_running_loop().call_soon)
        pushed = local.push(Client(FakeChannel()).set("local", 1))
        await until(lambda: "local" in ada.look() and store.attempts >= 2)
        assert local.is_failing and not pushed.done()
        assert await stored(store) == {}
        store.can_write = True
        await done(pushed)
        assert not local.is_failing and not room.is_saving_failing
        assert await stored(store) == {f"k{number}": number for number in range(20)} | {"local": 1}
        await until(lambda: echoes(ada))
    assert room.metrics.registry.get_sample_value("streamlit_crdt_store_errors_total")


async def test_S4_unsaved_edits_are_joined_while_the_store_fails() -> None:
    store = UnreliableStore()
    async with Room(store=store) as room, connected(room) as ada, connected(room) as bob:
        store.can_write = False
        for number in range(50):
            ada.edit("k", number)
            await until(lambda number=number: bob.look() == {"k": number})
        attempts = store.attempts
        await until(lambda: store.attempts > attempts)
        await until(lambda: len(room.persister.unsaved) <= 1)
        store.can_write = True
        await until(lambda: not room.is_saving_failing)
        assert await stored(store) == {"k": 49}


def waiting_bytes(room: Room) -> int:
    return sum(len(batch.update or b"") for batch in room.persister.unsaved)


def numbers(room: Room) -> dict[str, str]:
    values = room.ydoc.get("state", type=Map).to_py() or {}
    return {key: value.rstrip("xy") for key, value in values.items()}


@pytest.mark.parametrize("fails", [True, False], ids=["fails", "hangs"])
async def test_S4_unsaved_overwritten_content_stays_bounded_by_the_room(
    fails: bool,
) -> None:
    store = UnreliableStore()
    async with Room(store=store) as room, connected(room) as ada:
        local = room.open_local(asyncio.get_running_loop().call_soon)
        session = Client(FakeChannel())
        store.can_write = not fails
        if not fails:
            store.may_commit.clear()
        largest = 0
        for number in range(60):
            ada.edit("ada", f"{number}" + "x" * 20_000)
            pushed = local.push(session.set("session", f"{number}" + "y" * 20_000))
            await until(lambda number=number: numbers(room) == {"ada": str(number), "session": str(number)})
            largest = max(largest, waiting_bytes(room))
        assert largest < 2 * REPLACE_QUEUED_OVER_BYTES
        assert not pushed.done()
        store.can_write = True
        store.may_commit.set()
        await done(pushed)
        await until(lambda: room.persister.is_idle)
        assert {key: value[:2] for key, value in (await stored(store)).items()} == {
            "ada": "59",
            "session": "59",
        }


async def test_saved_query_is_answered_after_all_earlier_updates_are_saved() -> None:
    store = UnreliableStore()
    async with Room(store=store) as room, connected(room) as ada, connected(room) as bob:
        store.may_commit.clear()
        ada.edit("x", 1)
        ada.channel.put(protocol.saved_query(7))
        await until(lambda: bob.look() == {"x": 1})
        assert not answers(ada)
        store.may_commit.set()
        await until(lambda: answers(ada))
        assert answers(ada) == [(7, 1, SaveStatus.SAVED, room.epoch)]
        assert len(room.epoch) == 32
        ada.channel.put(protocol.saved_query(8))
        await until(lambda: len(answers(ada)) == 2)
        assert not answers(bob)


async def test_S4_saved_query_gets_the_last_saved_version_while_store_fails() -> None:
    store = UnreliableStore()
    async with Room(store=store) as room, connected(room) as ada:
        ada.channel.put(protocol.saved_query(3))
        await until(lambda: answers(ada))
        store.can_write = False
        ada.edit("x", 1)
        ada.channel.put(protocol.saved_query(4))
        await until(lambda: len(answers(ada)) == 2)
        ada.channel.put(protocol.saved_query(5))
        await until(lambda: len(answers(ada)) == 3)
        store.can_write = True
        await until(lambda: (5, 1, 0, room.epoch) in answers(ada))
        assert [answer[:3] for answer in answers(ada)[:3]] == [(3, 1, 0), (3, 1, 1), (3, 1, 1)]


async def test_S2_stop_saves_updates_that_the_store_rejected_before() -> None:
    store = UnreliableStore()
    async with Hub(store=store) as hub, connected(hub) as ada, connected(hub) as bob:
        store.can_write = False
        ada.edit("x", 1)
        await until(lambda: bob.look() == {"x": 1} and store.attempts)
        stopping = asyncio.ensure_future(hub.rooms["room"].stop())
        attempts = store.attempts
        await until(lambda: store.attempts > attempts)
        store.can_write = True
        await asyncio.wait_for(stopping, DEADLINE_S)
        assert await stored(store, "room") == {"x": 1}


async def test_S5_update_during_stop_is_neither_applied_nor_acknowledged() -> None:
    store = UnreliableStore()
    async with Room(store=store) as room, connected(room) as ada:
        store.may_commit.clear()
        ada.edit("x", 1)
        ada.channel.put(protocol.saved_query(1))
        await until(lambda: store.attempts == 1)
        stopping = asyncio.ensure_future(room.stop())
        await until(lambda: ada.channel.closed_with == CloseCode.SERVICE_RESTART)
        ada.edit("y", 2)
        ada.channel.put(protocol.saved_query(2))
        store.may_commit.set()
        await stopping
    assert await stored(store) == {"x": 1}
    assert not answers(ada)


async def test_S5_update_to_a_closed_room_closes_its_sender() -> None:
    async with Room() as room, connected(room) as ada:
        peer = next(peer for peer in room.peers if isinstance(peer, SocketPeer))
        room.pipeline.is_closed = True
        room.pipeline.submit(peer, ValidatedUpdate(ada.set("x", 1)))
        room.pipeline.query_saved(peer, 1)
        await until(lambda: ada.channel.closed_with == CloseCode.SERVICE_RESTART)
        assert not answers(ada)


async def edit_until_closed(client: Client, key: str) -> None:
    version = 0
    while client.channel.closed_with is None:
        version += 1
        client.edit(key, version)
        client.channel.put(protocol.saved_query(version))
        await asyncio.sleep(0.0005)  # shorter than a flush period, longer than a read


async def test_S5_acks_during_a_server_stop_are_true(tmp_path: Path) -> None:
    for number in range(12):
        path = tmp_path / f"rooms-{number}.db"
        async with Hub(store=SQLiteStore(path)) as hub, connected(hub) as ada, connected(hub) as bob:
            editing = [asyncio.ensure_future(edit_until_closed(*who)) for who in ((ada, "a"), (bob, "b"))]
            await until(lambda ada=ada: answers(ada))
            await hub.drain()
            await asyncio.wait_for(asyncio.gather(*editing), DEADLINE_S)
        async with SQLiteStore(path) as store:
            saved = await stored(store, "room")
        for client, key in ((ada, "a"), (bob, "b")):
            assert saved.get(key, 0) >= max((version for version, *_ in answers(client)), default=0)


async def test_S4_failing_store_does_not_block_the_drain_and_gives_no_acks() -> None:
    store = UnreliableStore()
    settings = Settings(require_token=False, flush_timeout_s=0.05)
    async with Hub(settings, store=store) as hub, connected(hub) as ada:
        store.can_write = False
        pushed = (await hub.aopen_local("room")).push(Client(FakeChannel()).set("x", 1))
        await until(lambda: ada.look() == {"x": 1})
        await asyncio.wait_for(hub.drain(), DEADLINE_S)
        assert pushed.exception() is not None
        assert ada.channel.closed_with == CloseCode.SERVICE_RESTART


@pytest.mark.parametrize("how", ["stop", "delete"])
async def test_S4_unsaved_push_of_a_closed_peer_fails_when_the_room_ends(how: str) -> None:
    store = UnreliableStore()
    settings = Settings(require_token=False, flush_timeout_s=0.05)
    async with Hub(settings, store=store) as hub:
        peer = await hub.aopen_local("room")
        store.can_write = False
        pushed = [peer.push(Client(FakeChannel()).set("x", number)) for number in range(2)]
        await until(lambda: peer.is_failing)
        peer.close()
        if how == "stop":
            await hub.rooms["room"].stop()
        else:
            store.can_write = True
            await hub.delete_room("room")
        for future in pushed:
            with pytest.raises(HubNotRunningError):
                await done(future)


async def test_S4_push_in_a_worker_thread_fails_if_the_room_is_deleted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    is_repairing, may_repair, repair = threading.Event(), threading.Event(), SurrogatePairs.repair

    def repair_slowly(pairs: SurrogatePairs, *arguments: Any) -> Any:
        is_repairing.set()
        may_repair.wait(DEADLINE_S)
        return repair(pairs, *arguments)

    monkeypatch.setattr(batch, "REPAIR_IN_THREAD_OVER_BYTES", 0)
    monkeypatch.setattr(SurrogatePairs, "repair", repair_slowly)
    async with Hub() as hub:
        peer = await hub.aopen_local("room")
        pushed = peer.push(Client(FakeChannel()).set("x", "👍"))
        await until(is_repairing.is_set)
        peer.close()
        room, deleting = hub.rooms["room"], asyncio.ensure_future(hub.delete_room("room"))
        await until(lambda: isinstance(room, Room) and room.is_closed)
        may_repair.set()
        await deleting
        assert isinstance(pushed.exception(0), HubNotRunningError)


async def test_S4_push_fails_when_the_room_cannot_be_reloaded() -> None:
    store = UnreliableStore()
    async with Hub(store=store) as hub:
        peer = await hub.aopen_local("room")
        store.can_load = False
        hub.rooms["room"].document.mark_damaged()
        pushed = peer.push(Client(FakeChannel()).set("x", 1))
        peer.close()
        with pytest.raises(StoreUnavailableError):
            await done(pushed)


async def test_S4_room_opens_after_the_store_recovers() -> None:
    store = UnreliableStore()
    async with Hub(store=store) as hub:
        store.can_load = False
        with pytest.raises(RoomUnavailableError):
            await hub.aopen_local("room")
        with pytest.raises(RoomUnavailableError):  # refused without another load
            hub.check_can_open("room")
        hub.registry._failed_at.clear()  # instead of a delay of one second
        store.can_load = True
        assert not (await hub.aopen_local("room")).is_closed


async def test_N2_poisoned_log_opens_and_its_bad_rows_are_set_aside() -> None:
    store = UnreliableStore()
    good = [Client(FakeChannel()).set(f"k{number}", number) for number in range(9)]
    for update in (*good[:4], POISON, *good[4:7], b"\xff\xff", *good[7:]):
        await store.append("room", update)
    async with Hub(store=store) as hub, connected(hub, "room") as ada:
        await until(lambda: ada.look() == {f"k{number}": number for number in range(9)})
        await until(lambda: hub.rooms["room"].persister.is_idle)
        assert (await store.load("room")).set_aside == 2
        assert len((await store.load("room")).updates) == 9
        assert hub.metrics.registry.get_sample_value("streamlit_crdt_set_aside_total") == 2


async def test_S3_server_edit_during_a_reload_is_kept() -> None:
    store = UnreliableStore()
    async with Room(store=store) as room:
        store.may_load.clear()
        room.document.mark_damaged()
        await until(lambda: store.loads == 2)  # the first load was at the start
        room.ydoc.get("state", type=Map)["x"] = 1
        store.may_load.set()
        await until(lambda: not room.document.is_damaged)
        assert room.ydoc.get("state", type=Map).to_py() == {"x": 1}
        await room.flush(DEADLINE_S)
        assert await stored(store) == {"x": 1}


async def test_S4_poisoned_log_opens_while_the_store_cannot_set_rows_aside() -> None:
    store = UnreliableStore()
    await store.append("room", POISON)
    await store.append("room", Client(FakeChannel()).set("x", 1))
    store.can_write = False
    async with Hub(store=store) as hub, connected(hub, "room") as ada:
        await until(lambda: ada.look() == {"x": 1} and hub.rooms["room"].is_saving_failing)
        store.can_write = True
        await until(lambda: not hub.rooms["room"].is_saving_failing)
        assert (await store.load("room")).set_aside == 1


def consecutive_updates(count: int) -> list[bytes]:
    """Return updates of one replica. Each depends on the earlier ones."""
    client = Client(FakeChannel())
    return [client.set("k", number) for number in range(count)]


async def until_pending(hub: Hub, count: int) -> None:
    room = hub.rooms["room"]
    assert isinstance(room, Room)
    await until(lambda: len(room.document.pending()) == count)


async def test_S6_pending_updates_survive_a_restart_without_an_ack() -> None:
    store = UnreliableStore()
    first, second, third = consecutive_updates(3)
    async with Hub(store=store) as hub:
        peer = await hub.aopen_local("room")
        pushed = [peer.push(third), peer.push(second)]
        await until_pending(hub, 2)
    assert all(isinstance(each.exception(0), HubNotRunningError) for each in pushed)
    async with Hub(store=store) as hub:
        await done((await hub.aopen_local("room")).push(first))
    assert await stored(store, "room") == {"k": 2}


async def test_S6_pending_update_between_other_updates_survives_a_restart() -> None:
    store = UnreliableStore()
    values = blocks((4, 0, [struct(NULL)] * 3))
    waiting = blocks((4, 3, [struct(NULL, (8, 0)), struct(NULL)]))
    later = blocks((4, 5, [struct(NULL)]))
    async with Hub(store=store) as hub:
        peer = await hub.aopen_local("room")
        peer.push(later)
        await done(peer.push(values))
        peer.push(waiting)
        await until_pending(hub, 2)
    async with Hub(store=store) as hub:
        await done((await hub.aopen_local("room")).push(blocks((8, 0, [struct(NULL)]))))
        assert len(hub.rooms["room"].ydoc.get("t", type=Array)) == 7


async def test_S5_pending_update_is_acknowledged_after_it_is_applied_and_saved() -> None:
    store = UnreliableStore()
    first, second, third = consecutive_updates(3)
    async with Hub(store=store) as hub, connected(hub) as ada:
        peer = await hub.aopen_local("room")
        ada.channel.put(protocol.sync_update(third))
        ada.channel.put(protocol.saved_query(7))
        pushed = peer.push(second)
        await until_pending(hub, 2)
        await hub.rooms["room"].flush(DEADLINE_S)
        assert not pushed.done() and not answers(ada) and not echoes(ada)
        assert (await store.load("room")).updates == ()
        await done(peer.push(first))
        await done(pushed)
        await until(lambda: answers(ada) and echoes(ada))
    assert await stored(store, "room") == {"k": 2}


async def test_R6_completed_pending_update_is_sent_to_the_completing_peer() -> None:
    first, second, _ = consecutive_updates(3)
    async with Hub() as hub:
        ada, bob = await hub.aopen_local("room"), await hub.aopen_local("room")
        pushed = bob.push(second)
        await until_pending(hub, 1)
        await done(ada.push(first))
        await done(pushed)
        await until(lambda: values_of(ada.drain()) == {"k": 1})


def values_of(update: bytes | None) -> dict[str, Any]:
    ydoc: Doc[Any] = Doc()
    ydoc.apply_update(update or EMPTY_UPDATE)
    return dict(ydoc.get("state", type=Map).to_py() or {})


async def test_S3_compaction_keeps_a_pending_update() -> None:
    store = UnreliableStore()
    first, second, third = consecutive_updates(3)
    await store.append("room", third)
    async with Hub(store=store) as hub, connected(hub, "room") as ada:
        for number in range(12):
            ada.edit("large", f"{number}" + "x" * 10_000)
            await until(lambda number=number: len(echoes(ada)) > number)
        assert len((await store.load("room")).updates) < 12
    async with Hub(store=store) as hub:
        peer = await hub.aopen_local("room")
        await done(peer.push(first))
        await done(peer.push(second))
    assert (await stored(store, "room"))["k"] == 2


async def test_S6_stored_pending_updates_are_not_stored_again_in_each_restart() -> None:
    store = UnreliableStore()
    _, second = consecutive_updates(2)
    await store.append("room", second)
    for _ in range(2):
        async with Hub(store=store) as hub:
            await done((await hub.aopen_local("room")).push(Client(FakeChannel()).set("x", 1)))
    assert len((await store.load("room")).updates) == 3


def large_updates(count: int) -> list[bytes]:
    """Return updates of one replica of 100 kB each. Each depends on the earlier ones."""
    client = Client(FakeChannel())
    return [client.set(f"k{number}", "x" * 100_000) for number in range(count)]


async def test_N2_sender_of_most_pending_updates_is_closed_with_4304() -> None:
    small = consecutive_updates(2)
    large = large_updates(MAX_PENDING_BYTES // 100_000 + 2)
    async with Hub() as hub, connected(hub) as ada, connected(hub) as mallory:
        peer = await hub.aopen_local("room")
        ada.channel.put(protocol.sync_update(small[1]))
        for update in large[1:-1]:
            mallory.channel.put(protocol.sync_update(update))
            mallory.channel.put(protocol.sync_update(update))  # a repeated pending update costs nothing
        await until_pending(hub, 2 * len(large) - 3)
        mallory.channel.put(protocol.sync_update(large[-1]))
        await until(lambda: mallory.channel.closed_with == CloseCode.TOO_EARLY)
        await done(peer.push(small[0]))
        await until(lambda: ada.look() == {"k": 1})
        pushed = [peer.push(update) for update in large[1:]]
        for each in pushed:
            with pytest.raises(PendingLimitError):
                await done(each)
        await done(peer.push(large[0]))
        for update in large[1:]:
            await done(peer.push(update))
        assert ada.channel.closed_with is None
        assert len(ada.look()) == 1 + len(large)


async def test_S4_reload_rejects_the_pending_updates() -> None:
    store = UnreliableStore()
    first, second = consecutive_updates(2)
    async with Hub(store=store) as hub, connected(hub) as ada:
        peer = await hub.aopen_local("room")
        ada.channel.put(protocol.sync_update(second))
        pushed = peer.push(second)
        await until_pending(hub, 2)
        hub.rooms["room"].document.mark_damaged()
        await until(lambda: ada.channel.closed_with == CloseCode.SERVICE_RESTART)
        with pytest.raises(HubNotRunningError):
            await done(pushed)
        await done(peer.push(first))
        await done(peer.push(second))
    assert await stored(store, "room") == {"k": 1}
