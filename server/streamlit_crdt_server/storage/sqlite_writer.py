"""One thread that does everything with a database, and makes one commit of all that waits for one.

A commit waits for the disk, a millisecond or fifty. What is asked for meanwhile queues up and shares the next
commit, so that a hundred rooms which save at once wait for two commits and not for a hundred.

An error of the disk ends the connection, because SQLite's idea of the file may be wrong then; the next
request opens and checks the file anew. So a store has no failed state to be brought out of.
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

_SAID_BY_SQLITE: dict[int, type[StoreError]] = {
    sqlite3.SQLITE_FULL: StoreFullError,
    sqlite3.SQLITE_READONLY: StoreReadOnlyError,
    sqlite3.SQLITE_CORRUPT: StoreCorruptError,
    sqlite3.SQLITE_NOTADB: StoreCorruptError,
}
_SAID_BY_THE_SYSTEM: dict[int | None, type[StoreError]] = {
    errno.ENOSPC: StoreFullError,
    errno.EROFS: StoreReadOnlyError,
    errno.EACCES: StoreReadOnlyError,
    errno.EPERM: StoreReadOnlyError,
}
_CONNECTION_IS_SOUND = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
)


@dataclass(frozen=True, slots=True)
class _Job:
    work: Callable[[SQLiteLog], Any]
    is_write: bool
    done: Future[Any] = field(default_factory=Future)


class SQLiteWriter:
    """The thread, from its making until `close()`. `submit` and `close` are called from one thread only."""

    def __init__(self, open_file: Callable[[], SQLiteFile], where: str) -> None:
        self._open_file = open_file
        self._where = where
        self._file: SQLiteFile | None = None
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name=f"store {where}", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[SQLiteLog], Any], *, is_write: bool) -> Future[Any]:
        """Have `work` done; the future fails with a StoreError, or is done once a write is on the disk.

        Reads of one group come before its writes, and do not fail with them.
        """
        job = _Job(work, is_write)
        if self._is_closed:
            job.done.set_exception(StoreUnavailableError(self._where, "it is closed"))
        else:
            self._jobs.put(job)
        return job.done

    def close(self) -> None:
        """Do what was submitted, close the file, and wait for that. May be called again."""
        if not self._is_closed:
            self._is_closed = True
            self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        goes_on = True
        while goes_on:
            waiting = [self._jobs.get()]
            while not self._jobs.empty():
                waiting.append(self._jobs.get())
            goes_on = None not in waiting
            group = [job for job in waiting if job is not None and job.done.set_running_or_notify_cancel()]
            for job in group:
                if not job.is_write:
                    self._settle([job], self._read)
            writes = [job for job in group if job.is_write]
            if writes:
                self._settle(writes, self._write)
        self._close_file()

    def _read(self, jobs: Sequence[_Job]) -> list[Any]:
        return [job.work(self._opened().log) for job in jobs]

    def _write(self, jobs: Sequence[_Job]) -> list[Any]:
        return self._opened().transact([job.work for job in jobs])

    def _settle(self, jobs: Sequence[_Job], act: Callable[[Sequence[_Job]], list[Any]]) -> None:
        """Act on the jobs and tell each how it went: the outer edge of the thread, which nothing ends."""
        try:
            outcomes = act(jobs)
        except Exception as error:
            outcomes = [explain(error, self._where)] * len(jobs)
            if getattr(error, "sqlite_errorcode", 0) not in _CONNECTION_IS_SOUND:
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
            _log.warning("the store %s did not close well: %s", self._where, error)


def explain(error: Exception, where: str) -> StoreError:
    """Say in this package's terms what SQLite or the operating system said."""
    if isinstance(error, StoreError):
        return error
    if isinstance(error, sqlite3.Error):
        leaf = _SAID_BY_SQLITE.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, StoreUnavailableError)
    elif isinstance(error, OSError):
        leaf = _SAID_BY_THE_SYSTEM.get(error.errno, StoreUnavailableError)
    else:
        _log.error("the store %s failed", where, exc_info=error)
        leaf = StoreUnavailableError
    explained = leaf(where, str(error) or type(error).__name__)
    explained.__cause__ = error
    return explained
