"""Thread that runs all reads and writes of a database, with one commit for all queued writes.

A commit waits for the disk, 1 to 50 ms. Writes that arrive meanwhile share the next commit, so that a hundred rooms
that save at once wait for two commits instead of a hundred.

A disk error closes the connection, because SQLite's view of the file may be wrong afterwards. The next job opens and
checks the file again. The store therefore has no failed state.
"""

from __future__ import annotations

import errno
import logging
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from streamlit_crdt_server.errors import (
    StoreCorruptError,
    StoreError,
    StoreFullError,
    StoreReadOnlyError,
    StoreUnavailableError,
)
from streamlit_crdt_server.storage.sqlite_file import SQLiteFile
from streamlit_crdt_server.storage.sqlite_log import SQLiteLog

_log = logging.getLogger(__name__)

_SQLITE_ERRORS: dict[int, type[StoreError]] = {
    sqlite3.SQLITE_FULL: StoreFullError,
    sqlite3.SQLITE_READONLY: StoreReadOnlyError,
    sqlite3.SQLITE_CORRUPT: StoreCorruptError,
    sqlite3.SQLITE_NOTADB: StoreCorruptError,
}
_OS_ERRORS: dict[int | None, type[StoreError]] = {
    errno.ENOSPC: StoreFullError,
    errno.EROFS: StoreReadOnlyError,
    errno.EACCES: StoreReadOnlyError,
    errno.EPERM: StoreReadOnlyError,
}
_RECOVERABLE = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
)
"""SQLite errors after which the connection stays usable."""


@dataclass(frozen=True, slots=True)
class _Job:
    work: Callable[[SQLiteLog], Any]
    is_write: bool
    done: Future[Any] = field(default_factory=Future)


class SQLiteWriter:
    """The thread, from construction until `close()`. `submit` and `close` must be called from one thread only."""

    def __init__(self, open_file: Callable[[], SQLiteFile], where: str) -> None:
        self._open_file = open_file
        self._where = where
        self._file: SQLiteFile | None = None
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name=f"store {where}", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[SQLiteLog], Any], *, is_write: bool) -> Future[Any]:
        """Queue `work`.

        Of all jobs that are queued at one time, reads run before writes, and do not fail with them.

        Returns:
            A future that fails with a StoreError, or completes once a write is committed to disk.
        """
        job = _Job(work, is_write)
        if self._is_closed:
            job.done.set_exception(StoreUnavailableError(self._where, "the store is closed"))
        else:
            self._jobs.put(job)
        return job.done

    def close(self) -> None:
        """Run the queued jobs, close the file, and wait for both. May be called again."""
        if not self._is_closed:
            self._is_closed = True
            self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        is_open = True
        while is_open:
            queued = [self._jobs.get()]
            while not self._jobs.empty():
                queued.append(self._jobs.get())
            is_open = None not in queued
            group = [job for job in queued if job is not None and job.done.set_running_or_notify_cancel()]
            for job in group:
                if not job.is_write:
                    self._complete([job], self._read)
            writes = [job for job in group if job.is_write]
            if writes:
                self._complete(writes, self._write)
        self._close_file()

    def _read(self, jobs: Sequence[_Job]) -> list[Any]:
        return [job.work(self._opened().log) for job in jobs]

    def _write(self, jobs: Sequence[_Job]) -> list[Any]:
        return self._opened().transact([job.work for job in jobs])

    def _complete(self, jobs: Sequence[_Job], run: Callable[[Sequence[_Job]], list[Any]]) -> None:
        """Run the jobs and complete their futures. This is the outer edge of the thread: no error ends it."""
        try:
            outcomes = run(jobs)
        except Exception as error:
            outcomes = [to_store_error(error, self._where)] * len(jobs)
            if getattr(error, "sqlite_errorcode", 0) not in _RECOVERABLE:
                self._close_file()
        for job, outcome in zip(jobs, outcomes, strict=True):
            if isinstance(outcome, StoreError):
                job.done.set_exception(outcome)
            else:
                job.done.set_result(outcome)

    def _opened(self) -> SQLiteFile:
        if self._file is None:
            self._file = self._open_file()
        return self._file

    def _close_file(self) -> None:
        file, self._file = self._file, None
        try:
            if file is not None:
                file.close()
        except sqlite3.Error as error:
            _log.warning("the store %s failed while it was closing: %s", self._where, error)


def to_store_error(error: Exception, where: str) -> StoreError:
    """Convert an error of SQLite or the operating system."""
    if isinstance(error, StoreError):
        return error
    if isinstance(error, sqlite3.Error):
        leaf = _SQLITE_ERRORS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, StoreUnavailableError)
    elif isinstance(error, OSError):
        leaf = _OS_ERRORS.get(error.errno, StoreUnavailableError)
    else:
        _log.error("the store %s failed", where, exc_info=error)
        leaf = StoreUnavailableError
    converted = leaf(where, str(error) or type(error).__name__)
    converted.__cause__ = error
    return converted
