"""Rule S4: a damaged store file is recovered or rejected, and never read as different content.

The file of a killed store, with its write-ahead log, is damaged at a random position. The loaded rooms must equal the
saved rooms, or the damage must be reported: by an error, or by updates that were set aside.
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


async def make_image(folder: Path, randomness: random.Random) -> Rooms:
    """Write rooms, and copy the files of the open store: half of the content is in the file, half in the log."""
    live = folder / "live"
    live.mkdir(parents=True)
    async with SQLiteStore(live / "rooms.db") as store:
        await write(store, randomness)
        with closing(sqlite3.connect(live / "rooms.db")) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        await write(store, randomness)
        expected = {room: (await store.load(room)).updates for room in await store.rooms()}
        for path in (*FILES, "rooms.db-mark"):
            shutil.copy(live / path, folder / path)
    assert all((folder / path).stat().st_size > 10_000 for path in FILES)
    return expected


async def write(store: SQLiteStore, randomness: random.Random) -> None:
    for room in ("ada", "bob", "cleo", "dora"):
        for _ in range(20):
            await store.append(room, randomness.randbytes(randomness.choice((20, 200, 200, 6000))))
    await store.compact("bob", randomness.randbytes(20_000))
    await store.append("bob", b"after the compaction")


def flip(path: Path, randomness: random.Random) -> str:
    content = bytearray(path.read_bytes())
    position = randomness.randrange(min(200, len(content)) if randomness.random() < 0.2 else len(content))
    content[position] ^= randomness.randrange(1, 256)
    path.write_bytes(content)
    return f"byte {position} of {path.name} flipped"


def truncate(path: Path, randomness: random.Random) -> str:
    content = path.read_bytes()
    length = randomness.randrange(len(content))
    path.write_bytes(content[:length])
    return f"{path.name} cut to {length} of {len(content)} bytes"


async def outcome_of(folder: Path, expected: Rooms) -> str:
    """Open the damaged store and return the outcome."""
    before = [(folder / path).read_bytes() for path in FILES]
    outcome = "intact"
    try:
        async with SQLiteStore(folder / "rooms.db") as store:
            for room in expected.keys() | set(await store.rooms()):
                outcome = max(outcome, await outcome_of_room(store, room, expected), key=SEVERITY.index)
    except StoreError:
        assert [(folder / path).read_bytes() for path in FILES] == before, "a rejected file was changed"
        return "rejected"
    return outcome


SEVERITY = ("intact", "room rejected", "reported", "silent")


async def outcome_of_room(store: SQLiteStore, room: str, expected: Rooms) -> str:
    try:
        stored = await store.load(room)
    except StoreError:
        return "room rejected"
    saved = expected.get(room, ())
    if stored.updates == saved:
        return "intact"
    is_partial = stored.updates == tuple(update for update in saved if update in stored.updates)
    return "reported" if is_partial and stored.set_aside == len(saved) - len(stored.updates) else "silent"


async def damage_repeatedly(tmp_path: Path, rounds: int, seed: int) -> Counter[str]:
    randomness = random.Random(seed)
    expected = await make_image(tmp_path / "image", randomness)
    outcomes: Counter[str] = Counter()
    for number in range(rounds):
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "image", folder, ignore=shutil.ignore_patterns("live"))
        damage: Callable[[Path, random.Random], str] = truncate if number % 4 == 0 else flip
        description = damage(folder / FILES[number % 3 == 0], randomness)
        outcome = await outcome_of(folder, expected)
        outcomes[outcome] += 1
        assert outcome != "silent", f"seed {seed}: {description}"
        shutil.rmtree(folder)
    print(f"damage, seed {seed}: {rounds} rounds, {dict(outcomes)}, silent {outcomes['silent']}")
    return outcomes


@pytest.mark.parametrize("rounds", [100, pytest.param(300, marks=pytest.mark.soak)])
async def test_S4_changed_byte_or_truncation_is_always_detected(tmp_path: Path, rounds: int) -> None:
    outcomes = await damage_repeatedly(tmp_path, rounds, seed=random.randrange(10**6))
    assert outcomes["rejected"] and outcomes["reported"]


async def test_S4_damaged_update_is_set_aside_and_the_room_opens(tmp_path: Path) -> None:
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


async def test_S4_room_with_missing_update_fails_and_other_rooms_open(tmp_path: Path) -> None:
    path = tmp_path / "rooms.db"
    async with SQLiteStore(path) as store:
        for room in ("damaged", "intact"):
            await store.append(room, b"one")
            await store.append(room, b"two")
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DELETE FROM updates WHERE room = 'damaged' AND bytes = ?", (b"one",))
    async with SQLiteStore(path) as store:
        for attempt in (store.load("damaged"), store.compact("damaged", b"state")):
            with pytest.raises(StoreCorruptError, match="missing"):
                await attempt
        await store.append("intact", b"three")
        assert (await store.load("intact")).updates == (b"one", b"two", b"three")


async def test_S4_log_without_its_end_fails_until_the_mark_is_deleted(tmp_path: Path) -> None:
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
async def test_S4_damaged_mark_does_not_prevent_opening(tmp_path: Path, text: bytes) -> None:
    expected = await make_image(tmp_path, random.Random(2))
    (tmp_path / "rooms.db-mark").write_bytes(text)
    assert await outcome_of(tmp_path, expected) == "intact"


async def test_S4_emptied_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "rooms.db"
    async with SQLiteStore(path) as store:
        await store.append("room", b"update")
    path.write_bytes(b"")
    with pytest.raises(StoreCorruptError):
        async with SQLiteStore(path):
            pass


async def test_deleted_store_is_created_again(tmp_path: Path) -> None:
    path = tmp_path / "rooms.db"
    for _ in range(2):
        async with SQLiteStore(path) as store:
            assert not await store.rooms()
            await store.append("room", b"update")
        path.unlink()


async def test_S4_write_ahead_log_without_its_file_is_an_error(tmp_path: Path) -> None:
    await make_image(tmp_path, random.Random(3))
    (tmp_path / "rooms.db").unlink()
    with pytest.raises(StoreCorruptError):
        async with SQLiteStore(tmp_path / "rooms.db"):
            pass


@pytest.mark.parametrize("content", [b"not a database at all" * 500, None])
async def test_S4_foreign_file_is_rejected_and_unchanged(tmp_path: Path, content: bytes | None) -> None:
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


async def test_S4_damaged_free_page_list_is_rejected(tmp_path: Path) -> None:
    """All rooms can be read, but the next write would overwrite a page in use."""
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
