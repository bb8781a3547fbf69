"""Updates that a document takes in part, or not once what they wait for is there (rule N2)."""

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
"""In units, see `stalls`: it is one."""

AWAITED = blocks((77, 0, [struct(NULL)]))
WAITING = blocks((77, 1, [struct(NULL, (77, 0))]))
"""What somebody honest sent, the second one first."""


async def done(future: Future[None]) -> None:
    await asyncio.wait_for(asyncio.wrap_future(future), DEADLINE_S)


def vector_of(hub: Hub) -> dict[int, int]:
    return decode_state_vector(hub.rooms["room"].ydoc.get_state())


def listed(updates: Sequence[bytes]) -> Any:
    ydoc: Doc[Any] = Doc()
    for each in updates:
        ydoc.apply_update(each)
    return ydoc.get("t", type=Array).to_py()


async def all_agree(hub: Hub, store: UnreliableStore, client: Client) -> None:
    """Fail unless the document, the log and a client that was there all the time hold the same."""
    room = hub.rooms["room"]
    assert await room.flush(DEADLINE_S)
    await until(lambda: client.look() is not None and held(client.ydoc) == held(room.ydoc))
    copy: Doc[Any] = Doc()
    for each in (await store.load("room")).updates:
        copy.apply_update(each)
    assert held(copy) == held(room.ydoc)
    assert client.channel.closed_with is None


def held(ydoc: Doc[Any]) -> tuple[Any, ...]:
    """How far a document reaches, and what is in it for everybody: nothing that comes after something missing."""
    reached = decode_state_vector(ydoc.get_state())
    deleted = ydoc.get_update(ydoc.get_state())
    return (
        {replica: clock for replica, clock in reached.items() if clock},
        deleted,
        ydoc.get("tree", type=Map).to_py(),
    )


async def test_N2_whose_update_lies_in_a_value_is_closed_and_nobody_else_notices() -> None:
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
        await all_agree(hub, store, ada)
        assert hub.rooms["room"].ydoc is loaded
        assert ada.channel.closed_with is None


async def test_N2_a_log_with_an_update_that_lies_in_a_value_opens_with_all_else_of_it() -> None:
    store = UnreliableStore()
    await store.append("room", VALUE)
    await store.append("room", MISPLACED)
    async with Hub(store=store) as hub, connected(hub) as ada:
        ada.edit("x", 1)
        await until(lambda: ada.look() == {"x": 1})
        assert "a" in listed([hub.rooms["room"].ydoc.get_update()])
        await all_agree(hub, store, ada)


async def waits(hub: Hub, count: int = 1) -> None:
    await until(lambda: len(hub.rooms["room"].document.applied.pending) == count)


async def settled(hub: Hub) -> None:
    await until(lambda: not hub.rooms["room"].document.applied.needs_replay)


async def test_N2_what_waits_and_proves_to_be_false_is_thrown_out_and_whoever_proves_it_is_accepted() -> None:
    store = UnreliableStore()
    async with Hub(store=store) as hub, connected(hub) as ada, connected(hub) as mallory:
        peer = await hub.aopen_local("room")
        loaded = hub.rooms["room"].ydoc
        mallory.channel.put(protocol.sync_update(MISPLACED))
        await waits(hub)
        await done(peer.push(WAITING))  # honest, and not complete either
        await done(peer.push(VALUE))
        await until(lambda: mallory.channel.closed_with == CloseCode.MALFORMED)
        await settled(hub)
        await all_agree(hub, store, ada)
        assert (await store.load("room")).set_aside == 1
        await done(peer.push(AWAITED))
        assert 77 in vector_of(hub)
        assert vector_of(hub)[77] == 2
        await all_agree(hub, store, ada)
        assert hub.rooms["room"].ydoc is loaded
        assert ada.channel.closed_with is None


async def test_N2_a_log_that_proves_one_of_its_updates_false_opens_without_that_one() -> None:
    store = UnreliableStore()
    for each in (MISPLACED, WAITING, VALUE):
        await store.append("room", each)
    async with Hub(store=store) as hub, connected(hub) as ada:
        ada.edit("x", 1)
        await until(lambda: ada.look() == {"x": 1})
        await settled(hub)
        await all_agree(hub, store, ada)
        await until(lambda: hub.rooms["room"].persister.is_idle)
        assert (await store.load("room")).set_aside == 1
        await done((await hub.aopen_local("room")).push(AWAITED))
        await all_agree(hub, store, ada)
        assert vector_of(hub)[77] == 2
    async with Hub(store=store) as hub:
        await hub.get_room("room")
        await settled(hub)
        assert vector_of(hub).items() >= {5: 1, 77: 2}.items()


async def test_S5_what_proves_false_while_the_store_fails_takes_nothing_along_that_is_true() -> None:
    store = UnreliableStore()
    async with Hub(store=store) as hub, connected(hub) as ada:
        peer = await hub.aopen_local("room")
        await done(peer.push(WAITING))
        store.can_write = False
        pushed = [peer.push(each) for each in (MISPLACED, blocks(deletions=[(77, 1)]), VALUE)]
        await until(lambda: 5 in vector_of(hub) and hub.rooms["room"].is_saving_failing)
        await settled(hub)
        assert not any(each.done() for each in pushed)
        store.can_write = True
        for each in pushed:
            await done(each)
        await all_agree(hub, store, ada)
    async with Hub(store=store) as hub, connected(hub) as ada:
        await done((await hub.aopen_local("room")).push(AWAITED))
        await all_agree(hub, store, ada)
        assert vector_of(hub).items() >= {5: 1, 77: 2}.items()
        assert (
            listed([hub.rooms["room"].ydoc.get_update()]).count(None) == 2
        )  # one of three values was deleted
        assert (await store.load("room")).set_aside == 1


async def test_N2_a_row_of_the_log_that_was_merged_from_true_and_false_updates_keeps_the_true_ones() -> None:
    store = UnreliableStore()
    await store.append("room", merge_updates(MISPLACED, WAITING, VALUE, Client(FakeChannel()).set("x", 1)))
    async with Hub(store=store) as hub, connected(hub) as ada:
        await done((await hub.aopen_local("room")).push(AWAITED))
        await until(lambda: ada.look() == {"x": 1} and vector_of(hub).get(77) == 2)
        await settled(hub)
        await all_agree(hub, store, ada)
        assert (await store.load("room")).set_aside == 1


async def test_N2_a_deletion_that_waited_beside_a_false_update_is_made_all_the_same() -> None:
    store = UnreliableStore()
    async with Hub(store=store) as hub, connected(hub) as ada:
        peer = await hub.aopen_local("room")
        await done(peer.push(MISPLACED))
        await done(peer.push(blocks(deletions=[(77, 1)])))
        await done(peer.push(WAITING))
        await done(peer.push(merge_updates(VALUE, AWAITED)))
        await settled(hub)
        await until(lambda: vector_of(hub).get(77) == 2)
        await all_agree(hub, store, ada)
        assert listed([hub.rooms["room"].ydoc.get_update()]).count(None) == 2  # of three values


async def test_N2_of_many_that_wait_and_prove_false_all_are_found_and_what_is_true_goes_on_waiting() -> None:
    store = UnreliableStore()
    liars = [blocks((1000 + n, 0, [child((5, 0)), child((5, 0))])) for n in range(300)]
    true = [blocks((5000 + n, 1, [struct(NULL, (5000 + n, 0))])) for n in range(300)]
    async with Hub(store=store) as hub, connected(hub) as ada:
        peer = await hub.aopen_local("room")
        for false, honest in zip(liars, true, strict=True):
            peer.push(false)
            await done(peer.push(honest))
        async with watched(hub) as watch:
            await done(peer.push(VALUE))
            await settled(hub)
            await waits(hub, 300)
        assert watch.worst < MAX_STALL
        await done(peer.push(blocks(*((5000 + n, 0, [struct(NULL)]) for n in range(300)))))
        await all_agree(hub, store, ada)
        assert len(listed([hub.rooms["room"].ydoc.get_update()])) == 601


async def test_N2_what_proves_false_only_once_another_false_one_is_thrown_out_is_found_as_well() -> None:
    """Each of these brings what proves the next one false, beside what is false itself."""
    chain = [
        blocks((200 - n, 0, [struct(TEXT)]), (1000 + n, 0, [child((201 - n, 0)), struct(NULL, (201 - n, 0))]))
        for n in range(1, 60)
    ]
    async with Hub() as hub, connected(hub) as ada:
        peer = await hub.aopen_local("room")
        await asyncio.gather(*(done(peer.push(each)) for each in reversed(chain)))
        await done(peer.push(WAITING))
        await done(peer.push(blocks((200, 0, [struct(TEXT)]))))
        await settled(hub)
        await waits(hub)
        await done(peer.push(AWAITED))
        assert vector_of(hub).items() >= {200: 1, 141: 1, 77: 2}.items()
        assert ada.channel.closed_with is None


@pytest.mark.parametrize("seed", range(12))
async def test_N2_what_is_true_gets_in_in_any_order_and_whatever_waits_beside_it(seed: int) -> None:
    randomness = random.Random(seed)
    true = written_by_three(randomness)
    store = UnreliableStore()
    async with Hub(store=store) as hub:
        peer = await hub.aopen_local("room")
        mixed = [*true, *(lie(randomness, true) for _ in range(60))]
        randomness.shuffle(mixed)
        for each in mixed:
            pushed = peer.push(each)
            if each in true:
                await done(pushed)
        await until(lambda: has_all(hub.rooms["room"].ydoc, true))
        async with connected(hub) as late:
            await until(lambda: late.look() is not None and has_all(late.ydoc, true))
    async with Hub(store=store) as hub:
        await hub.get_room("room")
        await until(lambda: has_all(hub.rooms["room"].ydoc, true))


def has_all(ydoc: Doc[Any], true: Sequence[bytes]) -> bool:
    reached = decode_state_vector(ydoc.get_state())
    return all(
        reached.get(replica, 0) >= clock for each in true for replica, clock in check_update(each).items()
    )


def written_by_three(randomness: random.Random) -> list[bytes]:
    """What three people write into nested types, some of it in ignorance of each other."""
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


def lie(randomness: random.Random, true: Sequence[bytes]) -> bytes:
    """Structs of a stranger, of which one may lie in what is no shared type, and may wait for what comes later."""
    clocks = {replica: clock for each in true for replica, clock in check_update(each).items()}
    known = list(clocks.items())
    replica, end = randomness.choice(known)
    other, until_clock = randomness.choice(known)
    stranger = randomness.randrange(100, 2**31)
    structs = [
        struct(NULL, (other, randomness.randrange(until_clock))),
        child((replica, randomness.randrange(end))),
        struct(NULL),
    ]
    randomness.shuffle(structs)
    return blocks((stranger, 0, structs))
