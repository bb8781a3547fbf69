"""Network faults between clients and server: the clients converge, and no saved edit is lost.

Six clients edit one room through a proxy that delays, cuts within a frame, resets, halves or duplicates connections. A
halved connection stays open and forwards one direction only. A duplicated one sends everything that the client sends
to the server twice, on two connections. A client whose connection ends or makes no progress connects again. At the
end the proxy is calm: every replica must equal the stored room, and every edit must be saved.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path

from pycrdt import Map

from streamlit_crdt_server import SQLiteStore
from streamlit_crdt_server.yjs.log_recovery import load_log
from streamlit_crdt_server.yjs.surrogate_pairs import SurrogatePairs
from tests.faults.result import Budget, Result
from tests.faults.support.honest_pair import HonestPair, honest_pair
from tests.faults.support.peer import CONNECTION_ERRORS, HOST, Peer, read_values
from tests.server.support.fault_proxy import CHUNK_BYTES, FaultProxy
from tests.server.support.server_process import StandAlone, stand_alone

FULL = 200
CLIENTS = 6
ROOM = "room"
FAULTS = ("dropped", "cut inside a frame", "delayed", "halved", "duplicated")
PATIENCE_S = 1.5
"""Seconds without progress after which a client connects again."""

LIFE_S = 0.8
"""Mean seconds after which a connection gets its fault."""

CALM_S = 60.0
WATCH_S = 3.0


class HalvingProxy(FaultProxy):
    """A `FaultProxy` that also halves and duplicates connections."""

    def __init__(self, randomness: random.Random, target_port: int) -> None:
        super().__init__(randomness, target_port)
        self._kinds = randomness

    async def _join(
        self,
        near: asyncio.StreamReader,
        far_writer: asyncio.StreamWriter,
        far: asyncio.StreamReader,
        near_writer: asyncio.StreamWriter,
    ) -> None:
        kind = self._kinds.choice(("plain", "plain", "halved", "duplicated"))
        if self.is_calm or kind == "plain":
            await super()._join(near, far_writer, far, near_writer)
        elif kind == "halved":
            await self._halve(near, far_writer, far, near_writer)
        else:
            await self._duplicate(near, far_writer, far, near_writer)

    async def _halve(
        self,
        near: asyncio.StreamReader,
        far_writer: asyncio.StreamWriter,
        far: asyncio.StreamReader,
        near_writer: asyncio.StreamWriter,
    ) -> None:
        """Forward both directions for a while, then one of them only, until a client gives up."""
        directions = [
            asyncio.ensure_future(_pump(near, far_writer)),
            asyncio.ensure_future(_pump(far, near_writer)),
        ]
        try:
            await asyncio.wait(
                directions,
                timeout=self._kinds.expovariate(1 / LIFE_S),
                return_when=asyncio.FIRST_COMPLETED,
            )
            self.faults["halved"] += 1
            dead = self._kinds.randrange(2)
            directions[dead].cancel()
            await asyncio.wait([directions[1 - dead]], timeout=2 * PATIENCE_S)
        finally:
            for direction in directions:
                direction.cancel()
            await asyncio.gather(*directions, return_exceptions=True)

    async def _duplicate(
        self,
        near: asyncio.StreamReader,
        far_writer: asyncio.StreamWriter,
        far: asyncio.StreamReader,
        near_writer: asyncio.StreamWriter,
    ) -> None:
        """Send what the client sends on a second connection too, whose answers are dropped."""
        self.faults["duplicated"] += 1
        second, second_writer = await asyncio.open_connection(HOST, self.target_port, limit=CHUNK_BYTES)
        directions = [
            asyncio.ensure_future(_pump(near, far_writer, second_writer)),
            asyncio.ensure_future(_pump(far, near_writer)),
            asyncio.ensure_future(_pump(second)),
        ]
        try:
            await asyncio.wait(
                directions[:2],
                timeout=self._kinds.expovariate(1 / LIFE_S),
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            for direction in directions:
                direction.cancel()
            await asyncio.gather(*directions, return_exceptions=True)
            second_writer.close()


async def _pump(reader: asyncio.StreamReader, *writers: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(CHUNK_BYTES):
            for writer in writers:
                writer.write(chunk)
                await writer.drain()


class Client:
    """A peer that connects again after each fault, and edits until it is told to stop."""

    def __init__(self, number: int, randomness: random.Random) -> None:
        self.peer = Peer(ROOM, f"user{number}")
        self.is_editing = True
        self.is_over = False
        self._randomness = randomness

    async def run(self, port: int) -> None:
        self.peer.port = port
        while not self.is_over:
            with suppress(*CONNECTION_ERRORS):
                async with asyncio.timeout(10):
                    await self._visit()
            await asyncio.sleep(0.02)

    async def _visit(self) -> None:
        async with self.peer as peer:
            await peer.until(lambda: peer.is_synced, PATIENCE_S)
            while not self.is_over:
                if self.is_editing:
                    number = peer.edits + 1
                    value = "x" * self._randomness.choice((5, 50, 3000))
                    await peer.edit(f"{peer.user}:{number}", value if number % 4 else None)
                edits = peer.edits
                await peer.until(lambda expected=edits: peer.saved >= expected, PATIENCE_S)  # type: ignore[misc]
                await asyncio.sleep(self._randomness.uniform(0, 0.04))


async def watch(pair: HonestPair, stalls: list[float]) -> None:
    while True:
        await asyncio.sleep(WATCH_S)
        stalls.append(await pair.read_longest_ms())


async def converge(clients: list[Client]) -> list[str]:
    """Wait until all replicas are equal and saved. Return the differences after the deadline."""
    for client in clients:
        client.is_editing = False
    with suppress(TimeoutError):
        async with asyncio.timeout(CALM_S):
            while differences(clients):
                await asyncio.sleep(0.1)
    return differences(clients)


def differences(clients: list[Client]) -> list[str]:
    first = clients[0].peer.read_values()
    found = []
    for client in clients:
        peer = client.peer
        if peer.saved < peer.edits:
            found.append(f"{peer.user}: {peer.edits - peer.saved} edits are not saved")
        if peer.read_values() != first:
            found.append(f"{peer.user} differs from {clients[0].peer.user}")
    return found


async def check_store(path: Path, clients: list[Client], *, has_edits: bool = True) -> list[str]:
    """Return the saved edits that the store lacks, unless others may delete them, and a difference to the replicas."""
    async with SQLiteStore(path) as store:
        stored = await store.load(ROOM)
    loaded = load_log(stored.updates, SurrogatePairs())  # as the server: rows may have pending structs
    values = read_values(loaded.ydoc.get("state", type=Map))
    missing = [
        f"edit {number} of {client.peer.user} is not in the store"
        for client in clients
        for number in range(1, client.peer.saved + 1)
        if has_edits and f"{client.peer.user}:{number}" not in values
    ]
    missing += [f"a stored update of {len(row)} bytes is invalid: {why}" for row, why in loaded.bad_rows]
    expected = clients[0].peer.read_values()
    if values != expected:
        keys = sorted(key for key in values.keys() | expected.keys() if values.get(key) != expected.get(key))
        missing.append(f"the stored room differs from the replicas in {len(keys)} keys: {keys[:5]!a}")
    return missing


async def attack(server: StandAlone, seed: int, budget: Budget, rounds: int) -> Result:
    randomness = random.Random(seed)
    clients = [Client(number, randomness) for number in range(CLIENTS)]
    stalls: list[float] = []
    async with (
        HalvingProxy(randomness, server.port).running() as proxy,
        honest_pair(server.port) as pair,
    ):
        await asyncio.sleep(min(WATCH_S, budget.seconds / 10))
        calm_ms = await pair.read_longest_ms()
        running = [asyncio.ensure_future(client.run(proxy.port)) for client in clients]
        watching = asyncio.ensure_future(watch(pair, stalls))
        try:
            while count(proxy.faults) < rounds and not budget.is_spent:
                assert not watching.done() or watching.result() is None
                await asyncio.sleep(0.05)
            proxy.is_calm = True
            failures = await converge(clients)
        finally:
            for client in clients:
                client.is_over = True
            watching.cancel()
            await asyncio.gather(watching, *running, return_exceptions=True)
        stalls.append(await pair.read_longest_ms())
    memory_mb = (await server.read_resources())["memory_kB"] / 1024
    await server.end()
    failures += await check_store(server.store, clients)
    return Result(
        campaign="network",
        seed=seed,
        budget_s=budget.seconds,
        took_s=budget.spent_s,
        tried=count(proxy.faults),
        full=FULL,
        lost=len(failures),
        failures=tuple(failures),
        counts={name: proxy.faults[name] for name in FAULTS}
        | {"saved edits": sum(client.peer.saved for client in clients)},
        stall_ms=max(stalls),
        calm_stall_ms=calm_ms,
        memory_mb=memory_mb,
    )


def count(faults: Counter[str]) -> int:
    return sum(faults[name] for name in FAULTS)


async def run_attack(folder: Path, seed: int, budget: Budget, rounds: int) -> Result:
    async with stand_alone(folder / "rooms.db") as server:
        return await attack(server, seed, budget, rounds)


def run(seed: int, budget_s: float, rounds: int = FULL) -> Result:
    """Make faults until the budget is spent or `rounds` are done."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(run_attack(Path(folder), seed, Budget(budget_s), rounds))
