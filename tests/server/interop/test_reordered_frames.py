"""Live servers that receive update frames reordered and repeated, and are restarted (rule S6)."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from streamlit_crdt_server import EmbeddedServer, Settings, protocol
from tests.server.interop.test_unreliable_network import find_lost
from tests.server.support.node_clients import NEEDS_NODE, node_clients
from tests.server.support.reordering_proxy import ReorderingProxy
from tests.server.support.server_process import stand_alone, stored_state
from tests.support.reordered_updates import Case, cases, read

pytestmark = [
    pytest.mark.anyio,
    NEEDS_NODE,
    pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is a signal of POSIX systems"),
]

CLIENTS = 3
ROOM = "room"
SEED = 20_26
CASES = 12
DEADLINE_S = 60.0


async def run_clients(folder: Path, seed: int, answers: int) -> None:
    """Edit in Yjs clients behind the proxy, with a restart of the server, and compare everything."""
    randomness = random.Random(seed)
    folder.mkdir()
    async with (
        stand_alone(folder / "rooms.db") as server,
        ReorderingProxy(randomness, server.port).running() as proxy,
        node_clients(proxy.port, [ROOM] * CLIENTS, seed=seed, pause_ms=8, keeps_all=True) as clients,
    ):
        clients.send(write=True)
        await clients.until_answered(answers)
        saved = dict(clients.saved)
        await server.end(randomness.choice([signal.SIGKILL, signal.SIGTERM]))
        lost = find_lost(saved, await stored_state(server.store, ROOM))
        await server.start()
        proxy.target_port = server.port
        await clients.until_answered(answers)
        clients.send(write=False)
        proxy.is_calm = True
        report = await clients.until_converged()
        await server.end()
        stored = await stored_state(server.store, ROOM)
    assert lost == [], seed
    assert [one["name"] for one in report if not one["synced"] or one["state"] != stored] == [], seed
    assert find_lost(dict(clients.saved), stored) == [], seed
    assert proxy.faults["delayed"] > answers and proxy.faults["duplicated"], seed


async def test_S6_clients_behind_a_reordering_proxy_converge(tmp_path: Path) -> None:
    await run_clients(tmp_path / "one", SEED, answers=20)


@pytest.mark.soak
@pytest.mark.parametrize("first", range(0, 30, 3))
async def test_S6_clients_behind_a_reordering_proxy_converge_soak(tmp_path: Path, first: int) -> None:
    for seed in range(first, first + 3):
        await run_clients(tmp_path / str(seed), seed, answers=200)


class Socket:
    """A connection that sends frames and reads the document of its room."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def send(self, update: bytes, *, waits: bool) -> None:
        """Send an update. `waits`: return after the server has received it."""
        await self._connection.send(protocol.sync_update(update))
        if waits:
            await self.read()

    async def read(self) -> dict[str, Any]:
        await self._connection.send(protocol.sync_step1(b"\0"))
        while True:
            frame = await self._connection.recv(decode=False)
            if isinstance(message := protocol.parse_server_frame(bytes(frame)), protocol.SyncStep2):
                return read(message.update)

    async def until(self, content: Mapping[str, Any], seed: int) -> None:
        """Return once the document has this content."""
        ends_at = time.monotonic() + DEADLINE_S
        while not content.items() <= (await self.read()).items():
            assert time.monotonic() < ends_at, seed
            await asyncio.sleep(0.05)


@contextmanager
def running(store: Path) -> Iterator[int]:
    """Run a server in this process. Yield its port."""
    settings = Settings(
        port=0, require_token=False, store=str(store), max_new_rooms_per_min_per_address=100_000
    )
    server = EmbeddedServer(settings)
    server.start()
    try:
        yield server.port
    finally:
        server.stop()


async def run_case(port: int, case: Case, updates: Sequence[bytes], content: Mapping[str, Any]) -> None:
    """Send updates over two sockets in turn, one by one for every second case, and wait for `content`."""
    address = f"ws://127.0.0.1:{port}/case{case.seed}"
    async with connect(address, compression=None) as one, connect(address, compression=None) as other:
        sockets = [Socket(one), Socket(other)]
        for number, update in enumerate(updates):
            await sockets[number % 2].send(update, waits=case.seed % 2 == 1)
        await sockets[1].read()
        await sockets[0].until(content, case.seed)


async def run_cases(store: Path, first: int, count: int) -> None:
    """Deliver the cases to a live server, restart it, deliver the rest, and restart it again."""
    every = list(cases(first, count))
    for part in ("deliveries", "rest", None):
        with running(store) as port:
            for start in range(0, count, 20):
                await asyncio.gather(
                    *(
                        run_case(
                            port,
                            case,
                            getattr(case, part) if part else (),
                            {"clocks": case.partial["clocks"]} if part == "deliveries" else case.complete,
                        )
                        for case in every[start : start + 20]
                    )
                )


async def test_S6_restarted_server_with_reordered_frames_equals_yjs(tmp_path: Path) -> None:
    await run_cases(tmp_path / "rooms.db", 0, CASES)


@pytest.mark.soak
@pytest.mark.parametrize("first", range(10_000, 20_000, 500))
async def test_S6_restarted_server_with_reordered_frames_equals_yjs_soak(tmp_path: Path, first: int) -> None:
    await run_cases(tmp_path / "rooms.db", first, 500)
