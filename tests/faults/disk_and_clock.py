"""Disk and clock faults of a running server: no false "saved", and no saved edit is lost.

Four kinds alternate. The kernel limits the size of the server's files until its writes fail, and lifts the limit. The
wall clock of the server jumps by up to a day, in both directions, between edits. A second server is started on the
same file. The server is stopped, and its file gets the version of a later release, which must be rejected.
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
import signal
import sqlite3
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

from streamlit_crdt_server.storage.sqlite_log import VERSION
from tests.faults.result import Budget, Result
from tests.faults.support.peer import Peer
from tests.server.support.server_process import ROOT, StandAlone, stand_alone, stored_state

FULL = 60
ROOM = "room"
JUMPS_S = (-86_000, -3600, -60, 60, 3600, 80_000)
"""Steps of the clock in seconds, below the validity of the tokens."""

WAIT_S = 60.0
SHIM = "import time; _now = time.time; time.time = lambda: _now() + float(open({path!r}).read() or 0)"


class Faults:
    """One server process and one peer, and the faults that are made."""

    def __init__(self, folder: Path, server: StandAlone, randomness: random.Random) -> None:
        self.clock = folder / "clock"
        self.server = server
        self.peer = Peer(ROOM, "ada")
        self.failures: list[str] = []
        self._randomness = randomness

    async def edit(self, count: int = 1) -> None:
        for _ in range(count):
            await self.peer.edit(f"ada:{self.peer.edits + 1}", "x" * 3000)

    async def connect(self) -> None:
        self.peer.port = self.server.port
        await self.peer.__aenter__()
        await self.peer.until_synced()

    async def restart(self) -> None:
        await self.peer.__aexit__(None, None, None)
        await self.server.end(signal.SIGKILL)
        await self.check_store()
        await self.server.start()
        await self.connect()
        await self.peer.until_saved(WAIT_S)

    async def check_store(self) -> None:
        values = await stored_state(self.server.store, ROOM)
        lost = [number for number in range(1, self.peer.saved + 1) if f"ada:{number}" not in values]
        self.failures += [f"edit {number} is not in the store" for number in lost]

    async def fill_disk(self) -> None:
        """Make writes fail, edit meanwhile, and lift the limit."""
        pid = self.server.process.pid
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        wal = Path(f"{self.server.store}-wal").stat().st_size
        saved = self.peer.saved
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (min(wal, 4096), before[1]))
        await self.edit(self._randomness.randint(1, 5))
        await asyncio.sleep(
            self._randomness.uniform(0.1, 0.5)
        )  # a part of the fault: saving is retried meanwhile
        if self.peer.saved > saved:
            self.failures.append(f"edit {self.peer.saved} is reported as saved on a full disk")
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        await self.peer.until_saved(WAIT_S)

    async def step_clock(self) -> None:
        self.clock.write_text(str(self._randomness.choice(JUMPS_S)))
        await self.edit(2)
        await self.peer.until_saved(WAIT_S)
        self.clock.write_text("0")
        await self.edit(2)
        await self.peer.until_saved(WAIT_S)

    async def start_second_server(self) -> None:
        code, text = await self._start_other()
        if code == 0 or "uses it" not in text:
            self.failures.append(f"a second server ended with {code}: {text[-200:]}")
        await self.edit()
        await self.peer.until_saved(WAIT_S)

    async def use_later_version(self) -> None:
        await self.peer.__aexit__(None, None, None)
        await self.server.end()
        _set_version(self.server.store, 99)
        code, text = await self._start_other()
        if code == 0 or "upgrade streamlit-crdt" not in text:
            self.failures.append(f"a file of a later version: {code}: {text[-200:]}")
        _set_version(self.server.store, None)
        await self.server.start()
        await self.connect()

    async def _start_other(self) -> tuple[int | None, str]:
        """Start `streamlit-crdt serve` on the store, and return its exit code and its errors."""
        environ = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "server")])}
        command = ["-m", "streamlit_crdt", "serve", "--port", "0", "--store", str(self.server.store)]
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, env=environ
        )
        try:
            async with asyncio.timeout(WAIT_S):
                _, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        return process.returncode, errors.decode("utf-8", "replace")


def _set_version(store: Path, version: int | None) -> None:
    """Set the version of the tables; None restores the current one."""
    with closing(sqlite3.connect(store)) as database, database:
        database.execute(f"PRAGMA user_version = {VERSION if version is None else version}")


KINDS: dict[str, tuple[Callable[[Faults], Awaitable[None]], float]] = {
    "full disks": (Faults.fill_disk, 3),
    "clock steps": (Faults.step_clock, 3),
    "second servers": (Faults.start_second_server, 1),
    "files of a later version": (Faults.use_later_version, 1),
    "kills": (Faults.restart, 1),
}


async def run_faults(folder: Path, seed: int, budget: Budget, rounds: int) -> Result:
    randomness = random.Random(seed)
    counts: Counter[str] = Counter()
    clock = folder / "clock"
    clock.write_text("0")
    shim = folder / "shim"
    shim.mkdir()
    (shim / "sitecustomize.py").write_text(SHIM.format(path=str(clock)))
    async with stand_alone(folder / "rooms.db") as server:
        server.prepend_path(shim)
        await server.end()
        await server.start()
        faults = Faults(folder, server, randomness)
        await faults.connect()
        await faults.edit()
        await faults.peer.until_saved()
        weights = [weight for _, weight in KINDS.values()]
        while counts.total() < rounds and not budget.is_spent:
            kind = randomness.choices(list(KINDS), weights)[0]
            await KINDS[kind][0](faults)
            counts[kind] += 1
        memory_mb = (await server.read_resources())["memory_kB"] / 1024
        await faults.peer.__aexit__(None, None, None)
        await server.end()
        await faults.check_store()
    return Result(
        campaign="disk_and_clock",
        seed=seed,
        budget_s=budget.seconds,
        took_s=budget.spent_s,
        tried=counts.total(),
        full=FULL,
        lost=len(faults.failures),
        failures=tuple(faults.failures),
        counts=dict(sorted(counts.items())) | {"saved edits": faults.peer.saved},
        memory_mb=memory_mb,
    )


def run(seed: int, budget_s: float, rounds: int = FULL) -> Result:
    """Make faults until the budget is spent or `rounds` are done."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(run_faults(Path(folder), seed, Budget(budget_s), rounds))
