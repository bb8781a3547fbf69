"""Repair of a damaged store file: a report of the readable and the lost rows, and a new file with the readable ones.

The report reads a copy and changes nothing. The repair keeps the damaged files under another name, and never opens
them for writing. At each moment of a repair that is interrupted, the store is rejected or complete.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from streamlit_crdt_server.errors import StoreCorruptError, StoreError, StoreVersionError
from streamlit_crdt_server.storage.file_lock import FileLock
from streamlit_crdt_server.storage.high_water_mark import SUFFIXES as MARK_SUFFIXES
from streamlit_crdt_server.storage.high_water_mark import HighWaterMark, Mark
from streamlit_crdt_server.storage.sqlite_file import SQLiteFile
from streamlit_crdt_server.storage.sqlite_log import APPLICATION_ID, SQLiteLog, checksum_of
from streamlit_crdt_server.storage.store import new_epoch

_SQLITE_SUFFIXES = ("", "-wal", "-shm")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RoomFinding:
    """Readable part of one room.

    Attributes:
        name: Name of the room.
        epoch: Its epoch, "" if its row is damaged.
        updates: The intact updates in order.
        damaged: Number of rows whose content is damaged.
        missing: Number of rows that are missing, or None if the room's own row is damaged.
        past: What the room keeps of its former documents, b"" if it is damaged.
    """

    name: str
    epoch: str
    updates: tuple[bytes, ...]
    damaged: int
    missing: int | None
    past: bytes = b""

    @property
    def is_intact(self) -> bool:
        return self.epoch != "" and not self.damaged and self.missing == 0


@dataclass(frozen=True, slots=True)
class Findings:
    """Readable part of a store file.

    Attributes:
        path: The file.
        problem: Reason why the store cannot be opened, "" if it can be.
        rooms: The rooms by name.
        lost_writes: Number of last writes that are missing, or None if it is unknown.
        lost_rooms: Number of rooms that are missing, or None if it is unknown.
    """

    path: Path
    problem: str
    rooms: tuple[RoomFinding, ...]
    lost_writes: int | None
    lost_rooms: int | None

    @property
    def needs_repair(self) -> bool:
        return bool(self.problem) or not all(room.is_intact for room in self.rooms)

    def describe(self) -> list[str]:
        """Return lines for the terminal."""
        lines = [f"{self.path}: {self.problem or 'the store opens'}"]
        lines += [f"  {_describe_room(room)}" for room in self.rooms]
        if not self.rooms:
            lines.append("  no room can be read")
        if not self.needs_repair:
            return [*lines, "nothing is lost"]
        unknown = "an unknown number of"
        rooms = unknown if self.lost_rooms is None else str(self.lost_rooms)
        writes = unknown if self.lost_writes is None else str(self.lost_writes)
        return [*lines, f"lost as a whole: {rooms} rooms", f"lost from the end of the log: {writes} writes"]


def _describe_room(room: RoomFinding) -> str:
    missing = "an unknown number" if room.missing is None else str(room.missing)
    loss = "" if room.is_intact else f", {room.damaged} damaged, {missing} missing"
    return f"room {room.name!r}: {len(room.updates)} updates can be read{loss}"


def inspect_store(path: Path) -> Findings:
    """Read what can be read of a store that no process uses. Changes nothing.

    Raises:
        StoreBusyError: A process uses the store.
        StoreVersionError: A later version of this library wrote the file.
        StoreError: The file is a database of another program.
        OSError: The files cannot be read.
    """
    with _locked(path) as locked:
        return _inspect(locked)


def repair_store(path: Path) -> Path:
    """Replace a damaged store by a new one with all rows that can be read.

    Returns:
        The first of the damaged files, which are kept beside the store.

    Raises:
        StoreError, OSError: See `inspect_store`.
    """
    with _locked(path) as path:
        findings = _inspect(path)
        fresh = Path(f"{path}-new")
        mark = _write_fresh(fresh, findings)
        kept = _keep_damaged(path)
        os.replace(fresh, path)
        marks = HighWaterMark(path)
        marks.write(mark)
        marks.close()
        return kept


@contextmanager
def _locked(path: Path) -> Iterator[Path]:
    """Lock the store, and yield its resolved path."""
    path = path.resolve()
    if not any(Path(f"{path}{suffix}").exists() for suffix in (*_SQLITE_SUFFIXES, *MARK_SUFFIXES)):
        raise FileNotFoundError(errno.ENOENT, "there is no such store", str(path))
    lock = FileLock(path)
    try:
        yield path
    finally:
        lock.release()


def _inspect(path: Path) -> Findings:
    problem = _find_problem(path)
    with _copied(path) as copy, closing(sqlite3.connect(copy, isolation_level=None)) as database:
        log = SQLiteLog(database, str(path))
        _reject_foreign(database, path)
        rooms = tuple(_find_room(database, name) for name in _room_names(database))
        position = _attempt(log.position)
    marked = _attempt(HighWaterMark(path).read)
    lost_writes = lost_rooms = None
    if position is not None:
        lost_rooms = max(0, position[1] - len(rooms))
        lost_writes = max(0, marked.seq - position[0]) if marked is not None else None
    return Findings(path, problem, rooms, lost_writes, lost_rooms)


def _find_problem(path: Path) -> str:
    """Return the reason for which a server would reject the store, "" if it would open it."""
    with _copied(path) as copy:
        mark = HighWaterMark(copy)
        try:
            SQLiteFile(copy, mark, sqlite3.connect, 0).close()
        except StoreVersionError as error:
            raise StoreVersionError(str(path), error.version, error.supported) from error
        except StoreError as error:
            return error.reason
        except (sqlite3.Error, OSError) as error:
            return "the file is missing" if not path.exists() else str(error)
        finally:
            mark.close()
    return ""


@contextmanager
def _copied(path: Path) -> Iterator[Path]:
    """Copy the files of a store, because SQLite changes files that it opens."""
    with tempfile.TemporaryDirectory() as folder:
        for suffix in (*_SQLITE_SUFFIXES, *MARK_SUFFIXES):
            if Path(f"{path}{suffix}").exists():
                shutil.copy(f"{path}{suffix}", Path(folder, f"store{suffix}"))
        yield Path(folder, "store")


def _reject_foreign(database: sqlite3.Connection, path: Path) -> None:
    """Raise StoreCorruptError for a readable database of another program."""
    tables = {name for (name,) in _rows(database, "SELECT name FROM sqlite_master WHERE type = 'table'")}
    application = [number for (number,) in _rows(database, "PRAGMA application_id")]
    if tables and "updates" not in tables and application != [APPLICATION_ID]:
        raise StoreCorruptError(str(path), "the file is a database of another program")


def _room_names(database: sqlite3.Connection) -> list[str]:
    found = {
        name
        for sql in ("SELECT name FROM rooms", "SELECT DISTINCT room FROM updates")
        for order in ("", " ORDER BY 1 DESC")
        for (name,) in _rows(database, sql + order)
    }
    return sorted(name for name in found if isinstance(name, str))


def _find_room(database: sqlite3.Connection, name: str) -> RoomFinding:
    row = next(
        _rows(database, "SELECT epoch, updates, set_aside, checksum FROM rooms WHERE name = ?", name), None
    )
    is_intact = row is not None and row[3] == checksum_of(name, *row[:3])
    intact: dict[int, bytes] = {}
    damaged: set[object] = set()
    for order in ("ASC", "DESC"):  # from both ends: a damaged page ends a scan
        sql = f"SELECT seq, checksum, bytes FROM updates WHERE room = ? ORDER BY seq {order}"
        for seq, checksum, update in _rows(database, sql, name):
            if isinstance(update, bytes) and checksum == checksum_of(name, seq, content=update):
                intact[seq] = update
            else:
                damaged.add(seq)
    updates = tuple(intact[seq] for seq in sorted(intact))
    missing = max(0, row[1] - len(intact) - len(damaged)) if row is not None and is_intact else None
    pasts = _rows(database, "SELECT checksum, bytes FROM pasts WHERE room = ?", name)
    past = next((p for c, p in pasts if isinstance(p, bytes) and c == checksum_of(name, content=p)), b"")
    epoch = row[0] if row is not None and is_intact else ""
    return RoomFinding(name, epoch, updates, len(damaged), missing, past)


def _rows(database: sqlite3.Connection, sql: str, *parameters: object) -> Iterator[tuple[Any, ...]]:
    """Yield rows until the first that cannot be read."""
    try:
        yield from database.execute(sql, parameters)
    except sqlite3.Error:
        return


def _attempt(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except (StoreError, sqlite3.Error):
        return None


def _write_fresh(fresh: Path, findings: Findings) -> Mark:
    """Write a new database with the readable rows, and return its mark."""
    for suffix in _SQLITE_SUFFIXES:
        Path(f"{fresh}{suffix}").unlink(missing_ok=True)
    os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with closing(sqlite3.connect(fresh, isolation_level=None)) as database:
        database.execute("PRAGMA synchronous = FULL")
        log = SQLiteLog(database, str(findings.path))
        database.execute("BEGIN")
        log.create()
        for room in findings.rooms:
            log.restore(room.name, room.epoch or new_epoch(), room.updates, room.past)
        database.execute("COMMIT")
        database.execute("PRAGMA journal_mode = WAL")
        return Mark(log.last_seq(), log.store_id())


def _keep_damaged(path: Path) -> Path:
    """Move the damaged files to a free name. The marks are copied, so that a missing store stays rejected."""
    number = 1
    while (kept := Path(f"{path}-damaged-{number}")).exists() or Path(f"{kept}{MARK_SUFFIXES[0]}").exists():
        number += 1
    for suffix in MARK_SUFFIXES:
        if Path(f"{path}{suffix}").exists():
            shutil.copy(f"{path}{suffix}", f"{kept}{suffix}")
    for suffix in _SQLITE_SUFFIXES:
        if Path(f"{path}{suffix}").exists():
            os.replace(f"{path}{suffix}", f"{kept}{suffix}")
    return kept
