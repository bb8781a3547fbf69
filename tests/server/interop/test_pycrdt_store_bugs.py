"""Bugs of pycrdt-store that `SQLiteStore` avoids, each reproduced on the upstream class.

A failure of one of these tests means that an upgrade fixed the bug. The server does not need the package, and the
tests are skipped without it.
"""

from __future__ import annotations

import sqlite3
import time
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from pycrdt import Doc, Text

from streamlit_crdt_server import SQLiteStore, StoreBusyError, StoreCorruptError, StoreReadOnlyError

upstream = pytest.importorskip("pycrdt.store")

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore")]


@asynccontextmanager
async def open_upstream(path: Path, room: str = "room", **options: Any) -> AsyncIterator[Any]:
    """Open the upstream store in the usual form: a subclass with the path of the file."""
    store = type("Upstream", (upstream.SQLiteYStore,), {"db_path": str(path), **options})(room)
    async with store:
        await store.db_initialized.wait()
        yield store


def type_words(words: Sequence[str]) -> list[bytes]:
    """Return the updates of a replica that appends one word at a time."""
    document: Doc[object] = Doc(client_id=1)
    updates: list[bytes] = []
    subscription = document.observe(lambda event: updates.append(event.update))
    text = document.get("text", type=Text)
    for word in words:
        text += word
    document.unobserve(subscription)
    return updates


def read_words(updates: Sequence[bytes]) -> str:
    document: Doc[object] = Doc()
    for update in updates:
        document.apply_update(update)
    return str(document.get("text", type=Text))


async def read_upstream(store: Any) -> str:
    document: Doc[object] = Doc()
    await store.apply_updates(document)
    return str(document.get("text", type=Text))


async def test_S4_upstream_failed_write_returns_normally(tmp_path: Path) -> None:
    (update,) = type_words(["word"])
    async with open_upstream(tmp_path / "upstream.db") as store:
        await (await store._db.cursor()).execute("PRAGMA query_only = 1")
        await store.write(update)
        with pytest.raises(upstream.YDocNotFound):
            await read_upstream(store)

    def connect(*args: Any, **options: Any) -> sqlite3.Connection:
        return sqlite3.connect(*args, factory=ReadOnly, **options)

    async with SQLiteStore(tmp_path / "ours.db", connect=connect) as ours:
        ReadOnly.is_on = True
        with pytest.raises(StoreReadOnlyError):
            await ours.append("room", update)
        ReadOnly.is_on = False


class ReadOnly(sqlite3.Connection):
    """A connection to a disk that has become read-only."""

    is_on = False

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        super().execute(f"PRAGMA query_only = {self.is_on}")
        return super().execute(sql, *parameters)


async def test_S4_upstream_loads_a_damaged_row_silently(tmp_path: Path) -> None:
    updates = type_words(["first ", "second ", "third "])

    def damage(path: Path) -> None:
        path.write_bytes(path.read_bytes().replace(b"second", b"sEcond"))

    async with open_upstream(tmp_path / "upstream.db") as store:
        for update in updates:
            await store.write(update)
    damage(tmp_path / "upstream.db")
    async with open_upstream(tmp_path / "upstream.db") as store:
        assert await read_upstream(store) == "first sEcond third "

    async with SQLiteStore(tmp_path / "ours.db") as ours:
        for update in updates:
            await ours.append("room", update)
    damage(tmp_path / "ours.db")
    async with SQLiteStore(tmp_path / "ours.db") as ours:
        stored = await ours.load("room")
    assert (stored.updates, stored.set_aside) == ((updates[0], updates[2]), 1)


async def test_S3_upstream_squash_deletes_the_document(tmp_path: Path) -> None:
    updates = type_words(["first ", "second "])
    async with open_upstream(tmp_path / "upstream.db", squash_after_inactivity_of=0) as store:
        for update in updates:
            await store.write(update)
        assert await read_upstream(store) == ""

    async with SQLiteStore(tmp_path / "ours.db") as ours:
        document: Doc[object] = Doc()
        for update in updates:
            await ours.append("room", update)
            document.apply_update(update)
            await ours.compact("room", document.get_update())
        assert read_words((await ours.load("room")).updates) == "first second "


async def test_S4_upstream_reports_a_read_error_as_not_found(tmp_path: Path) -> None:
    """A row that cannot be decompressed, and any other error of `read`, looks like a room that does not exist."""
    (update,) = type_words(["word"])
    async with open_upstream(tmp_path / "upstream.db") as store:
        store.register_compression_callbacks(zlib.compress, zlib.decompress)
        await store.write(update)
        await (await store._db.cursor()).execute("ALTER TABLE yupdates RENAME TO gone")
        with pytest.raises(upstream.YDocNotFound):
            async for _ in store.read():
                pass

    async with SQLiteStore(tmp_path / "ours.db") as ours:
        await ours.append("room", update)
        with closing(sqlite3.connect(tmp_path / "ours.db")) as other:
            other.execute("ALTER TABLE updates RENAME TO gone")
        with pytest.raises(OSError, match="no such table"):
            await ours.load("room")


async def test_S3_upstream_loses_edits_when_the_clock_is_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [f"{number} " for number in range(48)]
    updates = type_words(words)
    now = time.time()

    def set_clock(number: int) -> None:
        monkeypatch.setattr(time, "time", lambda: now + (3600 if number < 45 else 0))

    async with open_upstream(tmp_path / "upstream.db", checkpoint_interval=10) as store:
        for number, update in enumerate(updates):
            set_clock(number)
            await store.write(update)
        remaining = (await read_upstream(store)).split()

    async with SQLiteStore(tmp_path / "ours.db") as ours:
        for number, update in enumerate(updates):
            set_clock(number)
            await ours.append("room", update)
        assert read_words((await ours.load("room")).updates) == "".join(words)
    print(f"clock set back 1 h, {len(words)} edits: upstream lost {len(words) - len(remaining)}, ours 0")
    assert len(remaining) < len(words)


async def test_S4_upstream_lets_two_owners_write_one_file(tmp_path: Path) -> None:
    async with open_upstream(tmp_path / "upstream.db"), open_upstream(tmp_path / "upstream.db"):
        pass
    async with SQLiteStore(tmp_path / "ours.db"):
        with pytest.raises(StoreBusyError):
            async with SQLiteStore(tmp_path / "ours.db"):
                pass


async def test_S4_upstream_replaces_the_file_of_another_program(tmp_path: Path) -> None:
    for name in ("upstream.db", "ours.db"):
        with closing(sqlite3.connect(tmp_path / name)) as database, database:
            database.execute("CREATE TABLE yupdates (owner TEXT)")
            database.execute("PRAGMA user_version = 77")
    async with open_upstream(tmp_path / "upstream.db"):
        pass
    assert len(list(tmp_path.glob("upstream*"))) == 2
    with pytest.raises(StoreCorruptError):
        async with SQLiteStore(tmp_path / "ours.db"):
            pass
