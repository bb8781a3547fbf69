"""All rooms in one SQLite file: the store that people's work is trusted to.

*Saved* means committed with a write-ahead log and `synchronous=FULL` (rule S5): kill -9 loses nothing that was
confirmed. It is the standard library's SQLite in one thread, because what SQLite serialises anyway gains
nothing from a pool, and a commit that blocks must not block the event loop.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
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
from streamlit_crdt_server.storage.sqlite_writer import SQLiteWriter, explain
from streamlit_crdt_server.storage.store import StoredRoom


class SQLiteStore:
    """Keeps rooms in one file, and owns that file while it is entered; see `Store`.

    Beside the file lie SQLite's `-wal` and `-shm`, a `-lease` (which process owns it) and a `-mark` (how far it
    has come). To copy a store that is in use, use SQLite's backup, not `cp`.
    """

    level = 2

    def __init__(
        self, path: str | PathLike[str], *, busy_timeout_s: float = 1.0, connect: Connect = sqlite3.connect
    ) -> None:
        """Name the file; it is opened, and made if it is not there, by `async with`.

        Args:
            path: The file.
            busy_timeout_s: How long a write waits while another program, a backup perhaps, has the file locked.
            connect: Makes a connection, as `sqlite3.connect` does.
        """
        self.path = Path(path).resolve()  # one file has one lease, by whatever name it is reached
        self._busy_timeout_s = busy_timeout_s
        self._connect = connect
        self._writer: SQLiteWriter | None = None
        self._closing = ExitStack()

    async def __aenter__(self) -> Self:
        """Take the lease, check the file and open it.

        Raises:
            StoreBusyError: Another store owns the file.
            StoreCorruptError: It is damaged, or no store; it is left as it was.
            StoreFullError, StoreReadOnlyError, StoreUnavailableError: It cannot be opened for writing.
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
        """Finish what was asked for, close the file and give up the lease."""
        self._writer = None
        with CancelScope(shield=True):
            await to_thread.run_sync(self._closing.close)

    async def load(self, room: str) -> StoredRoom:
        """Return all of `room`; what of it is damaged is moved out of the log, kept, logged and counted."""
        found: StoredRoom | None = await self._ask(lambda log: log.find(room), is_write=False)
        if found is not None:
            return found
        stored: StoredRoom = await self._ask(lambda log: log.load(room))
        return stored

    async def append(self, room: str, update: bytes) -> None:
        await self._ask(lambda log: log.append(room, update))

    async def compact(self, room: str, state: bytes) -> None:
        await self._ask(lambda log: log.compact(room, state))

    async def set_aside(self, room: str, update: bytes, why: str) -> None:
        await self._ask(lambda log: log.set_aside(room, update, why))

    async def delete(self, room: str) -> None:
        await self._ask(lambda log: log.delete(room))

    async def rooms(self) -> Sequence[str]:
        names: Sequence[str] = await self._ask(lambda log: log.rooms(), is_write=False)
        return names

    async def written(self) -> Sequence[str]:
        names: Sequence[str] = await self._ask(lambda log: log.written(), is_write=False)
        return names

    async def _ask(self, work: Callable[[SQLiteLog], Any], *, is_write: bool = True) -> Any:
        if self._writer is None:
            raise StoreUnavailableError(str(self.path), "it is not open")
        return await asyncio.wrap_future(self._writer.submit(work, is_write=is_write))

    def _open(self) -> None:
        with ExitStack() as stack:
            try:
                lease = FileLock(self.path)
                stack.callback(lease.release)
                mark = HighWaterMark(self.path)
                stack.callback(mark.close)
                create_file(self.path, mark, self._connect)
            except (OSError, sqlite3.Error) as error:
                raise explain(error, str(self.path)) from error
            writer = SQLiteWriter(lambda: self._open_file(mark), str(self.path))
            stack.callback(writer.close)
            writer.submit(
                SQLiteLog.advance, is_write=True
            ).result()  # finds out now whether it can be written
            self._closing = stack.pop_all()
            self._writer = writer

    def _open_file(self, mark: HighWaterMark) -> SQLiteFile:
        return SQLiteFile(self.path, mark, self._connect, self._busy_timeout_s)
