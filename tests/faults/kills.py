"""kill -9 of a room server at any moment: no edit that it reported as saved is lost.

Three clients edit two rooms of a server process until it is killed: from outside at a random moment, or by itself
within a commit or a compaction. Before the clients reconnect and could send their edits again, the store is read
without a server. It must contain each saved edit, or a later one of the same key.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pycrdt import Doc, Map

from streamlit_crdt_server import SQLiteStore
from tests.faults.result import Budget, Result
from tests.faults.support.peer import CONNECTION_ERRORS, Peer
from tests.server.support.server_process import ROOT

FULL = 500
FULL_IN_COMPACTION = 100
TARGETS = ("nothing", "nothing", "COMMIT", "DELETE", "DELETE")
LONGEST_DELAY_S = 0.0006
"""Seconds. About the time of a commit; with a longer delay most kills would come after it."""

KEYS = 12
KEPT = ROOT / ".test" / "faults" / "kills"
"""Folder for stores that lost an edit."""

ROUND_S = 30.0
"""Longest time of one round in seconds, after which the server is killed from outside."""


@dataclass
class Tally:
    """Kills by their moment, and lost edits."""

    kills: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    memory_kb: int = 0

    @property
    def rounds(self) -> int:
        return self.kills.total()


@dataclass
class Server:
    """A forked server: its process id and port, and the statements that it executes."""

    process: int = 0
    port: int = 0
    statement: str = ""
    compacts: bool = False
    is_over: bool = False
    memory_kb: int = 0

    def note(self, line: str) -> None:
        match line.split():
            case ["forked", process]:
                self.process = int(process)
            case ["port", port]:
                self.port = int(port)
            case [">", verb]:
                self.statement = verb
                self.compacts = self.compacts or verb == "DELETE"
            case ["<", verb]:
                self.statement = ""
                self.compacts = self.compacts and verb != "COMMIT"
            case ["ended", code]:
                assert int(code) == -signal.SIGKILL, f"the server ended with {code}"
                self.is_over = True

    @property
    def moment(self) -> str:
        if self.compacts:
            return "during compaction"
        return "during a commit" if self.statement else "between commits"

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.process, signal.SIGKILL)

    def read_memory(self) -> None:
        with suppress(OSError):
            for line in Path(f"/proc/{self.process}/status").read_text().splitlines():
                if line.startswith("VmHWM"):
                    self.memory_kb = int(line.split()[1])


@asynccontextmanager
async def forker() -> AsyncIterator[Process]:
    """Run the process that forks the servers."""
    environ = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "server")])}
    script = Path(__file__).parent / "support" / "killed_server.py"
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), stdin=PIPE, stdout=PIPE, env=environ
    )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(ROUND_S):
                await process.wait()
        finally:
            if process.returncode is None:
                process.kill()


async def run_round(
    process: Process, path: Path, peers: list[Peer], randomness: random.Random, tally: Tally
) -> None:
    """Run one server until it is killed, and check the store."""
    assert process.stdin is not None and process.stdout is not None
    target = randomness.choice(TARGETS)
    options = (
        target,
        randomness.randint(1, 2 if target == "DELETE" else 12),
        randomness.uniform(0, LONGEST_DELAY_S),
    )
    process.stdin.write("\t".join(map(str, (path, *options))).encode() + b"\n")
    server = Server()
    editing: list[asyncio.Task[None]] = []
    edits_left = randomness.randrange(1, 80) if target == "nothing" else 10_000

    def count_edit() -> None:
        nonlocal edits_left
        edits_left -= 1
        if edits_left == 0:
            server.read_memory()
            server.kill()

    killing = asyncio.get_running_loop().call_later(ROUND_S, server.kill)
    try:
        while not server.is_over:
            line = await process.stdout.readline()
            assert line, "the process that forks the servers ended"
            server.note(line.decode())
            if server.port and not editing:
                editing = [
                    asyncio.ensure_future(edit(peer, server.port, randomness, count_edit)) for peer in peers
                ]
    finally:
        killing.cancel()
        for task in editing:
            task.cancel()
        await asyncio.gather(*editing, return_exceptions=True)
    tally.kills[server.moment] += 1
    tally.memory_kb = max(tally.memory_kb, server.memory_kb)
    await check(path, peers, tally, f"round {tally.rounds}, {server.moment}")


async def edit(peer: Peer, port: int, randomness: random.Random, count_edit: Any) -> None:
    """Edit until the connection ends. A value names its edit, and is large enough that compaction is due often."""
    peer.port = port
    with suppress(*CONNECTION_ERRORS):
        async with peer:
            await peer.until_synced()
            while True:
                number = peer.edits + 1
                filler = "x" * randomness.choice((10, 200, 5000))
                await peer.edit(f"{peer.user}:{number % KEYS}", [number, filler])
                count_edit()
                if randomness.random() < 0.5:
                    await peer.until_saved()


async def check(path: Path, peers: list[Peer], tally: Tally, where: str) -> None:
    """Compare the store with the edits that were reported as saved."""
    async with SQLiteStore(path) as store:
        rooms = {room: await store.load(room) for room in {peer.room for peer in peers}}
    for peer in peers:
        stored = rooms[peer.room]
        ydoc: Doc[Any] = Doc()
        for update in stored.updates:
            ydoc.apply_update(update)
        values = ydoc.get("state", type=Map).to_py() or {}
        for number in range(max(1, peer.saved - KEYS + 1), peer.saved + 1):
            found = values.get(f"{peer.user}:{number % KEYS}", [0])[0]
            if found < number:
                tally.failures.append(f"{where}: edit {number} of {peer.user} is {found} in the store")
                keep(path, where)
        if stored.set_aside:
            tally.failures.append(f"{where}: {stored.set_aside} updates were set aside")


def keep(path: Path, where: str) -> None:
    """Copy the files of a store that lost an edit."""
    folder = KEPT / where.replace(" ", "-").replace(",", "")
    shutil.copytree(path.parent, folder, dirs_exist_ok=True)


async def run_rounds(folder: Path, seed: int, budget: Budget, rounds: int) -> Result:
    randomness = random.Random(seed)
    tally = Tally()
    peers = [Peer("one", "ada"), Peer("one", "bob"), Peer("two", "cleo")]
    in_compaction = FULL_IN_COMPACTION * rounds // FULL
    async with forker() as process:
        while not budget.is_spent and (
            tally.rounds < rounds or tally.kills["during compaction"] < in_compaction
        ):
            await run_round(process, folder / "rooms.db", peers, randomness, tally)
    return Result(
        campaign="kills",
        seed=seed,
        budget_s=budget.seconds,
        took_s=budget.spent_s,
        tried=tally.rounds,
        full=FULL,
        lost=len(tally.failures),
        failures=tuple(tally.failures),
        counts=dict(sorted(tally.kills.items())) | {"saved edits": sum(peer.saved for peer in peers)},
        memory_mb=tally.memory_kb / 1024,
    )


def run(seed: int, budget_s: float, rounds: int = FULL) -> Result:
    """Kill servers until the budget is spent or `rounds` are done."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(run_rounds(Path(folder), seed, Budget(budget_s), rounds))
