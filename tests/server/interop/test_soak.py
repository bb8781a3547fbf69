"""Fifty y-websocket clients that connect and disconnect: the server releases their resources. See `make soak`."""

from __future__ import annotations

import asyncio
import os
import random
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import pytest

from tests.server.support.node_clients import NEEDS_NODE, NodeClients, member_token, node_clients
from tests.server.support.server_process import StandAlone, stand_alone

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.soak,
    NEEDS_NODE,
    pytest.mark.skipif(
        not Path("/proc/self/fd").exists(), reason="needs /proc, for the resources of a process"
    ),
]

SOAK_S = float(os.environ.get("STREAMLIT_CRDT_TEST_SOAK_S", "1800"))
CLIENTS = 50
ROOMS = 40
"""Enough that rooms become empty, are evicted, and are loaded again."""

CHURN_S = 0.2
SAMPLES = 90
SLACK = {"memory_kB": 16 * 1024, "files": 8, "threads": 2, "tasks": 40, "objects": 5000}
"""Growth that the last third may have over the middle third.

Files, tasks and objects vary with overlapping connections, objects also with garbage. The allocator takes more memory
from the system during the first thousand connections, although the objects of Python do not grow.
"""

MAX_OBJECTS_LEFT = 1000
"""Objects that may remain after the last client left: caches of the libraries."""


async def sample(
    server: StandAlone, clients: NodeClients, randomness: random.Random
) -> list[Mapping[str, int]]:
    """Replace clients until the soak ends, and return samples of the resources of the server."""
    samples: list[Mapping[str, int]] = []
    started_at = time.monotonic()
    while (elapsed_s := time.monotonic() - started_at) < SOAK_S:
        room = f"room{randomness.randrange(ROOMS)}"
        newcomer = {"slot": randomness.randrange(CLIENTS), "room": room, "token": member_token(room, room)}
        clients.send(replace=newcomer | {"abruptly": randomness.random() < 0.5})
        if elapsed_s >= len(samples) * SOAK_S / SAMPLES:
            samples.append(await server.read_resources())
        await asyncio.sleep(CHURN_S)  # part of the load, not a wait for a condition
    return samples


async def until_quiet(server: StandAlone, before: Mapping[str, int]) -> Mapping[str, int]:
    """Return the resources of the server once all clients left and all rooms are evicted."""
    ends_at = time.monotonic() + 30
    while True:
        now = await server.read_resources(collects=True)
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


async def test_N2_clients_that_left_cost_the_server_nothing(tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    randomness = random.Random(seed)
    print(f"seed {seed}, {SOAK_S:.0f} s")
    async with stand_alone(tmp_path / "rooms.db", evict_after_s=2) as server:
        before = await server.read_resources()
        rooms = [f"room{number % ROOMS}" for number in range(CLIENTS)]
        async with node_clients(server.port, rooms, seed=seed, pause_ms=8, keeps_all=False) as clients:
            clients.send(write=True)
            samples = await sample(server, clients, randomness)
            clients.send(write=False)
        after = await until_quiet(server, before)
        remaining = {
            name: await asyncio.to_thread(metric, server, f"streamlit_crdt_{name}")
            for name in ("rooms", "connections", "store_errors_total")
        }
        updates = await asyncio.to_thread(metric, server, "streamlit_crdt_updates_total")
    print(f"{'':>16}{'before':>10}{'first':>10}{'middle':>10}{'last third':>12}{'at end':>10}")
    for name in SLACK:
        first, middle, last = thirds(samples, name)
        print(f"{name:>16}{before[name]:>10}{first:>10.0f}{middle:>10.0f}{last:>12.0f}{after[name]:>10}")
    print(f"{updates:.0f} updates, {len(clients.saved)} clients received {clients.answers} save answers")
    assert remaining == {"rooms": 0, "connections": 0, "store_errors_total": 0}
    for name, slack in SLACK.items():
        _, middle, last = thirds(samples, name)
        assert last <= middle + slack, f"{name} grew from {middle} to {last}"
    assert after["tasks"] <= before["tasks"]
    assert after["files"] <= before["files"] + 1
    assert after["objects"] <= before["objects"] + MAX_OBJECTS_LEFT
