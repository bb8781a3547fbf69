"""Opening a database so that nothing is made by half, and nothing that is refused is touched.

SQLite, given a damaged file, helps itself: it leaves out the end of a damaged write-ahead log, and deletes
that log when it closes. So the file is looked at through a connection that only reads, and is opened for
writing once it was found whole. A new file is made under another name and then renamed.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from streamlit_crdt_server.errors import StoreCorruptError, StoreError, StoreUnavailableError
from streamlit_crdt_server.storage.high_water_mark import HighWaterMark
from streamlit_crdt_server.storage.sqlite_log import SQLiteLog

Connect = Callable[..., sqlite3.Connection]
"""`sqlite3.connect`, or a test's."""

_log = logging.getLogger(__name__)


class SQLiteFile:
    """An open database. It belongs to the thread that opened it.

    Attributes:
        log: Its tables.
    """

    def __init__(self, path: Path, mark: HighWaterMark, connect: Connect, busy_timeout_s: float) -> None:
        """Check the file and open it. `create_file` has made it; here a missing one is an error.

        Raises:
            StoreError, sqlite3.Error, OSError: A damaged file is left as it was.
        """
        self._path = path
        self._mark = mark
        with closing(_connect(path, "ro", connect, busy_timeout_s)) as reading:
            _check(SQLiteLog(reading, str(path)), path, mark)
        self._db = _connect(path, "rw", connect, busy_timeout_s)
        try:
            mode = self._db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            if mode != "wal":
                raise StoreUnavailableError(str(path), f"its journal mode is {mode} and cannot be changed")
            self._db.execute("PRAGMA synchronous = FULL")
            self.log = SQLiteLog(self._db, str(path))
            self._identity: list[int] | None = None
        except BaseException:
            self._db.close()
            raise

    def transact(self, writes: Sequence[Callable[[SQLiteLog], Any]]) -> list[Any]:
        """Make all `writes` in one transaction; what they wrote is on the disk when this returns.

        Returns:
            What each of them returned, or the StoreError that it raised: then it alone wrote nothing.

        Raises:
            sqlite3.Error, OSError, StoreError: Nothing was written, as far as SQLite knows.
        """
        self._db.execute("BEGIN IMMEDIATE")
        try:
            outcomes = [self._separately(write) for write in writes]
            last_seq = self.log.last_seq()
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        identity = self._identify()
        self._identity = self._identity or identity  # the first commit makes the write-ahead log
        if identity != self._identity:
            raise StoreUnavailableError(str(self._path), "it was moved or deleted while it was in use")
        self._mark.write(last_seq)
        return outcomes

    def close(self) -> None:
        self._db.close()

    def _separately(self, write: Callable[[SQLiteLog], Any]) -> Any:
        self._db.execute("SAVEPOINT one")
        try:
            outcome = write(self.log)
        except StoreError as error:
            self._db.execute("ROLLBACK TO one")
            outcome = error
        self._db.execute("RELEASE one")
        return outcome

    def _identify(self) -> list[int]:
        """Tell this file and its log from others of their names: SQLite writes on into deleted ones."""
        paths = [Path(f"{self._path}{suffix}") for suffix in ("", "-wal")]
        return [path.stat().st_ino if path.exists() else 0 for path in paths]


def create_file(path: Path, mark: HighWaterMark, connect: Connect) -> None:
    """Make an empty store at `path`, readable by this user alone, unless something is there.

    Raises:
        StoreCorruptError: Nothing is there, but something was, and not all of it was taken away on purpose.
        OSError, sqlite3.Error: It could not be made.
    """
    if path.exists() and path.stat().st_size:
        return
    if _size_of(f"{path}-wal") or (path.exists() and mark.read()):
        raise StoreCorruptError(str(path), "it is empty or gone, and what belongs to it is still there")
    if mark.read():
        _log.warning("%s was deleted; an empty store begins in its place", path)
    fresh = Path(f"{path}-new")
    for suffix in ("", "-journal", "-wal", "-shm"):
        Path(f"{fresh}{suffix}").unlink(missing_ok=True)
    os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with closing(_connect(fresh, "rw", connect, 0)) as database:
        database.execute("BEGIN")
        SQLiteLog(database, str(path)).create()
        database.execute("COMMIT")
        database.execute("PRAGMA journal_mode = WAL")
    mark.write(0)
    os.replace(fresh, path)


def _check(log: SQLiteLog, path: Path, mark: HighWaterMark) -> None:
    log.check()
    behind = mark.read() - log.last_seq()
    if behind > 0:
        raise StoreCorruptError(
            str(path),
            f"its last {behind} writes are missing; if you put an older file here on purpose, "
            f"delete {mark.path}",
        )


def _connect(path: Path, mode: str, connect: Connect, busy_timeout_s: float) -> sqlite3.Connection:
    """Connect without creating anything; transactions are begun and ended by this package alone."""
    return connect(f"{path.as_uri()}?mode={mode}", uri=True, timeout=busy_timeout_s, isolation_level=None)


def _size_of(path: str) -> int:
    return os.stat(path).st_size if os.path.exists(path) else 0
