"""SurrogatePairs of two UTF-16 units, which a stock client may cut in two (rules S3 and N2)."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pycrdt import Array, Doc, Text, merge_updates

from streamlit_crdt_server import CloseCode, MemoryStore, Room, Store, protocol
from streamlit_crdt_server.errors import UpdateRefusedError
from streamlit_crdt_server.yjs.surrogate_pairs import SurrogatePairs
from tests.server.support.fake_channel import DEADLINE_S, FakeChannel, connected, until

pytestmark = pytest.mark.anyio

FIRST_HALF, SECOND_HALF = bytes.fromhex("000101010101"), bytes.fromhex("000101010201")
"""What stock Yjs sends for `text.delete(1, 1)` and `text.delete(2, 1)` in a text of replica 1."""

WITHIN = bytes.fromhex("01010700c4010101020178" + "00")
"""Replica 7 inserts "x" between units 1 and 2 of replica 1."""


def text_of(ydoc: Doc[Any]) -> str:
    return str(ydoc.get("t", type=Text))


def typed(*parts: str) -> list[bytes]:
    """The updates of replica 1, which types these one after the other."""
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
    """A room with somebody in it who sent some updates, all of which were applied and saved."""
    async with Room(store=store, name="room") as room, connected(room) as ada:
        await send(room, ada.channel, *updates)
        yield room, ada.channel


async def send(room: Room, channel: FakeChannel, *updates: bytes) -> None:
    for update in updates:
        channel.put(protocol.sync_update(update))
    await until(lambda: channel.incoming.empty() or channel.closed_with)
    await room.flush(DEADLINE_S)


def is_whole(room: Room) -> bool:
    copy: Doc[Any] = Doc()
    copy.apply_update(room.ydoc.get_update())
    return copy.get_state() == room.ydoc.get_state() and text_of(copy) == text_of(room.ydoc)


@pytest.mark.parametrize("half", [FIRST_HALF, SECOND_HALF])
@pytest.mark.parametrize("is_compacted", [False, True])
async def test_S3_who_deletes_half_a_character_deletes_it_and_edits_on(
    half: bytes, is_compacted: bool
) -> None:
    store = MemoryStore()
    first, second, third = typed("a👍bcd", "ZZ", "👍")
    async with opened(store, first, half, second) as (room, _):
        assert text_of(room.ydoc) == "abcdZZ"
        assert is_whole(room)
        if is_compacted:
            await room._room_log.compact(room.document.read_whole_state())
    async with opened(store, third) as (room, _):
        assert text_of(room.ydoc) == "abcdZZ👍"
        assert is_whole(room)


async def test_S3_who_deletes_half_a_character_is_told_that_it_is_gone() -> None:
    async with opened(MemoryStore(), *typed("a👍b")) as (room, channel):
        await send(room, channel, FIRST_HALF)
        await until(lambda: channel.sent[-1] == protocol.sync_update(bytes.fromhex("000101010102")))


async def test_S3_half_a_character_that_comes_and_goes_in_one_batch_is_mended() -> None:
    (update,) = typed("a👍b")
    for updates in ((update, FIRST_HALF), (merge_updates(update, FIRST_HALF),)):
        async with Room() as room, connected(room) as ada:
            peer = next(iter(room.peers))
            for part in updates:
                room.pipeline.submit(peer, part)
            await room.flush(DEADLINE_S)
            assert (text_of(room.ydoc), ada.channel.closed_with) == ("ab", None)
            assert is_whole(room)


async def test_S3_half_a_character_in_a_log_of_an_older_version_is_mended() -> None:
    store = MemoryStore()
    first, second = typed("a👍bcd", "ZZ")
    for update in (first, FIRST_HALF, second):
        await store.append("room", update)
    async with opened(store) as (room, _):
        assert text_of(room.ydoc) == "abcdZZ"
        assert is_whole(room)


async def test_N2_an_insertion_inside_a_character_is_refused_and_the_room_is_whole() -> None:
    async with opened(MemoryStore(), *typed("a👍b"), WITHIN) as (room, channel):
        assert channel.closed_with == CloseCode.MALFORMED
        assert text_of(room.ydoc) == "a👍b"
        assert is_whole(room)


async def test_N2_a_character_that_begins_in_what_the_room_has_already_is_refused() -> None:
    known, other = typed("ab")[0], typed("a👍")[0]
    async with opened(MemoryStore(), known, other) as (room, channel):
        assert channel.closed_with == CloseCode.MALFORMED
        assert is_whole(room)


async def test_other_edits_beside_such_characters_are_as_they_were() -> None:
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
    characters = SurrogatePairs()
    for update in updates:
        assert characters.repair(update)[0] is update
        characters.add(update)


def test_a_character_that_comes_late_is_known_as_well() -> None:
    characters = SurrogatePairs()
    early, late = typed("👍", "👍")
    characters.add(late)
    characters.add(early)
    characters.add(early)
    for deletion in ("000101010001", "000101010201"):
        mended, _ = characters.repair(bytes.fromhex(deletion))
        assert mended == bytes.fromhex(deletion[:-2] + "02")
    with pytest.raises(UpdateRefusedError):
        characters.repair(bytes.fromhex("01010700c4010001010178" + "00"))


async def test_S3_a_log_is_not_replaced_by_a_state_that_lacks_some_of_it(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        SurrogatePairs, "may_split", lambda self, update: False
    )  # as an unknown weakness would be
    store = MemoryStore()
    updates = [*typed("a👍bcd"), FIRST_HALF]
    async with opened(store, *updates) as (room, _):
        assert not is_whole(room)
        await room._room_log.compact(room.document.read_whole_state())
        await room._room_log.compact(room.document.read_whole_state())
    assert len((await store.load("room")).updates) >= 1
    assert sum(record.levelno == logging.ERROR for record in caplog.records) == 1
    async with opened(store) as (room, _):
        assert room.ydoc.get_state() == bytes.fromhex("010106")
