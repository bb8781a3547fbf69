"""Room servers that are killed, forked from one process that imported everything.

Each line `STORE TARGET NTH DELAY_S` on stdin forks one server. It prints its port, and the begin and end of each
commit and compaction. With the target `COMMIT` or `DELETE` (the statement of a compaction), it kills itself DELAY_S
after the begin of the NTH one. With the target `nothing` it waits to be killed.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from streamlit_crdt_server import Hub, KeyRing, Settings, SQLiteStore
from streamlit_crdt_server.runner import address_of, listen, run
from tests.server.support.killed_writer import connect, fork_per_line, write_line
from tests.server.support.server_process import SECRET


async def serve(path: str) -> None:
    settings = Settings(port=0, store=path, freeze_gc=False)
    listener = listen(settings.host, settings.port)
    port = address_of(listener)[1]
    store = SQLiteStore(Path(path), connect=connect)
    hub = Hub(settings, store=store, keys=KeyRing.from_secret(SECRET))
    await run(settings, hub, listener, asyncio.Event().wait, lambda *_: write_line(f"port {port}"))


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    fork_per_line(serve)
