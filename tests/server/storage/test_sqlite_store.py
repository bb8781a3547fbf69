"""SQL statements of `SQLiteStore`: durable commits, group commits, no clock."""

from __future__ import annotations

import ast
import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamlit_crdt_server import SQLiteStore, StoreCorruptError, StoreError
from streamlit_crdt_server.storage import sqlite_store

pytestmark = pytest.mark.anyio

Connect = Callable[..., sqlite3.Connection]


def recording_connect(
    statements: list[str], replace: Callable[[str, Any], Any] = lambda sql, values: values
) -> Connect:
    """Return a `connect` whose connections record statements, and pass the values through `replace`."""

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
            statements.append(sql)
            return super().execute(sql, replace(sql, parameters))

    return lambda *args, **options: sqlite3.connect(*args, factory=Connection, **options)


async def test_S5_commit_uses_wal_and_synchronous_full(tmp_path: Path) -> None:
    settings: dict[str, object] = {}

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            if sql == "COMMIT":
                for name in ("journal_mode", "synchronous"):
                    settings[name] = super().execute(f"PRAGMA {name}").fetchone()[0]
            return super().execute(sql, *parameters)

    def connect(*args: Any, **options: Any) -> sqlite3.Connection:
        return sqlite3.connect(*args, factory=Connection, **options)

    async with SQLiteStore(tmp_path / "rooms.db", connect=connect) as store:
        await store.append("room", b"update")
    assert settings == {"journal_mode": "wal", "synchronous": 2}


async def test_S5_concurrent_appends_share_commits(tmp_path: Path) -> None:
    statements: list[str] = []
    async with SQLiteStore(tmp_path / "rooms.db", connect=recording_connect(statements)) as store:
        statements.clear()
        await asyncio.gather(*(store.append(f"room{number}", b"update") for number in range(200)))
        commits = statements.count("COMMIT")
    print(f"200 appends at once: {commits} commits")
    assert commits < 50


async def test_S3_compaction_reads_state_back_before_it_deletes_the_log(
    tmp_path: Path,
) -> None:
    statements: list[str] = []
    async with SQLiteStore(tmp_path / "rooms.db", connect=recording_connect(statements)) as store:
        await store.append("room", b"update")
        statements.clear()
        await store.compact("room", b"state")
    steps = [sql.split()[0] for sql in statements if "updates" in sql or sql in ("BEGIN IMMEDIATE", "COMMIT")]
    first_commit = steps.index("COMMIT")
    assert [step for step in steps[:first_commit] if step in ("BEGIN", "INSERT", "DELETE")] == [
        "BEGIN",
        "INSERT",
        "DELETE",
    ]
    assert "SELECT" in steps[steps.index("INSERT") : steps.index("DELETE")]


async def test_S3_state_that_reads_back_differently_keeps_the_log(tmp_path: Path) -> None:
    def change_state(sql: str, values: Any) -> Any:
        if sql.startswith("INSERT INTO updates") and values[3] == b"state":
            return (*values[:3], b"stale")
        return values

    async with SQLiteStore(tmp_path / "rooms.db", connect=recording_connect([], change_state)) as store:
        await store.append("room", b"one")
        await store.append("room", b"two")
        with pytest.raises(StoreCorruptError, match="reads back differently"):
            await store.compact("room", b"state")
        assert (await store.load("room")).updates == (b"one", b"two")
        await store.append("room", b"three")


async def test_N4_failed_rewrite_changes_nothing(tmp_path: Path) -> None:
    def change(sql: str, values: Any) -> Any:
        return ("room",) if sql.startswith("REPLACE INTO pasts") else values  # too few values: an error

    async with SQLiteStore(tmp_path / "rooms.db", connect=recording_connect([], change)) as store:
        await store.append("room", b"one")
        before = await store.load("room")
        with pytest.raises(StoreError):
            await store.rewrite("room", b"fresh", b"the past")
        assert await store.load("room") == before
    async with SQLiteStore(tmp_path / "rooms.db") as store:
        assert await store.load("room") == before


async def test_S4_update_set_aside_is_logged_without_its_content(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with SQLiteStore(tmp_path / "rooms.db") as store:
        await store.append("room", b"secret update")
        await store.set_aside("room", b"secret update", "it poisons the document")
    assert "room 'room'" in caplog.text
    assert "it poisons the document" in caplog.text
    assert "secret" not in caplog.text


async def test_S2_pending_appends_complete_before_the_store_closes(tmp_path: Path) -> None:
    async with SQLiteStore(tmp_path / "rooms.db") as store:
        appends = [asyncio.ensure_future(store.append("room", bytes([number]))) for number in range(50)]
        await asyncio.sleep(0)
    await asyncio.gather(*appends)
    async with store:
        assert len((await store.load("room")).updates) == 50


def test_S3_store_modules_import_no_clock() -> None:
    folder = Path(sqlite_store.__file__).parent
    for name in (
        "store",
        "sqlite_store",
        "sqlite_writer",
        "sqlite_file",
        "sqlite_log",
        "high_water_mark",
        "file_lock",
        "repair",
    ):
        for node in ast.walk(ast.parse((folder / f"{name}.py").read_text("utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                assert not names & {"time", "datetime"}, name
