"""Repair of damaged stores: the report comes first, every readable row is kept, and so are the damaged files."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from streamlit_crdt.deploy import cli
from streamlit_crdt_server import (
    SQLiteStore,
    StoreBusyError,
    StoreCorruptError,
    StoreError,
    StoreVersionError,
)
from streamlit_crdt_server.storage.repair import inspect_store, repair_store
from tests.faults.damaged_files import STORE, damage, make_image

pytestmark = pytest.mark.anyio


async def make_store(path: Path, rooms: tuple[str, ...] = ("ada", "bob")) -> None:
    async with SQLiteStore(path) as store:
        for number in range(5):
            for room in rooms:
                await store.append(room, f"{room} {number}".encode())


async def make_store_without_its_end(path: Path) -> None:
    """Write a store whose write-ahead log is lost, as after a wrong copy of a running store."""
    async with SQLiteStore(path) as store:
        for number in range(3):
            await store.append("ada", str(number).encode())
        with closing(sqlite3.connect(path)) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        await store.append("ada", b"lost")
        files = {name: Path(f"{path}{name}").read_bytes() for name in ("", "-mark", "-mark-copy")}
    for name, content in files.items():
        Path(f"{path}{name}").write_bytes(content)


async def test_S4_rejected_store_names_backup_and_repair_command(tmp_path: Path) -> None:
    path = tmp_path / "my rooms.db"
    await make_store_without_its_end(path)
    with pytest.raises(StoreCorruptError, match=r"restore a backup.*streamlit-crdt repair '.*my rooms.db'"):
        async with SQLiteStore(path):
            pass


async def test_S4_repair_command_reports_the_loss_before_it_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / STORE
    await make_store_without_its_end(path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir() if "lease" not in file.name}
    asked: list[str] = []

    def refuse(question: str) -> str:
        asked.append(capsys.readouterr().out)
        return ""

    monkeypatch.setattr("builtins.input", refuse)
    assert cli.main(["repair", str(path)]) == cli.EXIT_NOT_REPAIRED
    assert "1 writes are missing" in asked[0] and "room 'ada': 3 updates can be read" in asked[0]
    assert "lost from the end of the log: 1 writes" in asked[0]
    assert before == {file.name: file.read_bytes() for file in tmp_path.iterdir() if "lease" not in file.name}
    assert cli.main(["repair", str(path), "--yes"]) == 0
    async with SQLiteStore(path) as store:
        assert (await store.load("ada")).updates == (b"0", b"1", b"2")
    assert (tmp_path / f"{STORE}-damaged-1").read_bytes() == before[STORE]
    assert cli.main(["repair", str(path)]) == 0
    assert "nothing is lost" in capsys.readouterr().out


async def test_S4_repair_keeps_intact_rooms_and_their_epochs(tmp_path: Path) -> None:
    path = tmp_path / STORE
    await make_store(path)
    async with SQLiteStore(path) as store:
        await store.rewrite("bob", b"fresh", b"the past")
        epochs = {room: (await store.load(room)).epoch for room in ("ada", "bob")}
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DELETE FROM updates WHERE room = 'ada' AND bytes = ?", (b"ada 2",))
    findings = inspect_store(path)
    assert [(room.name, len(room.updates), room.missing) for room in findings.rooms] == [
        ("ada", 4, 1),
        ("bob", 1, 0),
    ]
    assert findings.problem == "" and findings.needs_repair
    repair_store(path)
    async with SQLiteStore(path) as store:
        assert (await store.load("ada")).updates == (b"ada 0", b"ada 1", b"ada 3", b"ada 4")
        assert {room: (await store.load(room)).epoch for room in ("ada", "bob")} == epochs
        assert (await store.load("bob")).past == b"the past"


async def test_S4_store_repaired_twice_keeps_both_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / STORE
    for number in (1, 2):
        await make_store(path)
        path.write_bytes(b"no database")
        for suffix in ("-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        assert repair_store(path).name == f"{STORE}-damaged-{number}"
    async with SQLiteStore(path) as store:
        assert await store.rooms() == []


async def test_S4_random_damage_is_repaired_without_further_loss(tmp_path: Path) -> None:
    """Every row that the undamaged part contains is there after the repair."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    randomness = random.Random(seed)
    image = await make_image(tmp_path / "image", randomness, "killed store")
    for number in range(12):
        folder = tmp_path / str(number)
        shutil.copytree(image.files, folder)
        description, _ = damage(image, folder, randomness)
        findings = inspect_store(folder / STORE)
        if findings.needs_repair:
            repair_store(folder / STORE)
        async with SQLiteStore(folder / STORE) as store:
            for room in findings.rooms:
                assert (await store.load(room.name)).updates == room.updates, description


async def test_store_in_use_is_not_repaired(tmp_path: Path) -> None:
    async with SQLiteStore(tmp_path / STORE):
        with pytest.raises(StoreBusyError):
            repair_store(tmp_path / STORE)


async def test_database_of_another_program_is_not_repaired(tmp_path: Path) -> None:
    path = tmp_path / "accounts.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE accounts (owner TEXT)")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        repair_store(path)
    assert path.read_bytes() == before


async def test_missing_store_is_not_repaired(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["repair", str(tmp_path / "typo.db"), "--yes"]) == cli.EXIT_USAGE
    assert "typo.db" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


async def test_store_of_a_later_version_is_not_repaired(tmp_path: Path) -> None:
    path = tmp_path / STORE
    await make_store(path)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreVersionError, match="upgrade streamlit-crdt"):
        repair_store(path)
