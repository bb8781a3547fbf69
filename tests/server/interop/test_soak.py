"""Fifty stock clients that come and go: the server keeps no memory, file or task of those who left. See `make soak`."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import pytest

from tests.server.support.node_clients import Crowd, crowd, member_token
from tests.server.support.server_process import ROOT, StandAlone, stand_alone

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.soak,
    pytest.mark.skipif(
        shutil.which("node") is None or not (ROOT / "node_modules" / "y-websocket").is_dir(),
        reason="needs Node and the packages of package.json: run `npm ci`",
    ),
    pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="what a process holds is read from /proc"),
]

SOAK_S = float(os.environ.get("STREAMLIT_CRDT_TEST_SOAK_S", "1800"))
CLIENTS = 50
ROOMS = 40
"""More than clients leave behind: rooms become empty, are evicted, and are loaded again."""

CHURN_S = 0.2
SAMPLES = 90
SLACK = {"memory_kB": 16 * 1024, "files": 8, "threads": 2, "tasks": 40, "objects": 5000}
"""What the last third may have more than the middle.

Files, tasks and objects differ by connections that overlap, objects by garbage besides. Memory is the allocator's: it
takes more from the system during the first thousand connections while what Python holds stays the same.
"""

MAX_OBJECTS_LEFT = 1000
"""What may be there more than before the first client, when the last has left: caches of the libraries."""


async def sample(server: StandAlone, clients: Crowd, chance: random.Random) -> list[Mapping[str, int]]:
    """Replace a client every now and then for as long as the soak lasts, and look into the server meanwhile."""
    samples: list[Mapping[str, int]] = []
    started_at = time.monotonic()
    while (elapsed_s := time.monotonic() - started_at) < SOAK_S:
        room = f"room{chance.randrange(ROOMS)}"
        place = {"slot": chance.randrange(CLIENTS), "room": room, "token": member_token(room, room)}
        clients.tell(replace=place | {"abruptly": chance.random() < 0.5})
        if elapsed_s >= len(samples) * SOAK_S / SAMPLES:
            samples.append(await server.look_inside())
        await asyncio.sleep(CHURN_S)  # the load itself, not a wait for something
    return samples


async def until_quiet(server: StandAlone, before: Mapping[str, int]) -> Mapping[str, int]:
    """Return what the server holds when everybody has left and every room was evicted."""
    ends_at = time.monotonic() + 30
    while True:
        now = await server.look_inside(collects=True)
        if now["tasks"] <= before["tasks"] or time.monotonic() > ends_at:
            return now
        await asyncio.sleep(0.2)


def metric(server: StandAlone, name: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.split()[0] == name)


def thirds(samples: Sequence[Mapping[str, int]], name: str) -> list[float]:
    size = len(samples) // 3
    return [median(one[name] for one in samples[part * size : (part + 1) * size]) for part in range(3)]


async def test_N2_what_the_server_holds_does_not_grow_with_those_who_left(tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    print(f"seed {seed}, {SOAK_S:.0f} s")
    async with stand_alone(tmp_path / "rooms.db", evict_after_s=2) as server:
        before = await server.look_inside()
        rooms = [f"room{number % ROOMS}" for number in range(CLIENTS)]
        async with crowd(server.port, rooms, seed=seed, pause_ms=8, keeps_all=False) as clients:
            clients.tell(write=True)
            samples = await sample(server, clients, chance)
            clients.tell(write=False)
        after = await until_quiet(server, before)
        left_open = {
            name: await asyncio.to_thread(metric, server, f"streamlit_crdt_{name}")
            for name in ("rooms", "connections", "store_errors_total")
        }
        updates = await asyncio.to_thread(metric, server, "streamlit_crdt_updates_total")
    print(f"{'':>16}{'before':>10}{'first':>10}{'middle':>10}{'last third':>12}{'all left':>10}")
    for name in SLACK:
        first, middle, last = thirds(samples, name)
        print(f"{name:>16}{before[name]:>10}{first:>10.0f}{middle:>10.0f}{last:>12.0f}{after[name]:>10}")
    print(
        f"{updates:.0f} updates, {len(clients.saved)} clients told {clients.answers} times that they are saved"
    )
    assert left_open == {"rooms": 0, "connections": 0, "store_errors_total": 0}
    for name, slack in SLACK.items():
        _, middle, last = thirds(samples, name)
        assert last <= middle + slack, f"{name} grew from {middle} to {last}"
    assert after["tasks"] <= before["tasks"]
    assert after["files"] <= before["files"] + 1
    assert after["objects"] <= before["objects"] + MAX_OBJECTS_LEFT
