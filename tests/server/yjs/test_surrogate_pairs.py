"""Surrogate pairs, which a y-websocket client may split (rules S3 and N2)."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pycrdt import Array, Doc, Text, merge_updates

from streamlit_crdt_server import CloseCode, MemoryStore, Room, Store, protocol
from streamlit_crdt_server.errors import UpdateRefusedError
from streamlit_crdt_server.yjs.safe_apply import validate_update
from streamlit_crdt_server.yjs.surrogate_pairs import SurrogatePairs
from tests.server.support.fake_channel import DEADLINE_S, FakeChannel, connected, until

pytestmark = pytest.mark.anyio

FIRST_HALF, SECOND_HALF = bytes.fromhex("000101010101"), bytes.fromhex("000101010201")
"""Updates of Yjs for `text.delete(1, 1)` and `text.delete(2, 1)` in a text of replica 1."""

WITHIN = bytes.fromhex("01010700c4010101020178" + "00")
"""Replica 7 inserts "x" between units 1 and 2 of replica 1."""


def text_of(ydoc: Doc[Any]) -> str:
    return str(ydoc.get("t", type=Text))


def typed(*parts: str) -> list[bytes]:
    """Return the updates of replica 1, which appends `parts` one at a time."""
    ydoc: Doc[Any] = Doc(client_id=1)
    updates: list[bytes] = []
    text = ydoc.get("t", type=Text)
    subscription = ydoc.observe(lambda event: updates.append(event.update))
    for part in parts:
        text += part
    ydoc.unobserve(subscription)
    return updates


@asynccontextmanager
async def opened(store: Store, *updates: bytes) -> AsyncIterator[tuple[Room, FakeChannel]]:
    """Open a room with one client whose updates are applied and saved."""
    async with Room(store=store, name="room") as room, connected(room) as ada:
        await send(room, ada.channel, *updates)
        yield room, ada.channel


async def send(room: Room, channel: FakeChannel, *updates: bytes) -> None:
    for update in updates:
        channel.put(protocol.sync_update(update))
    await until(lambda: channel.incoming.empty() or channel.closed_with)
    await room.flush(DEADLINE_S)


def is_readable(room: Room) -> bool:
    copy: Doc[Any] = Doc()
    copy.apply_update(room.ydoc.get_update())
    return copy.get_state() == room.ydoc.get_state() and text_of(copy) == text_of(room.ydoc)


@pytest.mark.parametrize("half", [FIRST_HALF, SECOND_HALF])
@pytest.mark.parametrize("is_compacted", [False, True])
async def test_S3_deletion_of_half_a_pair_deletes_the_whole_pair(half: bytes, is_compacted: bool) -> None:
    store = MemoryStore()
    first, second, third = typed("a👍bcd", "ZZ", "👍")
    async with opened(store, first, half, second) as (room, _):
        assert text_of(room.ydoc) == "abcdZZ"
        assert is_readable(room)
        if is_compacted:
            await room._room_log.compact(room.document.read_whole_state())
    async with opened(store, third) as (room, _):
        assert text_of(room.ydoc) == "abcdZZ👍"
        assert is_readable(room)


async def test_S3_sender_of_half_a_deletion_receives_the_whole_deletion() -> None:
    async with opened(MemoryStore(), *typed("a👍b")) as (room, channel):
        await send(room, channel, FIRST_HALF)
        await until(lambda: channel.sent[-1] == protocol.sync_update(bytes.fromhex("000101010102")))


async def test_S3_pair_split_within_one_batch_is_repaired() -> None:
    (update,) = typed("a👍b")
    for updates in ((update, FIRST_HALF), (FIRST_HALF, update), (merge_updates(update, FIRST_HALF),)):
        async with Room() as room, connected(room) as ada:
            peer = next(iter(room.peers))
            for part in updates:
                room.pipeline.submit(peer, validate_update(part))
            await room.flush(DEADLINE_S)
            assert (text_of(room.ydoc), ada.channel.closed_with) == ("ab", None)
            assert is_readable(room)


async def test_S3_split_pair_in_an_old_log_is_repaired() -> None:
    store = MemoryStore()
    first, second = typed("a👍bcd", "ZZ")
    for update in (first, FIRST_HALF, second):
        await store.append("room", update)
    async with opened(store) as (room, _):
        assert text_of(room.ydoc) == "abcdZZ"
        assert is_readable(room)


async def test_N2_insertion_inside_a_pair_is_rejected() -> None:
    async with opened(MemoryStore(), *typed("a👍b"), WITHIN) as (room, channel):
        await until(lambda: channel.closed_with == CloseCode.MALFORMED)
        assert text_of(room.ydoc) == "a👍b"
        assert is_readable(room)


async def test_N2_pair_that_overlaps_known_content_is_rejected() -> None:
    known, other = typed("ab")[0], typed("a👍")[0]
    async with opened(MemoryStore(), known, other) as (room, channel):
        await until(lambda: channel.closed_with == CloseCode.MALFORMED)
        assert is_readable(room)


async def test_edits_beside_surrogate_pairs_are_unchanged() -> None:
    ydoc: Doc[Any] = Doc(client_id=1)
    updates: list[bytes] = []
    text = ydoc.get("t", type=Text)
    subscription = ydoc.observe(lambda event: updates.append(event.update))
    text += "👍👍"
    text.insert(4, "x")
    del text[0:4]
    text += "🎉"
    ydoc["list"] = Array(["👍", 1])
    ydoc.unobserve(subscription)
    pairs = SurrogatePairs()
    for update in updates:
        assert pairs.repair(update)[0] is update
        pairs.add(update)


def test_pairs_added_out_of_order_are_repaired() -> None:
    pairs = SurrogatePairs()
    early, late = typed("👍", "👍")
    pairs.add(late)
    pairs.add(early)
    pairs.add(early)
    for deletion in ("000101010001", "000101010201"):
        repaired, _ = pairs.repair(bytes.fromhex(deletion))
        assert repaired == bytes.fromhex(deletion[:-2] + "02")
    with pytest.raises(UpdateRefusedError):
        pairs.repair(bytes.fromhex("01010700c4010001010178" + "00"))


async def test_S3_log_is_not_compacted_to_an_incomplete_state(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        SurrogatePairs, "may_split", lambda self, update: False
    )  # simulates an undetected fault
    store = MemoryStore()
    updates = [*typed("a👍bcd"), FIRST_HALF]
    async with opened(store, *updates) as (room, _):
        assert not is_readable(room)
        await room._room_log.compact(room.document.read_whole_state())
        await room._room_log.compact(room.document.read_whole_state())
    assert len((await store.load("room")).updates) >= 1
    assert sum(record.levelno == logging.ERROR for record in caplog.records) == 1
    async with opened(store) as (room, _):
        assert room.ydoc.get_state() == bytes.fromhex("010106")
