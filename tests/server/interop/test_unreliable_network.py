"""y-websocket clients on a failing network with server restarts: they converge, and no saved edit is lost."""

from __future__ import annotations

import random
import signal
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.server.support.fault_proxy import FaultProxy
from tests.server.support.node_clients import NEEDS_NODE, NodeClients, member_token, node_clients
from tests.server.support.server_process import StandAlone, stand_alone, stored_state

pytestmark = [
    pytest.mark.anyio,
    NEEDS_NODE,
    pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is a signal of POSIX systems"),
]

CLIENTS = 20
ROOM = "room"
DELETES_EVERY = 4
"""Edit n of a client sets its own key. Each fourth edit deletes the key of the previous edit (see crowd.mjs)."""


@dataclass
class Tally:
    """Results of one or more seeds."""

    seeds: list[int] = field(default_factory=list)
    saved: int = 0
    lost: list[str] = field(default_factory=list)
    diverged: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        faults = ", ".join(f"{count} {name}" for name, count in sorted(self.faults.items()))
        ends = ", ".join(f"{count} {name}" for name, count in sorted(self.ends.items()))
        return (
            f"{CLIENTS} y-websocket clients on a failing network, seeds {self.seeds}: {self.diverged} diverged; "
            f"{self.saved} saved edits, {len(self.lost)} lost {self.lost[:10]}; {faults}; "
            f"signals to the server: {ends}"
        )


def find_lost(saved: Mapping[str, int], state: Mapping[str, Any]) -> list[str]:
    """Return the names of the edits that were acknowledged as saved and are not in `state`."""
    lost = []
    for name, last in saved.items():
        for number in range(1, last + 1):
            key = f"{name}:{number}"
            if number % DELETES_EVERY == 0:
                lost += [f"deletion {key}"] if f"{name}:{number - 1}" in state else []
            elif number % DELETES_EVERY != DELETES_EVERY - 1 and key not in state:
                lost.append(key)
    return lost


async def restart(
    server: StandAlone, clients: NodeClients, signal_number: signal.Signals, tally: Tally
) -> None:
    """Stop the server, check its store before clients can send lost edits again, and start another server."""
    await server.end(signal_number)
    tally.ends[signal_number.name] += 1
    tally.lost += find_lost(dict(clients.saved), await stored_state(server.store, ROOM))
    await server.start()


async def run_seed(folder: Path, seed: int, tally: Tally) -> None:
    randomness = random.Random(seed)
    folder.mkdir()
    ends = [signal.SIGKILL, signal.SIGTERM]
    randomness.shuffle(ends)
    async with (
        stand_alone(folder / "rooms.db") as server,
        FaultProxy(randomness, server.port).running() as proxy,
        node_clients(proxy.port, [ROOM] * CLIENTS, seed=seed, pause_ms=8, keeps_all=True) as clients,
    ):
        clients.send(write=True)
        for signal_number in ends:
            await clients.until_answered(randomness.randrange(100, 300))
            slot = randomness.randrange(CLIENTS)
            newcomer = {"slot": slot, "room": ROOM, "token": member_token(ROOM, f"late{slot}")}
            clients.send(replace=newcomer | {"abruptly": randomness.random() < 0.5})
            await restart(server, clients, signal_number, tally)
            proxy.target_port = server.port
        await clients.until_answered(100)
        clients.send(write=False)
        proxy.is_calm = True
        report = await clients.until_converged()
        await server.end()
        stored = await stored_state(server.store, ROOM)
        saved = dict(clients.saved)
    tally.seeds.append(seed)
    tally.saved += sum(saved.values())
    tally.faults += proxy.faults
    tally.diverged += sum(one["state"] != stored for one in report)
    tally.lost += find_lost(saved, stored)
    assert all(one["synced"] for one in report), [
        (one["name"], one["status"]) for one in report if not one["synced"]
    ]
    assert all(saved[one["name"]] >= one["edits"] for one in report)


@pytest.mark.parametrize("seeds", [1, pytest.param(30, marks=pytest.mark.soak)])
async def test_S5_clients_on_failing_network_converge_without_loss(tmp_path: Path, seeds: int) -> None:
    tally = Tally()
    for _ in range(seeds):
        seed = random.randrange(10**6)
        print(f"seed {seed}")
        await run_seed(tmp_path / str(seed), seed, tally)
    print(tally)
    assert tally.diverged == 0
    assert tally.lost == []
    assert tally.faults["dropped"] > seeds
    assert tally.faults["cut inside a frame"] > seeds
    assert tally.ends["SIGKILL"] == tally.ends["SIGTERM"] == seeds


async def test_find_lost_returns_lost_edits_and_deletions() -> None:
    """Edit 4 deletes the key of edit 3. Edit 8, which is not saved yet, may have deleted the key of edit 7."""
    assert find_lost({"a": 7}, {"a:1": 1, "a:2": 1, "a:5": 1, "a:6": 1}) == []
    assert find_lost({"a": 6}, {"a:2": 1, "a:3": 1, "a:5": 1}) == ["a:1", "deletion a:4", "a:6"]
