"""Rule S4: a damaged store file is recovered or rejected, and never read as different content.

Random damages of all files of a store are in `tests/faults/damaged_files.py`.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path

import pytest

from streamlit_crdt_server import SQLiteStore, StoreCorruptError, StoreVersionError
from streamlit_crdt_server.storage.sqlite_log import VERSION
from tests.faults.damaged_files import STORE, Image, copy_files, make_image, outcome_of

pytestmark = pytest.mark.anyio

MARKS = (f"{STORE}-mark", f"{STORE}-mark-copy")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """A killed store: half of its content is in the file, half in the write-ahead log."""
    folder = tmp_path_factory.mktemp("image")
    return asyncio.run(make_image(folder, random.Random(1), "killed store"))


@pytest.fixture
def image(written: Image, tmp_path: Path) -> Image:
    """The killed store, whose files are copied into the folder of the test."""
    copy_files(written.files / STORE, tmp_path)
    return written


async def make_store(path: Path, updates: tuple[bytes, ...] = (b"update",)) -> None:
    async with SQLiteStore(path) as store:
        for update in updates:
            await store.append("room", update)


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


async def test_S4_log_without_its_end_is_an_error(image: Image, tmp_path: Path) -> None:
    (tmp_path / f"{STORE}-wal").unlink()
    with pytest.raises(StoreCorruptError, match=r"last [0-9]+ writes are missing"):
        async with SQLiteStore(tmp_path / STORE):
            pass


DAMAGED_MARKS = [b"", b"garbage", b"00000000000000000099 00000000\n", b"\xff" * 30, bytes(64)]


@pytest.mark.parametrize("text", DAMAGED_MARKS)
async def test_S4_one_damaged_mark_does_not_prevent_opening(
    image: Image, tmp_path: Path, text: bytes
) -> None:
    (tmp_path / MARKS[0]).write_bytes(text)
    assert await outcome_of(tmp_path, image.rooms) == "intact"


@pytest.mark.parametrize("text", DAMAGED_MARKS)
@pytest.mark.parametrize("mark", MARKS)
async def test_S4_log_without_its_end_and_one_mark_is_an_error(
    image: Image, tmp_path: Path, mark: str, text: bytes
) -> None:
    (tmp_path / mark).write_bytes(text)
    wal = tmp_path / f"{STORE}-wal"
    wal.write_bytes(wal.read_bytes()[:-9_000])
    with pytest.raises(StoreCorruptError, match="writes are missing"):
        async with SQLiteStore(tmp_path / STORE):
            pass


@pytest.mark.parametrize("text", DAMAGED_MARKS)
async def test_S4_two_damaged_marks_and_a_log_are_an_error(image: Image, tmp_path: Path, text: bytes) -> None:
    for mark in MARKS:
        (tmp_path / mark).write_bytes(text)
    for _ in range(2):
        with pytest.raises(StoreCorruptError, match="high-water mark"):
            async with SQLiteStore(tmp_path / STORE):
                pass


async def test_S4_marks_of_another_store_are_an_error(image: Image, tmp_path: Path) -> None:
    for mark in MARKS:
        (tmp_path / mark).write_bytes((image.other / mark).read_bytes())
    with pytest.raises(StoreCorruptError, match="belongs to another store"):
        async with SQLiteStore(tmp_path / STORE):
            pass


async def test_S4_file_of_another_store_is_an_error(tmp_path: Path) -> None:
    await make_store(tmp_path / STORE, (b"one",))
    await make_store(tmp_path / "other.db", (b"two",) * 9)
    (tmp_path / "other.db").replace(tmp_path / STORE)
    with pytest.raises(StoreCorruptError, match="belongs to another store"):
        async with SQLiteStore(tmp_path / STORE):
            pass


async def test_backup_without_marks_is_opened(tmp_path: Path) -> None:
    async with SQLiteStore(tmp_path / STORE) as store:
        await store.append("room", b"update")
        with (
            closing(sqlite3.connect(tmp_path / STORE)) as source,
            closing(sqlite3.connect(tmp_path / "backup.db")) as target,
        ):
            source.backup(target)
    async with SQLiteStore(tmp_path / "backup.db") as restored:
        assert (await restored.load("room")).updates == (b"update",)


async def test_S4_mark_of_format_1_detects_lost_end(image: Image, tmp_path: Path) -> None:
    (tmp_path / MARKS[1]).unlink()
    (tmp_path / MARKS[0]).write_bytes(b"00000000000000009999 %08x\n" % zlib.crc32(b"00000000000000009999"))
    with pytest.raises(StoreCorruptError, match="writes are missing"):
        async with SQLiteStore(tmp_path / STORE):
            pass


@pytest.mark.parametrize("version", [1, 2])
async def test_store_of_an_earlier_version_is_migrated(tmp_path: Path, version: int) -> None:
    path = tmp_path / STORE
    await make_store(path, (b"one", b"two"))
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DROP TABLE pasts")
        if version == 1:
            database.execute("ALTER TABLE store DROP COLUMN id")
        database.execute(f"PRAGMA user_version = {version}")
    for mark in MARKS:
        (tmp_path / mark).unlink()
    for _ in range(2):
        async with SQLiteStore(path) as store:
            assert (await store.load("room")).updates == (b"one", b"two")
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (VERSION,)


async def test_S4_store_of_a_later_version_is_rejected_and_unchanged(tmp_path: Path) -> None:
    path = tmp_path / STORE
    await make_store(path)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = path.read_bytes()
    with pytest.raises(StoreVersionError, match=r"; .* up to version .*upgrade streamlit-crdt"):
        async with SQLiteStore(path):
            pass
    assert path.read_bytes() == before


@pytest.mark.parametrize("is_emptied", [True, False])
async def test_S4_lost_file_is_an_error_until_its_marks_are_deleted(tmp_path: Path, is_emptied: bool) -> None:
    path = tmp_path / STORE
    await make_store(path)
    path.write_bytes(b"") if is_emptied else path.unlink()
    for _ in range(2):
        with pytest.raises(StoreCorruptError, match=r"to start with an empty store, delete .*rooms.db-mark"):
            async with SQLiteStore(path):
                pass
    for mark in MARKS:
        (tmp_path / mark).unlink()
    async with SQLiteStore(path) as store:
        assert await store.rooms() == []


async def test_S4_write_ahead_log_without_its_file_is_an_error(image: Image, tmp_path: Path) -> None:
    (tmp_path / STORE).unlink()
    for mark in MARKS:
        (tmp_path / mark).unlink()
    with pytest.raises(StoreCorruptError):
        async with SQLiteStore(tmp_path / STORE):
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
