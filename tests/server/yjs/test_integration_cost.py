"""Integration cost of an update, for its room and for all rooms of the process (rule N2)."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from pycrdt import Array, Doc, Text, merge_updates

from streamlit_crdt_server import CloseCode, MemoryStore, Room, UpdateRefusedError, protocol
from streamlit_crdt_server.yjs import integration_cost
from streamlit_crdt_server.yjs.integration_cost import count_steps
from streamlit_crdt_server.yjs.lib0 import encode_varuint
from streamlit_crdt_server.yjs.safe_apply import validate_update
from streamlit_crdt_server.yjs.structs import merge_structs
from streamlit_crdt_server.yjs.update_decoder import read_update_meta
from tests.server.support.expensive_updates import (
    ARRAY,
    NULL,
    competing_structs,
    encode,
    row,
    row_and_competitors,
    struct,
)
from tests.server.support.fake_channel import connected, until

pytestmark = pytest.mark.anyio

MAX_CPU_S = 0.5
"""CPU seconds of this thread, on any machine. Without protection each case takes 2 s or more, or 0.3 s for a tenth."""


def cpu_s(action: Callable[[], object]) -> float:
    started_at = time.thread_time()
    action()
    return time.thread_time() - started_at


def state_after(*updates: bytes) -> bytes:
    ydoc: Doc[Any] = Doc()
    for update in updates:
        ydoc.apply_update(update)
    return ydoc.get_update()


def appended(count: int) -> list[bytes]:
    """Return the updates of a replica that appends to a list, one value at a time."""
    ydoc: Doc[Any] = Doc(client_id=7)
    updates: list[bytes] = []
    values = ydoc.get("t", type=Array)
    subscription = ydoc.observe(lambda event: updates.append(event.update))
    for number in range(count):
        values.append(number)
    ydoc.unobserve(subscription)
    return updates


@pytest.mark.parametrize(
    "update", [encode([row(10_000)]), row_and_competitors(10_000)], ids=["row", "row and competitors"]
)
def test_N2_row_of_ten_thousand_structs_is_merged_in_validation(update: bytes) -> None:
    merged = validate_update(update)
    assert merged.ends[1] == 10_000
    took_s = cpu_s(lambda: Doc[Any]().apply_update(merged.data))
    assert took_s < MAX_CPU_S


async def test_N2_row_of_ten_thousand_structs_does_not_stall_the_room() -> None:
    async with Room() as room, connected(room) as mallory:
        longest_s = 0.0
        mallory.channel.put(protocol.sync_update(row_and_competitors(10_000)))
        apply = room.pipeline._apply

        async def timed(batch: Any) -> Any:
            nonlocal longest_s
            started_at = time.thread_time()
            applied = await apply(batch)
            longest_s = max(longest_s, time.thread_time() - started_at)
            return applied

        room.pipeline._apply = timed  # type: ignore[method-assign]
        await until(lambda: len(room.ydoc.get("t", type=Array)) == 20_000)
        assert longest_s < MAX_CPU_S


async def test_N2_update_with_competing_structs_is_rejected() -> None:
    async with Room() as room, connected(room) as mallory:
        mallory.channel.put(protocol.sync_update(competing_structs(1500)))
        await until(lambda: mallory.channel.closed_with == CloseCode.MALFORMED)
        assert room.ydoc.get_state() == b"\0"


def test_N2_accepted_update_is_applied_within_the_budget() -> None:
    largest = 0.0
    for count in range(200, 2000, 100):
        update = competing_structs(count)
        try:
            update = validate_update(update).data
        except UpdateRefusedError:
            break
        largest = cpu_s(lambda update=update: Doc[Any]().apply_update(update))
    assert count > 200
    assert largest < MAX_CPU_S / 2


@pytest.mark.parametrize("replicas", [1, 2, 20])
@pytest.mark.parametrize("kind", ["anywhere", "at the top", "at the end"])
def test_concurrent_edits_of_a_list_are_never_rejected(replicas: int, kind: str) -> None:
    randomness = random.Random(5)
    ydocs: list[Doc[Any]] = [Doc(client_id=randomness.randrange(1, 2**31)) for _ in range(replicas)]
    room: Doc[Any] = Doc()
    for number in range(3000):
        ydoc = randomness.choice(ydocs)
        values = ydoc.get("t", type=Array)
        at = {"anywhere": randomness.randint(0, len(values)), "at the top": 0, "at the end": len(values)}[
            kind
        ]
        values.insert(at, number)
        if randomness.random() < 0.7:
            room.apply_update(ydoc.get_update(room.get_state()))
            ydoc.apply_update(room.get_update(ydoc.get_state()))
    update = validate_update(room.get_update()).data
    copy: Doc[Any] = Doc()
    copy.apply_update(update)
    assert copy.get("t", type=Array).to_py() == room.get("t", type=Array).to_py()


def test_large_paste_is_accepted() -> None:
    ydoc: Doc[Any] = Doc()
    ydoc["text"], ydoc["list"] = Text("line\n" * 200_000), Array(list(range(2000)))
    with ydoc.transaction():
        for number in range(3000):
            ydoc["list"].insert(0, {"row": number})
    validate_update(ydoc.get_update())


def test_merged_structs_give_the_same_document() -> None:
    parts = appended(600)
    update = merge_updates(*parts, b"\0\1\7\2\5\3\x80\2\1")  # deletes 5 to 7, and 256
    merged = merge_structs(update)
    assert len(merged) < 0.6 * len(update)
    assert state_after(merged) == state_after(update)
    assert read_update_meta(merged).reach == read_update_meta(update).reach


@pytest.mark.parametrize(
    "content",
    [NULL, (4, b"\1a"), (4, "\3\N{EURO SIGN}".encode()), (1, b"\2"), ARRAY, (5, b"\2{}"), (6, b"\1b\4true")],
)
def test_structs_of_each_content_are_merged_as_by_pycrdt(content: tuple[int, bytes]) -> None:
    units = 2 if content[0] == 1 else 1
    structs = [struct(content, (1, clock * units - 1) if clock else None) for clock in range(400)]
    update = encode([(1, [*structs[:300], b"\0\3", b"\0\4", *structs[:1]])])
    assert state_after(merge_structs(update)) == state_after(update)


def test_values_of_one_key_are_not_merged() -> None:
    entries = [
        b"\x28\1\1t\1k\1\x7d\1",
        *(b"\xa8\1" + encode_varuint(clock) + b"\1\x7d\2" for clock in range(300)),
    ]
    update = encode([(1, entries)])
    assert state_after(merge_structs(update)) == state_after(update)


async def test_log_of_ten_thousand_short_updates_loads_within_a_second() -> None:
    store = MemoryStore()
    updates = appended(10_000)
    for update in updates[:5000]:
        await store.append("room", update)
    await store.append(
        "room", merge_updates(*(merge_updates(*updates[at : at + 50]) for at in range(5000, 10_000, 50)))
    )
    started_at = time.thread_time()
    async with Room(store=store, name="room") as room:
        assert len(room.ydoc.get("t", type=Array)) == 10_000
        assert time.thread_time() - started_at < 2 * MAX_CPU_S


def test_count_steps_counts_competing_structs_up_to_its_limit() -> None:
    meta = read_update_meta(competing_structs(100))
    assert 3000 < count_steps(meta, 10**6) < 20_000
    with pytest.raises(ValueError, match="compete"):
        count_steps(meta, 1000)
    assert count_steps(read_update_meta(encode([row(5000, ARRAY)])), 0) == 0


def test_structs_that_depend_on_each_other_cost_no_steps() -> None:
    cycle = encode([(1, [struct(ARRAY, (2, 0))]), (2, [struct(ARRAY, (1, 0))])])
    assert count_steps(read_update_meta(cycle), 0) == 0
    with pytest.raises(UpdateRefusedError, match="circle"):
        validate_update(cycle)


def test_update_of_many_keys_is_not_simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integration_cost, "count_steps", lambda meta, max_steps: pytest.fail("simulated"))
    entries = [b"\x28\1\1t\4%04d\1\x7e" % number for number in range(5000)]
    validate_update(encode([(1, entries)]))
