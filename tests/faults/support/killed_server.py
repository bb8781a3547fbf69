"""Room servers that are killed, forked from one process that imported everything.

Each line `STORE TARGET NTH DELAY_S` on stdin forks one server. It prints its port, and the begin and end of each
commit and compaction. With the target `COMMIT` or `DELETE` (the statement of a compaction), it kills itself DELAY_S
after the begin of the NTH one. With the target `nothing` it waits to be killed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sqlite3
import sys
import threading
from pathlib import Path
from typing import Any

from streamlit_crdt_server import Hub, KeyRing, Settings, SQLiteStore
from streamlit_crdt_server.runner import address_of, listen, run
from tests.server.support.server_process import SECRET


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


async def serve(path: str) -> None:
    settings = Settings(port=0, store=path, freeze_gc=False)
    listener = listen(settings.host, settings.port)
    port = address_of(listener)[1]
    store = SQLiteStore(Path(path), connect=connect)
    hub = Hub(settings, store=store, keys=KeyRing.from_secret(SECRET))
    await run(settings, hub, listener, asyncio.Event().wait, lambda *_: write_line(f"port {port}"))


def main() -> None:
    logging.disable(logging.CRITICAL)
    for line in sys.stdin:
        path, KillingConnection.target, nth, delay_s = line.split("\t")
        KillingConnection.nth, KillingConnection.delay_s = int(nth), float(delay_s)
        server = os.fork()
        if server == 0:
            asyncio.run(serve(path))
        write_line(f"forked {server}")
        write_line(f"ended {os.waitstatus_to_exitcode(os.waitpid(server, 0)[1])}")


if __name__ == "__main__":
    main()
