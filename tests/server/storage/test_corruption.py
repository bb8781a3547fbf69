"""Rule S4: a store whose file was damaged is recovered or refused, and never silently different.

The file of a store that was killed, its write-ahead log included, is damaged at a random place. What is then
loaded must be what was saved, or be reported: an error on opening or loading, or updates that were set aside.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from streamlit_crdt_server import SQLiteStore, StoreCorruptError, StoreError

pytestmark = pytest.mark.anyio

Rooms = dict[str, tuple[bytes, ...]]
FILES = ("rooms.db", "rooms.db-wal")


async def make_image(folder: Path, chance: random.Random) -> Rooms:
    """Write rooms, and leave in `folder` what a kill would: half of it in the file, half in the log."""
    live = folder / "live"
    live.mkdir(parents=True)
    async with SQLiteStore(live / "rooms.db") as store:
        await write(store, chance)
        with closing(sqlite3.connect(live / "rooms.db")) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        await write(store, chance)
        expected = {room: (await store.load(room)).updates for room in await store.rooms()}
        for path in (*FILES, "rooms.db-mark"):
            shutil.copy(live / path, folder / path)
    assert all((folder / path).stat().st_size > 10_000 for path in FILES)
    return expected


async def write(store: SQLiteStore, chance: random.Random) -> None:
    for room in ("ada", "bob", "cleo", "dora"):
        for _ in range(20):
            await store.append(room, chance.randbytes(chance.choice((20, 200, 200, 6000))))
    await store.compact("bob", chance.randbytes(20_000))
    await store.append("bob", b"after the compaction")


def flip(path: Path, chance: random.Random) -> str:
    content = bytearray(path.read_bytes())
    place = chance.randrange(min(200, len(content)) if chance.random() < 0.2 else len(content))
    content[place] ^= chance.randrange(1, 256)
    path.write_bytes(content)
    return f"byte {place} of {path.name} flipped"


def truncate(path: Path, chance: random.Random) -> str:
    content = path.read_bytes()
    length = chance.randrange(len(content))
    path.write_bytes(content[:length])
    return f"{path.name} cut to {length} of {len(content)} bytes"


async def judge(folder: Path, expected: Rooms) -> str:
    """Open the damaged store and say what became of it."""
    before = [(folder / path).read_bytes() for path in FILES]
    outcome = "whole"
    try:
        async with SQLiteStore(folder / "rooms.db") as store:
            for room in expected.keys() | set(await store.rooms()):
                outcome = max(outcome, await judge_room(store, room, expected), key=SEVERITY.index)
    except StoreError:
        assert [(folder / path).read_bytes() for path in FILES] == before, "a refused file was changed"
        return "refused"
    return outcome


SEVERITY = ("whole", "room refused", "reported", "silent")


async def judge_room(store: SQLiteStore, room: str, expected: Rooms) -> str:
    try:
        stored = await store.load(room)
    except StoreError:
        return "room refused"
    saved = expected.get(room, ())
    if stored.updates == saved:
        return "whole"
    is_told = stored.updates == tuple(update for update in saved if update in stored.updates)
    return "reported" if is_told and stored.set_aside == len(saved) - len(stored.updates) else "silent"


async def damage_repeatedly(tmp_path: Path, rounds: int, seed: int) -> Counter[str]:
    chance = random.Random(seed)
    expected = await make_image(tmp_path / "image", chance)
    outcomes: Counter[str] = Counter()
    for number in range(rounds):
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "image", folder, ignore=shutil.ignore_patterns("live"))
        injure: Callable[[Path, random.Random], str] = truncate if number % 4 == 0 else flip
        what = injure(folder / FILES[number % 3 == 0], chance)
        outcome = await judge(folder, expected)
        outcomes[outcome] += 1
        assert outcome != "silent", f"seed {seed}: {what}"
        shutil.rmtree(folder)
    print(f"damage, seed {seed}: {rounds} rounds, {dict(outcomes)}, silent {outcomes['silent']}")
    return outcomes


@pytest.mark.parametrize("rounds", [100, pytest.param(300, marks=pytest.mark.soak)])
async def test_S4_no_flipped_byte_and_no_cut_goes_unnoticed(tmp_path: Path, rounds: int) -> None:
    outcomes = await damage_repeatedly(tmp_path, rounds, seed=random.randrange(10**6))
    assert outcomes["refused"] and outcomes["reported"]


async def test_S4_a_damaged_update_is_kept_and_the_room_opens_without_it(tmp_path: Path) -> None:
    path = tmp_path / "rooms.db"
    async with SQLiteStore(path) as store:
        for update in (b"first update", b"second update", b"third update"):
            await store.append("room", update)
    path.write_bytes(path.read_bytes().replace(b"second", b"sEcond"))
    for _ in range(2):
        async with SQLiteStore(path) as store:
            stored = await store.load("room")
            assert stored.updates == (b"first update", b"third update")
            assert stored.set_aside == 1
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT room, bytes FROM set_aside").fetchall() == [
            ("room", b"sEcond update")
        ]


async def test_S4_a_room_with_an_update_missing_is_refused_and_others_are_served(tmp_path: Path) -> None:
    path = tmp_path / "rooms.db"
    async with SQLiteStore(path) as store:
        for room in ("harmed", "sound"):
            await store.append(room, b"one")
            await store.append(room, b"two")
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DELETE FROM updates WHERE room = 'harmed' AND bytes = ?", (b"one",))
    async with SQLiteStore(path) as store:
        for attempt in (store.load("harmed"), store.compact("harmed", b"state")):
            with pytest.raises(StoreCorruptError, match="missing"):
                await attempt
        await store.append("sound", b"three")
        assert (await store.load("sound")).updates == (b"one", b"two", b"three")


async def test_S4_a_log_that_lost_its_end_is_refused_and_opens_once_that_is_accepted(tmp_path: Path) -> None:
    expected = await make_image(tmp_path, random.Random(1))
    (tmp_path / "rooms.db-wal").unlink()
    with pytest.raises(StoreCorruptError, match=r"writes are missing.*delete .*rooms.db-mark"):
        async with SQLiteStore(tmp_path / "rooms.db"):
            pass
    (tmp_path / "rooms.db-mark").unlink()
    async with SQLiteStore(tmp_path / "rooms.db") as store:
        updates = (await store.load("ada")).updates
    assert updates == expected["ada"][:20]


@pytest.mark.parametrize("text", [b"", b"garbage", b"00000000000000000099 00000000\n", b"\xff" * 30])
async def test_S4_a_damaged_mark_refuses_nothing(tmp_path: Path, text: bytes) -> None:
    expected = await make_image(tmp_path, random.Random(2))
    (tmp_path / "rooms.db-mark").write_bytes(text)
    assert await judge(tmp_path, expected) == "whole"


async def test_S4_an_emptied_file_is_not_an_empty_store(tmp_path: Path) -> None:
    path = tmp_path / "rooms.db"
    async with SQLiteStore(path) as store:
        await store.append("room", b"update")
    path.write_bytes(b"")
    with pytest.raises(StoreCorruptError):
        async with SQLiteStore(path):
            pass


async def test_a_file_that_was_deleted_on_purpose_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "rooms.db"
    for _ in range(2):
        async with SQLiteStore(path) as store:
            assert not await store.rooms()
            await store.append("room", b"update")
        path.unlink()


async def test_S4_a_log_without_its_file_is_not_an_empty_store(tmp_path: Path) -> None:
    await make_image(tmp_path, random.Random(3))
    (tmp_path / "rooms.db").unlink()
    with pytest.raises(StoreCorruptError):
        async with SQLiteStore(tmp_path / "rooms.db"):
            pass


@pytest.mark.parametrize("content", [b"not a database at all" * 500, None])
async def test_S4_a_file_that_is_no_store_of_ours_is_refused_and_left_alone(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "rooms.db"
    if content is None:
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("CREATE TABLE accounts (owner TEXT)")
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(StoreCorruptError):
        async with SQLiteStore(path):
            pass
    assert path.read_bytes() == before


async def test_S4_damage_that_would_only_harm_later_writes_is_refused_as_well(tmp_path: Path) -> None:
    """The list of free pages: every room still reads, and the next write would go over somebody's page."""
    path = tmp_path / "rooms.db"
    async with SQLiteStore(path) as store:
        for _ in range(20):
            await store.append("room", bytes(6000))
        await store.compact("room", b"state")
    content = bytearray(path.read_bytes())
    free_pages = slice(36, 40)
    assert int.from_bytes(content[free_pages], "big") > 1
    content[free_pages] = (1).to_bytes(4, "big")
    path.write_bytes(content)
    with pytest.raises(StoreCorruptError):
        async with SQLiteStore(path):
            pass
