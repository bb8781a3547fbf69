"""One SQLite file: safe creation, checks before it is opened, transactions.

SQLite repairs a damaged file silently: it skips the end of a damaged write-ahead log, and deletes that log when it
closes. The file is therefore checked through a read-only connection, and opened for writing only if it is intact. A
new file is created under another name and then renamed, so that no partial file appears.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from streamlit_crdt_server.errors import StoreCorruptError, StoreError, StoreUnavailableError
from streamlit_crdt_server.storage.high_water_mark import SUFFIXES as MARK_SUFFIXES
from streamlit_crdt_server.storage.high_water_mark import HighWaterMark, Mark
from streamlit_crdt_server.storage.sqlite_log import SQLiteLog

Connect = Callable[..., sqlite3.Connection]
"""Signature of `sqlite3.connect`. Tests pass their own function."""


class SQLiteFile:
    """An open database, used only by the thread that opened it.

    Attributes:
        log: The tables.
    """

    def __init__(self, path: Path, mark: HighWaterMark, connect: Connect, busy_timeout_s: float) -> None:
        """Check and open a file that `create_file` created. A missing file is an error.

        Raises:
            StoreError, sqlite3.Error, OSError: The file is damaged or cannot be opened. It is unchanged.
        """
        self._path = path
        self._mark = mark
        with closing(_connect(path, "ro", connect, busy_timeout_s)) as reading:
            _check(SQLiteLog(reading, str(path)), path, mark)
        self._db = _connect(path, "rw", connect, busy_timeout_s)
        try:
            mode = self._db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            if mode != "wal":
                raise StoreUnavailableError(str(path), f"its journal mode {mode} could not be changed to wal")
            self._db.execute("PRAGMA synchronous = FULL")
            self.log = SQLiteLog(self._db, str(path))
            self.log.migrate()
            self._store_id = self.log.store_id()
            self._inodes: list[int] | None = None
        except BaseException:
            self._db.close()
            raise

    def transact(self, writes: Sequence[Callable[[SQLiteLog], Any]]) -> list[Any]:
        """Run all `writes` in one transaction, and commit it to disk.

        Returns:
            For each write its result, or its StoreError. A failed write is rolled back alone.

        Raises:
            sqlite3.Error, OSError, StoreError: The transaction was rolled back, as far as SQLite reports.
        """
        self._db.execute("BEGIN IMMEDIATE")
        try:
            outcomes = [self._run_in_savepoint(write) for write in writes]
            last_seq = self.log.last_seq()
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        inodes = self._read_inodes()
        self._inodes = self._inodes or inodes  # the first commit creates the write-ahead log
        if inodes != self._inodes:
            raise StoreUnavailableError(str(self._path), "the file was moved or deleted while it was in use")
        self._mark.write(Mark(last_seq, self._store_id))
        return outcomes

    def close(self) -> None:
        self._db.close()

    def _run_in_savepoint(self, write: Callable[[SQLiteLog], Any]) -> Any:
        self._db.execute("SAVEPOINT one")
        try:
            outcome = write(self.log)
        except StoreError as error:
            self._db.execute("ROLLBACK TO one")
            outcome = error
        self._db.execute("RELEASE one")
        return outcome

    def _read_inodes(self) -> list[int]:
        """Return the inodes of the file and its log. SQLite continues to write into deleted files."""
        paths = [Path(f"{self._path}{suffix}") for suffix in ("", "-wal")]
        return [path.stat().st_ino if path.exists() else 0 for path in paths]


def create_file(path: Path, mark: HighWaterMark, connect: Connect) -> None:
    """Create an empty store at `path`, readable by this user only, unless the file exists.

    Raises:
        StoreCorruptError: The file is missing or empty, but its write-ahead log or its mark exists.
        OSError, sqlite3.Error: The file could not be created.
    """
    if path.exists() and path.stat().st_size:
        return
    marked = mark.read()
    if _size_of(f"{path}-wal") or (marked is not None and marked.seq):
        names = ", ".join(f"{path.name}{suffix}" for suffix in ("-wal", *MARK_SUFFIXES))
        raise StoreCorruptError(
            str(path),
            "the file is empty or missing, but files that belong to it exist; to start with an empty store, "
            f"delete {names}",
        )
    fresh = Path(f"{path}-new")
    for suffix in ("", "-journal", "-wal", "-shm"):
        Path(f"{fresh}{suffix}").unlink(missing_ok=True)
    os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with closing(_connect(fresh, "rw", connect, 0)) as database:
        database.execute("BEGIN")
        SQLiteLog(database, str(path)).create()
        database.execute("COMMIT")
        database.execute("PRAGMA journal_mode = WAL")
    mark.write(Mark(0, ""))
    os.replace(fresh, path)


def _check(log: SQLiteLog, path: Path, mark: HighWaterMark) -> None:
    log.check()
    marked = mark.read()
    if marked is None:
        if _size_of(f"{path}-wal"):
            raise StoreCorruptError(str(path), "it has a write-ahead log, but its high-water mark is missing")
        return
    if marked.store_id not in ("", log.store_id()):
        raise StoreCorruptError(str(path), "its high-water mark belongs to another store")
    behind = marked.seq - log.last_seq()
    if behind > 0:
        raise StoreCorruptError(str(path), f"its last {behind} writes are missing")


def _connect(path: Path, mode: str, connect: Connect, busy_timeout_s: float) -> sqlite3.Connection:
    """Connect without creating a file, and without implicit transactions."""
    return connect(f"{path.as_uri()}?mode={mode}", uri=True, timeout=busy_timeout_s, isolation_level=None)


def _size_of(path: str) -> int:
    return os.stat(path).st_size if os.path.exists(path) else 0
