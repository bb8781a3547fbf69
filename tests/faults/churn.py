"""People who come and go: what they used is released.

Clients join rooms of a server, edit, and leave, some of them without a closing handshake. Rooms become empty, are
evicted and loaded again. After a tenth of the time, and again at the end, everybody leaves and all rooms are evicted.
Memory, threads and file descriptors of the second rest must be within ten percent of the first.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tests.faults.result import Budget, Result
from tests.faults.support.honest_pair import honest_pair
from tests.faults.support.peer import CONNECTION_ERRORS, Peer
from tests.server.support.server_process import StandAlone, stand_alone

FULL = 1800
"""Seconds. The count of this campaign is its time."""

PEOPLE = 12
ROOMS = 40
EVICT_AFTER_S = 1.0
TOLERANCE = 1.10
REST_S = 60.0
SLACK: Mapping[str, int] = {"memory_kB": 4096, "threads": 1, "files": 1}
"""Units that count as equal also if they are more than ten percent: few threads make one of them a tenth."""


async def come_and_go(
    number: int, port: int, randomness: random.Random, ends_at: float, counts: Counter[str]
) -> None:
    """Visit random rooms until `ends_at`."""
    while time.monotonic() < ends_at:
        peer = Peer(f"room{randomness.randrange(ROOMS)}", f"person{number}")
        peer.port = port
        try:
            async with asyncio.timeout(60), peer:
                await peer.until_synced()
                for _ in range(randomness.randrange(1, 12)):
                    key = f"{peer.user}:{randomness.randrange(5)}"
                    await peer.edit(key, "x" * randomness.choice((10, 100, 2000)))
                    await asyncio.sleep(randomness.uniform(0, 0.2))
                await peer.until_saved()
                counts["saved edits"] += peer.saved
                if randomness.random() < 0.5:
                    await peer.socket.close()
                    counts["orderly leaves"] += 1
                else:
                    counts["abrupt leaves"] += 1
        except CONNECTION_ERRORS as error:
            counts[f"failed visits ({type(error).__name__})"] += 1


async def visit_until(port: int, randomness: random.Random, ends_at: float, counts: Counter[str]) -> None:
    seeds = [random.Random(randomness.random()) for _ in range(PEOPLE)]
    await asyncio.gather(
        *(come_and_go(number, port, seed, ends_at, counts) for number, seed in enumerate(seeds))
    )


async def rest(server: StandAlone, tasks: int) -> Mapping[str, int]:
    """Return the resources once no task of a connection or room is left."""
    ends_at = time.monotonic() + REST_S
    while True:
        resources = await server.read_resources(collects=True)
        if resources["tasks"] <= tasks or time.monotonic() > ends_at:
            return resources
        await asyncio.sleep(0.5)


async def soak(server: StandAlone, seed: int, budget: Budget, seconds: float) -> Result:
    randomness = random.Random(seed)
    counts: Counter[str] = Counter()
    tasks = (await server.read_resources())["tasks"]
    started_at = time.monotonic()
    await visit_until(server.port, randomness, started_at + seconds / 10, counts)
    first = await rest(server, tasks)
    async with honest_pair(server.port) as pair:
        await asyncio.sleep(min(3.0, seconds / 10))
        calm_ms = await pair.read_longest_ms()
        await asyncio.gather(
            visit_until(server.port, randomness, started_at + seconds, counts), asyncio.sleep(1)
        )
        stall_ms = await pair.read_longest_ms()
    took_s = time.monotonic() - started_at
    memory_mb = (await server.read_resources())["memory_kB"] / 1024
    last = await rest(server, tasks)
    failures = [
        f"{name}: {first[name]} after a tenth of the time, {last[name]} at the end"
        for name in SLACK
        if last[name] > max(TOLERANCE * first[name], first[name] + SLACK[name])
    ]
    with suppress(ProcessLookupError):
        code = await server.end()
        failures += [f"the server ended with {code}"] if code else []
    return Result(
        campaign="churn",
        seed=seed,
        budget_s=budget.seconds,
        took_s=budget.spent_s,
        tried=round(took_s),
        full=FULL,
        lost=len(failures),
        failures=tuple(failures),
        counts=dict(sorted(counts.items()))
        | {f"{name} after a tenth of the time": first[name] for name in SLACK}
        | {f"{name} at the end": last[name] for name in SLACK},
        stall_ms=stall_ms,
        calm_stall_ms=calm_ms,
        memory_mb=memory_mb,
    )


async def run_soak(folder: Path, seed: int, budget: Budget, seconds: float) -> Result:
    async with stand_alone(folder / "rooms.db", evict_after_s=EVICT_AFTER_S) as server:
        return await soak(server, seed, budget, seconds)


def run(seed: int, budget_s: float, seconds: float = FULL) -> Result:
    """Send people in and out for `seconds`, or as long as the budget allows."""
    with tempfile.TemporaryDirectory() as folder:
        limit_s = max(min(seconds, budget_s - 15), budget_s / 2)
        return asyncio.run(run_soak(Path(folder), seed, Budget(budget_s), min(limit_s, seconds)))
