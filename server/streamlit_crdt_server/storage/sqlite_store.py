"""Store of all rooms in one SQLite file.

*Saved* means committed with a write-ahead log and `synchronous=FULL` (rule S5): kill -9 loses no saved update. The
standard library's SQLite runs in one thread. A pool gains nothing, because SQLite serializes writes, and a commit must
not block the event loop.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from anyio import CancelScope, to_thread

from streamlit_crdt_server.errors import StoreUnavailableError
from streamlit_crdt_server.storage.file_lock import FileLock
from streamlit_crdt_server.storage.high_water_mark import HighWaterMark
from streamlit_crdt_server.storage.sqlite_file import Connect, SQLiteFile, create_file
from streamlit_crdt_server.storage.sqlite_log import SQLiteLog
from streamlit_crdt_server.storage.sqlite_writer import SQLiteWriter, to_store_error
from streamlit_crdt_server.storage.store import StoredRoom


class SQLiteStore:
    """A `Store` in one file, which it owns between `__aenter__` and `__aexit__`.

    Beside the file are SQLite's `-wal` and `-shm`, a `-lease` (file lock) and a `-mark` (sequence number of the last
    commit). Copy a store that is in use with SQLite's backup, not with `cp`.
    """

    level = 2

    def __init__(
        self, path: str | PathLike[str], *, busy_timeout_s: float = 1.0, connect: Connect = sqlite3.connect
    ) -> None:
        """Set the file. `async with` opens it, and creates it if it does not exist.

        Args:
            path: The file.
            busy_timeout_s: Seconds that a write waits while another program, such as a backup, locks the file.
            connect: Replacement of `sqlite3.connect`.
        """
        self.path = Path(path).resolve()  # one file has one lock, whichever path leads to it
        self._busy_timeout_s = busy_timeout_s
        self._connect = connect
        self._writer: SQLiteWriter | None = None
        self._closing = ExitStack()

    async def __aenter__(self) -> Self:
        """Lock, check and open the file.

        Raises:
            StoreBusyError: Another store owns the file.
            StoreCorruptError: The file is damaged or not a store. It is unchanged.
            StoreFullError, StoreReadOnlyError, StoreUnavailableError: The file cannot be opened for writing.
        """
        with CancelScope(shield=True):
            await to_thread.run_sync(self._open)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Complete the pending calls, close the file and release the lock."""
        self._writer = None
        with CancelScope(shield=True):
            await to_thread.run_sync(self._closing.close)

    async def load(self, room: str) -> StoredRoom:
        """Return `room`. Its damaged updates are moved out of the log, kept, logged and counted."""
        found: StoredRoom | None = await self._submit(lambda log: log.find(room), is_write=False)
        if found is not None:
            return found
        stored: StoredRoom = await self._submit(lambda log: log.load(room))
        return stored

    async def append(self, room: str, update: bytes) -> None:
        await self._submit(lambda log: log.append(room, update))

    async def compact(self, room: str, state: bytes) -> None:
        await self._submit(lambda log: log.compact(room, state))

    async def rewrite(self, room: str, state: bytes, past: bytes) -> None:
        """See `RewritingStore`."""
        await self._submit(lambda log: log.rewrite(room, state, past))

    async def set_aside(self, room: str, update: bytes, why: str) -> None:
        await self._submit(lambda log: log.set_aside(room, update, why))

    async def delete(self, room: str) -> None:
        await self._submit(lambda log: log.delete(room))

    async def rooms(self) -> Sequence[str]:
        names: Sequence[str] = await self._submit(lambda log: log.rooms(), is_write=False)
        return names

    async def written(self) -> Sequence[str]:
        names: Sequence[str] = await self._submit(lambda log: log.written(), is_write=False)
        return names

    async def sizes(self) -> Mapping[str, int]:
        """Return the bytes of each room, see `SizedStore`."""
        found: Mapping[str, int] = await self._submit(lambda log: log.sizes(), is_write=False)
        return found

    async def _submit(self, work: Callable[[SQLiteLog], Any], *, is_write: bool = True) -> Any:
        if self._writer is None:
            raise StoreUnavailableError(str(self.path), "the store is not open")
        return await asyncio.wrap_future(self._writer.submit(work, is_write=is_write))

    def _open(self) -> None:
        with ExitStack() as stack:
            try:
                lock = FileLock(self.path)
                stack.callback(lock.release)
                mark = HighWaterMark(self.path)
                stack.callback(mark.close)
                create_file(self.path, mark, self._connect)
            except (OSError, sqlite3.Error) as error:
                raise to_store_error(error, str(self.path)) from error
            writer = SQLiteWriter(lambda: self._open_file(mark), str(self.path))
            stack.callback(writer.close)
            writer.submit(SQLiteLog.advance, is_write=True).result()  # fails now if the file is not writable
            self._closing = stack.pop_all()
            self._writer = writer

    def _open_file(self, mark: HighWaterMark) -> SQLiteFile:
        return SQLiteFile(self.path, mark, self._connect, self._busy_timeout_s)
