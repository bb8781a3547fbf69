"""A stand-alone room server in a process of its own, which a test starts, ends, kills and looks into.

Run as a script it is that process: `serve()` as the command runs it, and beside it an answer to each line on stdin that
tells what only the process itself knows.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pycrdt import Doc, Map, Text

from streamlit_crdt_server import Settings, SQLiteStore, serve

ROOT = Path(__file__).parents[3]
START_S = 20.0
END_S = 20.0
SECRET = "a secret that only this test knows"


class StandAlone:
    """One server after the other on one store; each takes a free port."""

    def __init__(self, store: Path, **settings: object) -> None:
        given = {"port": 0, "store": store, "secret": SECRET} | settings
        self.store = store
        self.port = 0
        self.log = store.with_suffix(".log")
        self._environ = os.environ | {"PYTHONPATH": str(ROOT / "server")}
        self._environ |= {f"STREAMLIT_CRDT_{name.upper()}": str(value) for name, value in given.items()}
        self._process: Process | None = None

    @property
    def process(self) -> Process:
        assert self._process is not None, "it was not started"
        return self._process

    async def start(self) -> None:
        """Start a server, and return when it listens."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, __file__, stdin=PIPE, stdout=PIPE, stderr=log, env=self._environ
            )
        announcement = await self._read_line(START_S)
        assert "ws://" in announcement, announcement + self.log.read_text()
        self.port = int(announcement.split(" (")[0].rpartition(":")[2])

    async def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, and return the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(how)
        try:
            async with asyncio.timeout(END_S):
                await self.process.communicate()
        finally:
            if self.process.returncode is None:
                self.process.kill()
        assert self.process.returncode is not None
        return self.process.returncode

    async def look_inside(self, *, collects: bool = False) -> Mapping[str, int]:
        """Tell what it holds now: memory in kB, open files, threads, tasks, objects. Linux only.

        Args:
            collects: Whether it collects its garbage first, so that objects are only those that are held.
        """
        assert self.process.stdin is not None
        self.process.stdin.write(b"collect\n" if collects else b"look\n")
        told: dict[str, int] = json.loads(await self._read_line(END_S))
        place = Path(f"/proc/{self.process.pid}")
        status = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines())
        return {
            "memory_kB": int(status["VmRSS"].split()[0]),
            "files": len(list((place / "fd").iterdir())),
            "threads": int(status["Threads"]),
            **told,
        }

    async def _read_line(self, timeout_s: float) -> str:
        assert self.process.stdout is not None
        async with asyncio.timeout(timeout_s):
            return (await self.process.stdout.readline()).decode()


@asynccontextmanager
async def stand_alone(store: Path, **settings: object) -> AsyncIterator[StandAlone]:
    """Yield a started server; whichever one runs at the end is ended."""
    server = StandAlone(store, **settings)
    await server.start()
    try:
        yield server
    finally:
        await server.end()


async def stored_state(store: Path, room: str) -> dict[str, Any]:
    """What the file of a server that has ended holds: the values of a room, and its text under "text"."""
    async with SQLiteStore(store) as opened:
        stored = await opened.load(room)
    assert stored.set_aside == 0
    replica: Doc[Any] = Doc()
    for update in stored.updates:
        replica.apply_update(update)
    state = dict(replica.get("state", type=Map).to_py() or {})
    return state | {"text": str(replica.get("text", type=Text))}


@asynccontextmanager
async def node(script: str, options: Mapping[str, Any]) -> AsyncIterator[Process]:
    """Run a script of `stock/` with its options, until the block ends."""
    process = await asyncio.create_subprocess_exec(
        "node",
        str(Path(__file__).parents[1] / "stock" / script),
        json.dumps(options),
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,
        limit=2**26,
    )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(END_S):
                await process.wait()
        finally:
            if process.returncode is None:
                process.kill()


def _answer() -> None:
    asked = sys.stdin.readline()
    if not asked:
        asyncio.get_running_loop().remove_reader(sys.stdin)
        return
    if asked == "collect\n":
        gc.collect()
    told = {"tasks": len(asyncio.all_tasks()), "objects": len(gc.get_objects())}
    print(json.dumps(told), flush=True)


async def _main() -> None:
    asyncio.get_running_loop().add_reader(sys.stdin, _answer)
    await serve(Settings.load())


if __name__ == "__main__":
    asyncio.run(_main())
