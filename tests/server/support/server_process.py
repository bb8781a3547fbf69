"""A stand-alone room server in its own process, which a test starts, stops, kills and inspects.

As a script, this module is that process: `serve()` as on the command line, and an answer to each line on stdin with
the numbers of tasks and objects.
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
    """Successive servers on one store. Each uses a free port."""

    def __init__(self, store: Path, **settings: object) -> None:
        given = {"port": 0, "store": store, "secret": SECRET} | settings
        self.store = store
        self.port = 0
        self.log = store.with_suffix(".log")
        self._environ = os.environ | {"PYTHONPATH": str(ROOT / "server")}
        self._environ |= {f"STREAMLIT_CRDT_{name.upper()}": str(value) for name, value in given.items()}
        self._process: Process | None = None

    def prepend_path(self, folder: Path) -> None:
        """Make the servers that are started later import from `folder` first."""
        self._environ["PYTHONPATH"] = os.pathsep.join([str(folder), self._environ["PYTHONPATH"]])

    @property
    def process(self) -> Process:
        assert self._process is not None, "the server was not started"
        return self._process

    async def start(self) -> None:
        """Start a server, and return once it listens."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, __file__, stdin=PIPE, stdout=PIPE, stderr=log, env=self._environ
            )
        announcement = await self._read_line(START_S)
        assert "ws://" in announcement, announcement + self.log.read_text()
        self.port = int(announcement.split(" (")[0].rpartition(":")[2])

    async def end(self, signal_number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, and return the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal_number)
        try:
            async with asyncio.timeout(END_S):
                await self.process.communicate()
        finally:
            if self.process.returncode is None:
                self.process.kill()
        assert self.process.returncode is not None
        return self.process.returncode

    async def read_resources(self, *, collects: bool = False) -> Mapping[str, int]:
        """Return the resources of the process: memory in kB, open files, threads, tasks, objects. Linux only.

        Args:
            collects: Whether the process collects garbage first, so that only referenced objects are counted.
        """
        assert self.process.stdin is not None
        self.process.stdin.write(b"collect\n" if collects else b"look\n")
        counts: dict[str, int] = json.loads(await self._read_line(END_S))
        proc = Path(f"/proc/{self.process.pid}")
        status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
        return {
            "memory_kB": int(status["VmRSS"].split()[0]),
            "files": len(list((proc / "fd").iterdir())),
            "threads": int(status["Threads"]),
            **counts,
        }

    async def _read_line(self, timeout_s: float) -> str:
        assert self.process.stdout is not None
        async with asyncio.timeout(timeout_s):
            return (await self.process.stdout.readline()).decode()


@asynccontextmanager
async def stand_alone(store: Path, **settings: object) -> AsyncIterator[StandAlone]:
    """Yield a started server, and stop the server that runs at the end."""
    server = StandAlone(store, **settings)
    await server.start()
    try:
        yield server
    finally:
        await server.end()


async def stored_state(store: Path, room: str) -> dict[str, Any]:
    """Return the values of a room from the store of a stopped server, and its text under "text"."""
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
    """Run a Node script of `stock/` with its options until the block ends."""
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
    line = sys.stdin.readline()
    if not line:
        asyncio.get_running_loop().remove_reader(sys.stdin)
        return
    if line == "collect\n":
        gc.collect()
    counts = {"tasks": len(asyncio.all_tasks()), "objects": len(gc.get_objects())}
    print(json.dumps(counts), flush=True)


async def _main() -> None:
    asyncio.get_running_loop().add_reader(sys.stdin, _answer)
    await serve(Settings.load())


if __name__ == "__main__":
    asyncio.run(_main())
