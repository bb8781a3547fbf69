"""Rules S4 and S5 while the disk fails: no false acknowledgement, and recovery without a restart."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from streamlit_crdt_server import (
    SQLiteStore,
    StoreCorruptError,
    StoreError,
    StoreFullError,
    StoreReadOnlyError,
    StoreUnavailableError,
)

pytestmark = pytest.mark.anyio

ROUNDS = 20


class Disk:
    """A disk with faults, simulated by settings of SQLite. `connect` opens connections to it."""

    def __init__(self) -> None:
        self.is_full = False
        self.is_read_only = False
        self.is_broken = False
        self.opened = 0

    def connect(self, *args: Any, **options: Any) -> sqlite3.Connection:
        disk = self
        disk.opened += 1

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
                if sql.startswith("BEGIN"):
                    pages = super().execute("PRAGMA page_count").fetchone()[0] if disk.is_full else 2**30
                    super().execute(f"PRAGMA max_page_count = {pages}")
                    super().execute(f"PRAGMA query_only = {disk.is_read_only}")
                if sql == "COMMIT" and disk.is_broken:
                    raise io_error()
                return super().execute(sql, *parameters)

        return sqlite3.connect(*args, factory=Connection, **options)


def io_error() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
    return error


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rooms.db"


async def append(store: SQLiteStore, saved: list[bytes], error: type[StoreError] | None = None) -> bool:
    """Append a large update. Record it if it is saved, and require `error` otherwise."""
    update = f"{len(saved)} {os.urandom(4).hex()} ".encode() + bytes(20_000)
    try:
        await store.append("room", update)
    except StoreError as raised:
        assert error is not None and type(raised) is error, raised
        return False
    saved.append(update)
    return True


async def fail_repeatedly(
    store: SQLiteStore, break_disk: Callable[[], Callable[[], object]], error: type[StoreError]
) -> None:
    """Make the disk fail and recover, then compare the saved updates with the loaded updates."""
    saved: list[bytes] = []
    false_saved = 0
    async with store:
        for _ in range(ROUNDS):
            assert await append(store, saved)
            restore_disk = break_disk()
            for _ in range(3):
                false_saved += await append(store, saved, error)
            assert (await store.load("room")).updates == tuple(saved), "a failing disk does not affect reads"
            restore_disk()
            assert await append(store, saved), "the store recovers"
    async with SQLiteStore(store.path) as again:
        assert (await again.load("room")).updates == tuple(saved)
    print(f"{error.__name__}: {ROUNDS} rounds, false saved {false_saved}, recovered {ROUNDS}")
    assert false_saved == 0


async def test_S4_full_disk_saves_nothing_and_the_store_recovers(path: Path, disk: Disk) -> None:
    def fill() -> Callable[[], object]:
        disk.is_full = True
        return lambda: setattr(disk, "is_full", False)

    await fail_repeatedly(SQLiteStore(path, connect=disk.connect), fill, StoreFullError)


async def test_S4_read_only_disk_saves_nothing_and_the_store_recovers(path: Path, disk: Disk) -> None:
    def protect() -> Callable[[], object]:
        disk.is_read_only = True
        return lambda: setattr(disk, "is_read_only", False)

    await fail_repeatedly(SQLiteStore(path, connect=disk.connect), protect, StoreReadOnlyError)


async def test_S4_locked_file_saves_nothing_and_the_store_recovers(path: Path) -> None:
    def lock() -> Callable[[], object]:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        return other.close

    await fail_repeatedly(SQLiteStore(path, busy_timeout_s=0.005), lock, StoreUnavailableError)


async def test_S4_disk_error_saves_nothing_and_the_store_reopens_its_file(path: Path, disk: Disk) -> None:
    saved: list[bytes] = []
    async with SQLiteStore(path, connect=disk.connect) as store:
        assert await append(store, saved)
        opened = disk.opened
        disk.is_broken = True
        assert not await append(store, saved, StoreUnavailableError)
        assert not await append(store, saved, StoreUnavailableError)
        assert (await store.load("room")).updates == tuple(saved)
        disk.is_broken = False
        assert await append(store, saved)
        assert disk.opened > opened
        assert (await store.load("room")).updates == tuple(saved)


async def test_S4_write_that_ends_in_the_middle_is_not_saved(path: Path) -> None:
    """The kernel limits the size of a file: a write beyond it ends after a part, as on a full disk, with EFBIG.

    The error closes the file, which empties the write-ahead log, so that one of the next writes may succeed.
    """
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    saved: list[bytes] = []
    failed = 0
    try:
        async with SQLiteStore(path) as store:
            for _ in range(ROUNDS):
                assert await append(store, saved)
                log_bytes = Path(f"{path}-wal").stat().st_size
                resource.setrlimit(resource.RLIMIT_FSIZE, (log_bytes + 10_000, limits[1]))
                for _ in range(3):
                    failed += not await append(store, saved, StoreUnavailableError)
                assert (await store.load("room")).updates == tuple(saved)
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    async with SQLiteStore(path) as again:
        assert (await again.load("room")).updates == tuple(saved)
    assert failed >= ROUNDS


def mount(folder: Path) -> list[str]:
    """Mount a small disk at `folder`, and return the command that unmounts it; [] if that is not permitted."""
    for prefix in ([], ["sudo", "-n"]):
        command = [*prefix, "mount", "-t", "tmpfs", "-o", "size=8m,mode=0777", "tmpfs", str(folder)]
        with suppress(FileNotFoundError):
            if subprocess.run(command, capture_output=True).returncode == 0:
                return [*prefix, "umount", str(folder)]
    return []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    unmount = mount(folder)
    if not unmount:
        message = "mounting a disk needs root or sudo without a password"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    yield folder
    subprocess.run(unmount, check=True)


async def test_S4_small_full_disk_saves_nothing_and_the_store_recovers(small_disk: Path) -> None:
    ballast = small_disk / "ballast"

    def fill() -> Callable[[], object]:
        with ballast.open("wb", buffering=0) as file:
            for size in (4096, 1):
                try:
                    while file.write(bytes(size)):
                        pass
                except OSError as error:
                    assert "No space" in str(error)
        return ballast.unlink

    await fail_repeatedly(SQLiteStore(small_disk / "rooms.db"), fill, StoreFullError)


async def test_S4_unwritable_room_does_not_block_other_rooms(path: Path) -> None:
    async with SQLiteStore(path) as store:
        await store.append("room", b"update")
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("UPDATE rooms SET updates = 7 WHERE name = 'room'")
        with pytest.raises(StoreCorruptError):
            await store.append("room", b"more")
        await store.append("other", b"update")


async def test_closed_store_raises_an_error(path: Path) -> None:
    store = SQLiteStore(path)
    for _ in range(2):
        with pytest.raises(StoreUnavailableError, match="not open"):
            await store.append("room", b"update")
        async with store:
            await store.append("room", b"update")


async def test_missing_folder_is_an_error_and_leaves_no_lock(path: Path) -> None:
    missing = path.parent / "folder" / "rooms.db"
    with pytest.raises(StoreUnavailableError):
        async with SQLiteStore(missing):
            pass
    missing.parent.mkdir()
    async with SQLiteStore(missing):
        pass


async def test_S3_jumping_clock_loses_no_update(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    written = [f"edit {number}".encode() for number in range(50)]
    async with SQLiteStore(path) as store:
        for number, update in enumerate(written):
            monkeypatch.setattr(time, "time", lambda step=3600 * (-1) ** number: now + step)
            await store.append("room", update)
    async with SQLiteStore(path) as store:
        lost = len(written) - len((await store.load("room")).updates)
        assert (await store.load("room")).updates == tuple(written)
    print(f"clock ±1 h: {len(written)} edits, {lost} lost")
