"""Pending updates, and updates with misplaced structs, outside a shared type (rule N2)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import pytest
from pycrdt import Array, Doc, Map, merge_updates

from streamlit_crdt_server import CloseCode, Hub, UpdateRefusedError, protocol
from streamlit_crdt_server.yjs.update_decoder import check_update, decode_state_vector
from tests.server.support.event_loop_stalls import watched
from tests.server.support.expensive_updates import NULL, struct
from tests.server.support.fake_channel import DEADLINE_S, Client, FakeChannel, connected, until
from tests.server.support.hostile_updates import MISPLACED, TEXT, VALUE, blocks, child
from tests.server.support.unreliable_store import UnreliableStore

pytestmark = pytest.mark.anyio

MAX_STALL = 10.0
"""In units of `event_loop_stalls`."""

AWAITED = blocks((77, 0, [struct(NULL)]))
WAITING = blocks((77, 1, [struct(NULL, (77, 0))]))
"""Two valid updates of one client. `WAITING` depends on `AWAITED` and arrives first."""


async def done(future: Future[None]) -> None:
    await asyncio.wait_for(asyncio.wrap_future(future), DEADLINE_S)


def vector_of(hub: Hub) -> dict[int, int]:
    return decode_state_vector(hub.rooms["room"].ydoc.get_state())


def listed(updates: Sequence[bytes]) -> Any:
    ydoc: Doc[Any] = Doc()
    for each in updates:
        ydoc.apply_update(each)
    return ydoc.get("t", type=Array).to_py()


async def assert_all_equal(hub: Hub, store: UnreliableStore, client: Client) -> None:
    """Assert that the document, the log and a connected client have equal content."""
    room = hub.rooms["room"]
    assert await room.flush(DEADLINE_S)
    await until(lambda: client.look() is not None and content_of(client.ydoc) == content_of(room.ydoc))
    copy: Doc[Any] = Doc()
    for each in (await store.load("room")).updates:
        copy.apply_update(each)
    assert content_of(copy) == content_of(room.ydoc)
    assert client.channel.closed_with is None


def content_of(ydoc: Doc[Any]) -> tuple[Any, ...]:
    """Return the applied clocks, the deletions and the values of a document, without pending structs."""
    reached = decode_state_vector(ydoc.get_state())
    deleted = ydoc.get_update(ydoc.get_state())
    return (
        {replica: clock for replica, clock in reached.items() if clock},
        deleted,
        ydoc.get("tree", type=Map).to_py(),
    )


async def test_N2_misplaced_update_closes_its_sender_only() -> None:
    store = UnreliableStore()
    async with Hub(store=store) as hub, connected(hub) as ada, connected(hub) as mallory:
        peer = await hub.aopen_local("room")
        await done(peer.push(VALUE))
        loaded = hub.rooms["room"].ydoc
        ada.edit("x", 1)
        mallory.channel.put(protocol.sync_update(MISPLACED))
        with pytest.raises(UpdateRefusedError):
            await done(peer.push(MISPLACED))
        ada.edit("y", 2)
        await until(lambda: mallory.channel.closed_with == CloseCode.MALFORMED)
        await until(lambda: ada.look() == {"x": 1, "y": 2})
        await assert_all_equal(hub, store, ada)
        assert hub.rooms["room"].ydoc is loaded
        assert ada.channel.closed_with is None


async def test_N2_log_with_a_misplaced_update_opens_without_it() -> None:
    store = UnreliableStore()
    await store.append("room", VALUE)
    await store.append("room", MISPLACED)
    async with Hub(store=store) as hub, connected(hub) as ada:
        ada.edit("x", 1)
        await until(lambda: ada.look() == {"x": 1})
        assert "a" in listed([hub.rooms["room"].ydoc.get_update()])
        await assert_all_equal(hub, store, ada)


async def until_pending(hub: Hub, count: int = 1) -> None:
    await until(lambda: len(hub.rooms["room"].document.pending()) == count)


async def test_N2_pending_misplaced_update_is_removed_when_its_parent_arrives() -> None:
    store = UnreliableStore()
    async with Hub(store=store) as hub, connected(hub) as ada, connected(hub) as mallory:
        peer = await hub.aopen_local("room")
        loaded = hub.rooms["room"].ydoc
        mallory.channel.put(protocol.sync_update(MISPLACED))
        await until_pending(hub)
        waiting = peer.push(WAITING)  # valid, and pending too
        await done(peer.push(VALUE))
        await until(lambda: mallory.channel.closed_with == CloseCode.MALFORMED)
        await assert_all_equal(hub, store, ada)
        await done(peer.push(AWAITED))
        await done(waiting)
        assert 77 in vector_of(hub)
        assert vector_of(hub)[77] == 2
        await assert_all_equal(hub, store, ada)
        assert hub.rooms["room"].ydoc is loaded
        assert ada.channel.closed_with is None


async def test_N2_log_with_a_parent_after_a_misplaced_update_opens_without_it() -> None:
    store = UnreliableStore()
    for each in (MISPLACED, WAITING, VALUE):
        await store.append("room", each)
    async with Hub(store=store) as hub, connected(hub) as ada:
        ada.edit("x", 1)
        await until(lambda: ada.look() == {"x": 1})
        await assert_all_equal(hub, store, ada)
        await until(lambda: hub.rooms["room"].persister.is_idle)
        assert (await store.load("room")).set_aside == 1
        await done((await hub.aopen_local("room")).push(AWAITED))
        await assert_all_equal(hub, store, ada)
        assert vector_of(hub)[77] == 2
    async with Hub(store=store) as hub:
        await hub.get_room("room")
        assert vector_of(hub).items() >= {5: 1, 77: 2}.items()


async def test_S5_misplaced_update_in_a_failing_store_removes_no_valid_update() -> None:
    store = UnreliableStore()
    async with Hub(store=store) as hub, connected(hub) as ada:
        peer = await hub.aopen_local("room")
        peer.push(WAITING)
        store.can_write = False
        misplaced = peer.push(MISPLACED)
        peer.push(blocks(deletions=[(77, 1)]))
        valid = peer.push(VALUE)
        await until(lambda: 5 in vector_of(hub) and hub.rooms["room"].is_saving_failing)
        assert not valid.done()
        store.can_write = True
        await done(valid)
        with pytest.raises(UpdateRefusedError):
            await done(misplaced)
        await assert_all_equal(hub, store, ada)
    async with Hub(store=store) as hub, connected(hub) as ada:
        await done((await hub.aopen_local("room")).push(AWAITED))
        await assert_all_equal(hub, store, ada)
        assert vector_of(hub).items() >= {5: 1, 77: 2}.items()
        values = listed([hub.rooms["room"].ydoc.get_update()])
        assert values.count(None) == 2  # one of three was deleted


async def test_N2_merged_log_row_keeps_its_valid_structs() -> None:
    store = UnreliableStore()
    await store.append("room", merge_updates(MISPLACED, WAITING, VALUE, Client(FakeChannel()).set("x", 1)))
    async with Hub(store=store) as hub, connected(hub) as ada:
        await done((await hub.aopen_local("room")).push(AWAITED))
        await until(lambda: ada.look() == {"x": 1} and vector_of(hub).get(77) == 2)
        await assert_all_equal(hub, store, ada)
        assert (await store.load("room")).set_aside == 1


async def test_S4_circle_of_pending_updates_costs_no_other_content() -> None:
    """Compaction merges the state with the pending updates of several participants, which may be circular together."""
    store = UnreliableStore()
    halves = [blocks((5, 0, [struct(NULL, (6, 0))])), blocks((6, 0, [struct(NULL, (5, 0))]))]
    await store.append("room", merge_updates(Client(FakeChannel()).set("x", 1), WAITING, *halves))
    async with Hub(store=store) as hub, connected(hub) as ada:
        await until(lambda: ada.look() == {"x": 1})
        await done((await hub.aopen_local("room")).push(AWAITED))
        await until(lambda: vector_of(hub).get(77) == 2)
        assert vector_of(hub).keys().isdisjoint({5, 6})
        assert (await store.load("room")).set_aside == 0


async def test_N2_pending_deletion_beside_a_misplaced_update_is_applied() -> None:
    store = UnreliableStore()
    async with Hub(store=store) as hub, connected(hub) as ada:
        peer = await hub.aopen_local("room")
        misplaced = peer.push(MISPLACED)
        pushed = [peer.push(blocks(deletions=[(77, 1)])), peer.push(WAITING)]
        await done(peer.push(merge_updates(VALUE, AWAITED)))
        for each in pushed:
            await done(each)
        assert isinstance(misplaced.exception(0), UpdateRefusedError)
        await until(lambda: vector_of(hub).get(77) == 2)
        await assert_all_equal(hub, store, ada)
        assert listed([hub.rooms["room"].ydoc.get_update()]).count(None) == 2  # of three values


async def test_N2_300_misplaced_updates_are_removed_and_300_valid_stay_pending() -> None:
    store = UnreliableStore()
    misplaced = [blocks((1000 + n, 0, [child((5, 0)), child((5, 0))])) for n in range(300)]
    valid = [blocks((5000 + n, 1, [struct(NULL, (5000 + n, 0))])) for n in range(300)]
    async with Hub(store=store) as hub, connected(hub) as ada:
        peer = await hub.aopen_local("room")
        for bad, good in zip(misplaced, valid, strict=True):
            peer.push(bad)
            peer.push(good)
        await until_pending(hub, 600)
        async with watched(hub) as watch:
            await done(peer.push(VALUE))
            await until_pending(hub, 300)
        assert watch.longest < MAX_STALL
        await done(peer.push(blocks(*((5000 + n, 0, [struct(NULL)]) for n in range(300)))))
        await assert_all_equal(hub, store, ada)
        assert len(listed([hub.rooms["room"].ydoc.get_update()])) == 601


async def test_N2_chain_of_misplaced_updates_is_removed() -> None:
    """Each update contains the parent that shows the next one to be misplaced, and a misplaced struct itself."""
    chain = [
        blocks((200 - n, 0, [struct(TEXT)]), (1000 + n, 0, [child((201 - n, 0)), struct(NULL, (201 - n, 0))]))
        for n in range(1, 60)
    ]
    async with Hub() as hub, connected(hub) as ada:
        peer = await hub.aopen_local("room")
        for each in reversed(chain):
            peer.push(each)
        peer.push(WAITING)
        await done(peer.push(blocks((200, 0, [struct(TEXT)]))))
        await until_pending(hub)
        await done(peer.push(AWAITED))
        assert vector_of(hub).items() >= {200: 1, 141: 1, 77: 2}.items()
        assert ada.channel.closed_with is None


@pytest.mark.parametrize("seed", range(12))
async def test_N2_valid_updates_are_applied_in_any_order_beside_misplaced_ones(seed: int) -> None:
    randomness = random.Random(seed)
    valid = concurrent_updates(randomness)
    store = UnreliableStore()
    async with Hub(store=store) as hub:
        peer = await hub.aopen_local("room")
        mixed = [*valid, *(misplaced_structs(randomness, valid) for _ in range(60))]
        randomness.shuffle(mixed)
        pushed = {each: peer.push(each) for each in mixed}
        for each in valid:
            await done(pushed[each])
        await until(lambda: has_all(hub.rooms["room"].ydoc, valid))
        async with connected(hub) as late:
            await until(lambda: late.look() is not None and has_all(late.ydoc, valid))
    async with Hub(store=store) as hub:
        await hub.get_room("room")
        await until(lambda: has_all(hub.rooms["room"].ydoc, valid))


def has_all(ydoc: Doc[Any], valid: Sequence[bytes]) -> bool:
    reached = decode_state_vector(ydoc.get_state())
    return all(
        reached.get(replica, 0) >= clock for each in valid for replica, clock in check_update(each).items()
    )


def concurrent_updates(randomness: random.Random) -> list[bytes]:
    """Return updates that three replicas write into nested types, partly concurrently."""
    ydocs: list[Doc[Any]] = [Doc(client_id=number) for number in (11, 12, 13)]
    updates: list[bytes] = []
    for ydoc in ydocs:
        ydoc.get("tree", type=Map)
    for number in range(60):
        ydoc = randomness.choice(ydocs)
        if randomness.random() < 0.5:
            for update in updates:
                ydoc.apply_update(update)
        before = ydoc.get_state()
        tree = ydoc.get("tree", type=Map)
        key = f"k{randomness.randrange(6)}"
        child = tree.get(key)
        if isinstance(child, Map):
            child[f"n{randomness.randrange(4)}"] = number
        elif isinstance(child, Array):
            child.append(number)
        else:
            tree[key] = randomness.choice((Map({"a": 1}), Array([1]), "value"))
        updates.append(ydoc.get_update(before))
    return updates


def misplaced_structs(randomness: random.Random, valid: Sequence[bytes]) -> bytes:
    """Return structs of another replica. One may be misplaced, and one may depend on a later update."""
    clocks = {replica: clock for each in valid for replica, clock in check_update(each).items()}
    ends = list(clocks.items())
    replica, end = randomness.choice(ends)
    other, until_clock = randomness.choice(ends)
    other_replica = randomness.randrange(100, 2**31)
    structs = [
        struct(NULL, (other, randomness.randrange(until_clock))),
        child((replica, randomness.randrange(end))),
        struct(NULL),
    ]
    randomness.shuffle(structs)
    return blocks((other_replica, 0, structs))
