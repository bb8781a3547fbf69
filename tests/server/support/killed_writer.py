"""Processes that write to a store until they are killed.

For each line `FILE AIM NTH DELAY_S` on stdin one is forked. It says on stdout what was saved, and when SQLite
goes in and out of a commit and a compaction. Aimed at `COMMIT` or `DELETE` (the statement of a compaction), it
kills itself that long after the NTH of them has begun; aimed at `nothing` it waits to be killed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
import threading
from itertools import count
from typing import Any

from streamlit_crdt_server import SQLiteStore

ROOMS = ("ada", "bob", "cleo")
COMPACT_EVERY = 5


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


class Watched(sqlite3.Connection):
    """Tells when it is inside a statement, and kills its process there."""

    aim = "nothing"
    nth = 0
    delay_s = 0.0
    seen = 0

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        verb = sql.split()[0]
        if verb not in ("COMMIT", "DELETE"):
            return super().execute(sql, *parameters)
        if verb == self.aim:
            Watched.seen += 1
        say(f"> {verb}")
        if verb == self.aim and Watched.seen == self.nth:
            threading.Timer(self.delay_s, os.kill, (os.getpid(), signal.SIGKILL)).start()
        cursor = super().execute(sql, *parameters)
        say(f"< {verb}")
        return cursor


def connect(*args: Any, **options: Any) -> sqlite3.Connection:
    return sqlite3.connect(*args, factory=Watched, **options)


async def write(store: SQLiteStore, room: str) -> None:
    """Append numbers as text; a compaction joins them, so that a room's log always reads 0 1 2 …"""
    held = b" ".join((await store.load(room)).updates).split()
    for number in count(len(held)):
        update = str(number).encode()
        await store.append(room, update)
        held.append(update)
        say(f"saved {room} {number}")
        if number % COMPACT_EVERY == 0:
            await store.compact(room, b" ".join(held))


async def run(file: str) -> None:
    async with SQLiteStore(file, connect=connect) as store:
        await asyncio.gather(*(write(store, room) for room in ROOMS))


def main() -> None:
    """Fork, so that not each of them imports everything again."""
    for line in sys.stdin:
        file, Watched.aim, nth, delay_s = line.split("\t")
        Watched.nth, Watched.delay_s = int(nth), float(delay_s)
        victim = os.fork()
        if victim == 0:
            asyncio.run(run(file))
        say(f"forked {victim}")
        say(f"ended {os.waitstatus_to_exitcode(os.waitpid(victim, 0)[1])}")


main()
