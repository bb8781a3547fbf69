"""Processes that write to a store until they are killed.

Each line `FILE TARGET NTH DELAY_S` on stdin forks one writer. It prints the saved updates, and the begin and end of
each commit and compaction. With the target `COMMIT` or `DELETE` (the statement of a compaction), it kills itself
DELAY_S after the begin of the NTH one. With the target `nothing` it waits to be killed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any

from streamlit_crdt_server import SQLiteStore

ROOMS = ("ada", "bob", "cleo")
COMPACT_EVERY = 5


def write_line(text: str) -> None:
    os.write(1, f"{text}\n".encode())


class KillingConnection(sqlite3.Connection):
    """A connection that prints the begin and end of statements, and kills its process within one."""

    target = "nothing"
    nth = 0
    delay_s = 0.0
    seen = 0

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        verb = sql.split()[0]
        if verb not in ("COMMIT", "DELETE"):
            return super().execute(sql, *parameters)
        if verb == self.target:
            KillingConnection.seen += 1
        write_line(f"> {verb}")
        if verb == self.target and KillingConnection.seen == self.nth:
            threading.Timer(self.delay_s, os.kill, (os.getpid(), signal.SIGKILL)).start()
        cursor = super().execute(sql, *parameters)
        write_line(f"< {verb}")
        return cursor


def connect(*args: Any, **options: Any) -> sqlite3.Connection:
    return sqlite3.connect(*args, factory=KillingConnection, **options)


async def write(store: SQLiteStore, room: str) -> None:
    """Append numbers as text. A compaction or rewrite joins them, so that the log of a room always reads 0 1 2 …"""
    written = b" ".join((await store.load(room)).updates).split()
    for number in count(len(written)):
        update = str(number).encode()
        await store.append(room, update)
        written.append(update)
        write_line(f"saved {room} {number}")
        if number % (2 * COMPACT_EVERY) == 0:
            stored = await store.load(room)
            await store.rewrite(room, b" ".join(written), stored.past + b" " + stored.epoch.encode())
        elif number % COMPACT_EVERY == 0:
            await store.compact(room, b" ".join(written))


async def run(file: str) -> None:
    async with SQLiteStore(file, connect=connect) as store:
        await asyncio.gather(*(write(store, room) for room in ROOMS))


def fork_per_line(run: Callable[[str], Coroutine[Any, Any, None]]) -> None:
    """Fork a process for each line on stdin, so that the modules are imported once only. It runs `run` with FILE."""
    for line in sys.stdin:
        file, KillingConnection.target, nth, delay_s = line.split("\t")
        KillingConnection.nth, KillingConnection.delay_s = int(nth), float(delay_s)
        child = os.fork()
        if child == 0:
            asyncio.run(run(file))
        write_line(f"forked {child}")
        write_line(f"ended {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}")


if __name__ == "__main__":
    fork_per_line(run)
