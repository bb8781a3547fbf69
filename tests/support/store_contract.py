"""What every store keeps, as one suite that each of them passes; a test's name begins with its rule.

A store's test module subclasses `StoreContract` and gives the fixture `store`: a store that is not entered.
Entering it a second time stands for the next start of the server.
"""

from __future__ import annotations

import asyncio
import random

import pytest
from pycrdt import Array, Doc, Text

from streamlit_crdt_server.storage.store import Store


def state_of(updates: tuple[bytes, ...]) -> tuple[bytes, str, list[object]]:
    """Return what a replica shows that has applied `updates`, and its state, deletions included."""
    document: Doc[object] = Doc()
    for update in updates:
        document.apply_update(update)
    text, items = document.get("text", type=Text), document.get("list", type=Array)
    return document.get_state(), str(text), list(items)


def edits() -> list[bytes]:
    """Return the updates of somebody who writes, deletes and writes again."""
    document: Doc[object] = Doc(client_id=7)
    updates: list[bytes] = []
    subscription = document.observe(lambda event: updates.append(event.update))
    text, items = document.get("text", type=Text), document.get("list", type=Array)
    text += "a sentence that is about to be changed"
    items.extend([1, 2, 3])
    del text[2:10]
    del items[1]
    text.insert(2, "line")
    document.unobserve(subscription)
    return updates


class StoreContract:
    """The suite."""

    async def test_S4_a_room_that_is_new_has_an_epoch_and_nothing_else(self, store: Store) -> None:
        async with store:
            stored = await store.load("room")
        assert stored.updates == ()
        assert stored.set_aside == 0
        assert len(stored.epoch) == 32
        assert int(stored.epoch, 16)

    async def test_S3_updates_come_back_in_the_order_in_which_they_were_appended(self, store: Store) -> None:
        written = [bytes([250 - number]) * (number + 1) for number in range(200)]
        async with store:
            for update in written:
                await store.append("room", update)
            assert (await store.load("room")).updates == tuple(written)

    async def test_S3_compact_and_load_equals_load_deletions_included(self, store: Store) -> None:
        async with store:
            for update in edits():
                await store.append("room", update)
            before = await store.load("room")
            replica: Doc[object] = Doc()
            for update in before.updates:
                replica.apply_update(update)
            await store.compact("room", replica.get_update())
            after = await store.load("room")
        assert len(after.updates) == 1 < len(before.updates)
        assert state_of(after.updates) == state_of(before.updates)

    async def test_S3_what_comes_after_a_compaction_is_appended_to_it(self, store: Store) -> None:
        async with store:
            await store.append("room", b"one")
            await store.compact("room", b"state")
            await store.append("room", b"two")
            assert (await store.load("room")).updates == (b"state", b"two")
            await store.compact("room", b"later state")
            assert (await store.load("room")).updates == (b"later state",)

    async def test_S3_a_room_may_begin_with_a_compaction(self, store: Store) -> None:
        async with store:
            await store.compact("room", b"state")
            assert (await store.load("room")).updates == (b"state",)

    async def test_S3_an_update_that_is_appended_again_is_there_twice(self, store: Store) -> None:
        async with store:
            await store.append("room", b"same")
            await store.append("room", b"same")
            assert (await store.load("room")).updates == (b"same", b"same")

    async def test_S5_everything_is_there_at_the_next_start(self, store: Store) -> None:
        async with store:
            for update in edits():
                await store.append("one", update)
            await store.compact("two", b"state")
            await store.append("two", b"more")
            before = [await store.load(room) for room in ("one", "two", "three")]
        async with store:
            assert [await store.load(room) for room in ("one", "two", "three")] == before
            assert list(await store.rooms()) == ["one", "three", "two"]

    async def test_S5_bytes_of_any_value_and_size_come_back_as_they_were(self, store: Store) -> None:
        written = (b"", bytes(range(256)), b"\0" * 5_000_000, "ä\ud83d".encode("utf-8", "surrogatepass"))
        async with store:
            for update in written:
                await store.append("room", update)
        async with store:
            assert (await store.load("room")).updates == written

    async def test_S4_rooms_whose_names_are_alike_are_not_mixed_up(self, store: Store) -> None:
        names = ["a", "A", "aa", "a.", "a-b", "a_b", "%", "a'b", "0", "00", "x" * 128]
        async with store:
            for name in names:
                await store.append(name, name.encode())
            assert list(await store.rooms()) == sorted(names)
            for name in names:
                assert (await store.load(name)).updates == (name.encode(),)

    async def test_S3_rooms_that_write_at_once_keep_their_own_order(self, store: Store) -> None:
        async def write(room: str) -> None:
            for number in range(50):
                await store.append(room, f"{room} {number}".encode())
                if number == 30:
                    await store.compact(room, f"{room} state".encode())

        rooms = [f"room{number}" for number in range(20)]
        async with store:
            await asyncio.gather(*map(write, rooms))
            for room in rooms:
                expected = (f"{room} state", *(f"{room} {number}" for number in range(31, 50)))
                assert (await store.load(room)).updates == tuple(text.encode() for text in expected)

    async def test_the_epoch_stays_until_the_room_is_deleted(self, store: Store) -> None:
        async with store:
            await store.append("room", b"one")
            epoch = (await store.load("room")).epoch
            await store.append("room", b"two")
            await store.compact("room", b"state")
            await store.set_aside("room", b"state", "a test")
            assert (await store.load("room")).epoch == epoch
            assert (await store.load("another")).epoch != epoch
        async with store:
            assert (await store.load("room")).epoch == epoch
            await store.delete("room")
            assert (await store.load("room")).epoch != epoch

    async def test_a_deleted_room_is_forgotten_with_all_that_was_set_aside(self, store: Store) -> None:
        async with store:
            for update in (b"one", b"two"):
                await store.append("room", update)
            await store.append("another", b"three")
            await store.set_aside("room", b"one", "a test")
            await store.delete("room")
            await store.delete("never there")
            assert list(await store.rooms()) == ["another"]
            stored = await store.load("room")
            assert (stored.updates, stored.set_aside) == ((), 0)
            assert (await store.load("another")).updates == (b"three",)

    async def test_rooms_that_hold_nothing_are_told_from_those_that_do(self, store: Store) -> None:
        async with store:
            await store.load("looked at")
            await store.append("written", b"one")
            await store.append("damaged", b"two")
            await store.set_aside("damaged", b"two", "a test")
            await store.append("deleted", b"three")
            await store.delete("deleted")
        async with store:
            assert list(await store.written()) == ["damaged", "written"]

    async def test_S4_an_update_that_is_set_aside_is_counted_and_no_other_goes(self, store: Store) -> None:
        async with store:
            for update in (b"one", b"poison", b"two", b"poison"):
                await store.append("room", update)
            await store.set_aside("room", b"poison", "a test")
            await store.set_aside("room", b"not there", "a test")
            stored = await store.load("room")
            assert (stored.updates, stored.set_aside) == ((b"one", b"two", b"poison"), 1)
            await store.compact("room", b"state")
        async with store:
            stored = await store.load("room")
            assert (stored.updates, stored.set_aside) == ((b"state",), 1)

    async def test_S4_who_stops_waiting_leaves_a_store_that_works(self, store: Store) -> None:
        async with store:
            for number in range(20):
                waiting = asyncio.ensure_future(store.append("room", bytes([number])))
                await asyncio.sleep(0)
                waiting.cancel()
                await asyncio.wait([waiting])
            await store.append("room", b"last")
            updates = (await store.load("room")).updates
        assert updates[-1] == b"last"
        assert list(updates[:-1]) == sorted(set(updates[:-1]))

    @pytest.mark.parametrize("seed", range(4))
    async def test_S3_random_calls_leave_what_a_plain_dict_would_hold(self, store: Store, seed: int) -> None:
        chance = random.Random(seed)
        print(f"seed {seed}")
        expected: dict[str, list[bytes]] = {}
        for _ in range(4):
            async with store:
                for _ in range(50):
                    await self._do_something(store, expected, chance)
                assert list(await store.rooms()) == sorted(expected)
                for room, updates in expected.items():
                    assert list((await store.load(room)).updates) == updates

    async def _do_something(
        self, store: Store, expected: dict[str, list[bytes]], chance: random.Random
    ) -> None:
        room = chance.choice("abc")
        updates = expected.setdefault(room, [])
        match chance.choices(("append", "compact", "set aside", "delete"), (20, 3, 2, 1))[0]:
            case "append":
                updates.append(chance.randbytes(chance.randrange(300)))
                await store.append(room, updates[-1])
            case "compact":
                updates[:] = [chance.randbytes(100)]
                await store.compact(room, updates[0])
            case "set aside":
                update = chance.choice(updates or [b"?"])
                if update in updates:
                    updates.remove(update)
                await store.set_aside(room, update, "a test")
                await store.load(room)
            case "delete":
                del expected[room]
                await store.delete(room)
