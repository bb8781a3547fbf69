"""Contract of a store, as a test suite that every store passes.

The test module of a store subclasses `StoreContract` and provides the fixture `store`: a store that is not entered.
Entering it a second time simulates a restart of the server.
"""

from __future__ import annotations

import asyncio
import random

import pytest
from pycrdt import Array, Doc, Text

from streamlit_crdt_server.storage.store import RewritingStore, Store


def state_of(updates: tuple[bytes, ...]) -> tuple[bytes, str, list[object]]:
    """Return state vector, text and list of a document that has applied `updates`."""
    document: Doc[object] = Doc()
    for update in updates:
        document.apply_update(update)
    text, items = document.get("text", type=Text), document.get("list", type=Array)
    return document.get_state(), str(text), list(items)


def edits() -> list[bytes]:
    """Return updates that insert, delete and insert again."""
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
    """Tests of the contract."""

    async def test_S4_new_room_has_an_epoch_and_no_updates(self, store: Store) -> None:
        async with store:
            stored = await store.load("room")
        assert stored.updates == ()
        assert stored.set_aside == 0
        assert len(stored.epoch) == 32
        assert int(stored.epoch, 16)

    async def test_S3_load_returns_updates_in_the_order_of_their_append(self, store: Store) -> None:
        written = [bytes([250 - number]) * (number + 1) for number in range(200)]
        async with store:
            for update in written:
                await store.append("room", update)
            assert (await store.load("room")).updates == tuple(written)

    async def test_S3_load_after_compact_equals_load_with_deletions(self, store: Store) -> None:
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

    async def test_S3_updates_after_a_compaction_follow_it(self, store: Store) -> None:
        async with store:
            await store.append("room", b"one")
            await store.compact("room", b"state")
            await store.append("room", b"two")
            assert (await store.load("room")).updates == (b"state", b"two")
            await store.compact("room", b"later state")
            assert (await store.load("room")).updates == (b"later state",)

    async def test_S3_compact_creates_a_new_room(self, store: Store) -> None:
        async with store:
            await store.compact("room", b"state")
            assert (await store.load("room")).updates == (b"state",)

    async def test_S3_update_that_is_appended_twice_is_loaded_twice(self, store: Store) -> None:
        async with store:
            await store.append("room", b"same")
            await store.append("room", b"same")
            assert (await store.load("room")).updates == (b"same", b"same")

    async def test_S5_restart_keeps_all_rooms(self, store: Store) -> None:
        async with store:
            for update in edits():
                await store.append("one", update)
            await store.compact("two", b"state")
            await store.append("two", b"more")
            before = [await store.load(room) for room in ("one", "two", "three")]
        async with store:
            assert [await store.load(room) for room in ("one", "two", "three")] == before
            assert list(await store.rooms()) == ["one", "three", "two"]

    async def test_S5_restart_keeps_updates_of_any_bytes_and_size(self, store: Store) -> None:
        written = (b"", bytes(range(256)), b"\0" * 5_000_000, "ä\ud83d".encode("utf-8", "surrogatepass"))
        async with store:
            for update in written:
                await store.append("room", update)
        async with store:
            assert (await store.load("room")).updates == written

    async def test_S4_rooms_with_similar_names_stay_separate(self, store: Store) -> None:
        names = ["a", "A", "aa", "a.", "a-b", "a_b", "%", "a'b", "0", "00", "x" * 128]
        async with store:
            for name in names:
                await store.append(name, name.encode())
            assert list(await store.rooms()) == sorted(names)
            for name in names:
                assert (await store.load(name)).updates == (name.encode(),)

    async def test_S3_concurrent_rooms_keep_their_own_order(self, store: Store) -> None:
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

    async def test_epoch_is_stable_until_the_room_is_deleted(self, store: Store) -> None:
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

    async def test_delete_removes_updates_and_set_aside_updates(self, store: Store) -> None:
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

    async def test_written_lists_only_rooms_with_updates(self, store: Store) -> None:
        async with store:
            await store.load("loaded")
            await store.append("written", b"one")
            await store.append("damaged", b"two")
            await store.set_aside("damaged", b"two", "a test")
            await store.append("deleted", b"three")
            await store.delete("deleted")
        async with store:
            assert list(await store.written()) == ["damaged", "written"]

    async def test_S4_set_aside_removes_one_update_and_counts_it(self, store: Store) -> None:
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

    async def test_S4_store_works_after_a_cancelled_append(self, store: Store) -> None:
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

    async def test_N4_rewrite_replaces_log_and_epoch_until_the_room_is_deleted(self, store: Store) -> None:
        if not isinstance(store, RewritingStore):
            return
        async with store:
            await store.append("room", b"one")
            before = await store.load("room")
            await store.rewrite("room", b"fresh", b"the past")
            await store.append("room", b"two")
            after = await store.load("room")
            assert (after.updates, after.past) == ((b"fresh", b"two"), b"the past")
            assert before.past == b"" and after.epoch != before.epoch
        async with store:
            assert await store.load("room") == after
            await store.compact("room", b"state")
            assert (await store.load("room")).past == b"the past"
            await store.rewrite("room", b"fresher", b"")
            assert (await store.load("room")).past == b""
            await store.delete("room")
            new = await store.load("room")
            assert (new.updates, new.past) == ((), b"") and new.epoch not in (before.epoch, after.epoch)

    @pytest.mark.parametrize("seed", range(4))
    async def test_S3_random_calls_match_a_dict(self, store: Store, seed: int) -> None:
        rng = random.Random(seed)
        print(f"seed {seed}")
        expected: dict[str, list[bytes]] = {}
        for _ in range(4):
            async with store:
                for _ in range(50):
                    await self._call_at_random(store, expected, rng)
                assert list(await store.rooms()) == sorted(expected)
                for room, updates in expected.items():
                    assert list((await store.load(room)).updates) == updates

    async def _call_at_random(
        self, store: Store, expected: dict[str, list[bytes]], rng: random.Random
    ) -> None:
        room = rng.choice("abc")
        updates = expected.setdefault(room, [])
        match rng.choices(("append", "compact", "set aside", "delete"), (20, 3, 2, 1))[0]:
            case "append":
                updates.append(rng.randbytes(rng.randrange(300)))
                await store.append(room, updates[-1])
            case "compact":
                updates[:] = [rng.randbytes(100)]
                await store.compact(room, updates[0])
            case "set aside":
                update = rng.choice(updates or [b"?"])
                if update in updates:
                    updates.remove(update)
                await store.set_aside(room, update, "a test")
                await store.load(room)
            case "delete":
                del expected[room]
                await store.delete(room)
