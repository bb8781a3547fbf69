"""Hostile frames over real sockets: the server lives, other rooms continue, honest replicas stay equal.

Editors and viewers send mutated updates, vectors and presences into several rooms. An honest pair in the first of
these rooms edits meanwhile, and must be equal to the stored room at the end. Another honest pair, in a process of its
own and in a room without attackers, measures the stalls. A viewer's frames must not change the document.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pycrdt import Doc, Map
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError

from streamlit_crdt_server import Role, SQLiteStore, protocol
from streamlit_crdt_server.yjs.log_recovery import load_log
from streamlit_crdt_server.yjs.surrogate_pairs import SurrogatePairs
from streamlit_crdt_server.yjs.update_decoder import decode_state_vector
from tests.faults.network import Client as HonestClient
from tests.faults.network import check_store, converge
from tests.faults.result import Budget, Result
from tests.faults.support.honest_pair import HonestPair, honest_pair
from tests.faults.support.mutations import Writer, make_frame
from tests.faults.support.peer import CONNECTION_ERRORS, Peer, address
from tests.server.support.server_process import ROOT, StandAlone, stand_alone

FULL = 100_000
ATTACKERS = ((Role.EDITOR, 4), (Role.VIEWER, 2))
ROOMS = 12
VISIT_BURSTS = 12
BURST = 8
"""Frames that are sent before the answer to a ping shows that they were read."""

WATCH_S = 3.0
KEPT = ROOT / ".test" / "faults"
"""Folder for the store and the log of a server that lost something."""

MARK = "written by a viewer"


@dataclass
class Attack:
    """Frames that are still to be sent, and their effects."""

    left: int
    frames: Counter[str] = field(default_factory=Counter)
    closes: Counter[str] = field(default_factory=Counter)
    is_over: bool = False

    @property
    def sent(self) -> int:
        return self.frames.total()

    def count(self, kinds: Sequence[str], role: Role) -> None:
        """Count frames that the server read."""
        self.frames.update(f"{kind} as {role}" for kind in kinds)
        self.left -= len(kinds)


async def attack_as(
    role: Role, number: int, port: int, peers: list[Peer], randomness: random.Random, attack: Attack
) -> None:
    """Send frames in visits to random rooms until the attack is over."""
    writer = Writer(randomness, randomness.randrange(1, 2**32))
    while not attack.is_over and attack.left > 0:
        room = "room" if randomness.random() < 0.3 else f"attacked{randomness.randrange(ROOMS)}"
        writer.known = [known for peer in peers for known in clocks(peer)]
        if randomness.random() < 0.1:
            writer.replica, writer.clock = randomness.randrange(1, 2**32), 0
        try:
            await visit(address(port, room, f"mallory{number}", role), role, writer, attack)
        except ConnectionClosed as error:
            attack.count(["closing frame"], role)
            attack.closes[str(error.rcvd.code if error.rcvd else "without a code")] += 1
        except CONNECTION_ERRORS as error:
            attack.closes[type(error).__name__] += 1


async def visit(url: str, role: Role, writer: Writer, attack: Attack) -> None:
    async with connect(
        url, max_size=None, max_queue=None, ping_interval=None, open_timeout=60, proxy=None
    ) as socket:
        reading = asyncio.ensure_future(drop_frames(socket))
        try:
            if role is Role.VIEWER:
                await socket.send(protocol.sync_update(marking_update()))
            for _ in range(VISIT_BURSTS):
                kinds = []
                for _ in range(BURST):
                    kind, frame = make_frame(writer)
                    kinds.append(kind)
                    await socket.send(frame)
                await until_read(socket, reading)
                attack.count(kinds, role)
                if attack.left <= 0 or attack.is_over:
                    return
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            socket.transport.abort()  # a closing handshake would wait for frames that are not read


async def until_read(socket: ClientConnection, reading: asyncio.Task[None]) -> None:
    """Return once the server answers a ping, after the frames before it. Raise ConnectionClosed if it closes instead.

    hypercorn keeps a connection for five seconds after its close frame, for which the socket does not wake its tasks.
    """
    answer = asyncio.ensure_future(await socket.ping())
    while not (answer.done() or reading.done() or socket.protocol.close_rcvd):
        await asyncio.wait([answer, reading], timeout=0.02, return_when=asyncio.FIRST_COMPLETED)
    if not answer.done() or reading.done():
        answer.cancel()
        raise ConnectionClosedError(socket.protocol.close_rcvd, None)


async def drop_frames(socket: ClientConnection) -> None:
    with suppress(*CONNECTION_ERRORS):
        async for _ in socket:
            pass


def marking_update() -> bytes:
    ydoc: Doc[object] = Doc()
    ydoc.get("state", type=Map)[MARK] = True
    return ydoc.get_update()


def clocks(peer: Peer) -> list[tuple[int, int]]:
    """Return replica ids and clocks of the room, so that hostile structs refer to what exists."""
    return list(decode_state_vector(peer.ydoc.get_state(), 2**32).items())[:50]


async def watch(pair: HonestPair, stalls: list[float]) -> None:
    while True:
        await asyncio.sleep(WATCH_S)
        stalls.append(await pair.read_longest_ms())


async def attack_server(server: StandAlone, seed: int, budget: Budget, frames: int) -> Result:
    randomness = random.Random(seed)
    attack = Attack(frames)
    honest = [HonestClient(number, random.Random(seed + number)) for number in range(2)]
    stalls: list[float] = []
    failures: list[str] = []
    async with honest_pair(server.port) as pair:
        await asyncio.sleep(min(WATCH_S, budget.seconds / 10))
        calm_ms = await pair.read_longest_ms()
        watching = asyncio.ensure_future(watch(pair, stalls))
        running = [asyncio.ensure_future(client.run(server.port)) for client in honest]
        peers = [client.peer for client in honest]
        numbered = [role for role, count in ATTACKERS for _ in range(count)]
        attackers = [
            asyncio.ensure_future(
                attack_as(role, number, server.port, peers, random.Random(randomness.random()), attack)
            )
            for number, role in enumerate(numbered)
        ]
        deadline = time.monotonic() + max(budget.left_s - 5, 2)
        while not all(task.done() for task in attackers):
            if time.monotonic() > deadline or watching.done():
                break
            await asyncio.sleep(0.05)
        attack.is_over = True
        await asyncio.wait(attackers, timeout=60)
        ended = [task.exception() for task in attackers if task.done()]
        failures += [f"an attacker ended: {error!r}" for error in ended if error is not None]
        if watching.done():
            failures.append(f"the other room stopped: {watching.exception()!r}")
        else:
            watching.cancel()
            stalls.append(await pair.read_longest_ms())
        failures += await converge(honest)
        for client in honest:
            client.is_over = True
        await asyncio.gather(watching, *running, return_exceptions=True)
    resources = await server.read_resources() if server.process.returncode is None else {}
    code = await server.end()
    if code or not resources:
        failures.append(f"the server ended with {code}")
    failures += await check_store(server.store, honest, has_edits=False)  # editors may delete
    failures += await check_rooms(server.store)
    return Result(
        campaign="hostile_frames",
        seed=seed,
        budget_s=budget.seconds,
        took_s=budget.spent_s,
        tried=attack.sent,
        full=FULL,
        lost=len(failures),
        failures=tuple(failures),
        counts=dict(sorted(attack.frames.items()))
        | {f"closed with {code}": number for code, number in sorted(attack.closes.items())}
        | {"honest edits": sum(client.peer.saved for client in honest)},
        stall_ms=max(stalls, default=calm_ms),
        calm_stall_ms=calm_ms,
        memory_mb=resources.get("memory_kB", 0) / 1024,
    )


async def check_rooms(path: Path) -> list[str]:
    """Return the rooms that a viewer changed, and those with an invalid update."""
    found = []
    async with SQLiteStore(path) as store:
        for room in await store.rooms():
            stored = await store.load(room)
            loaded = load_log(stored.updates, SurrogatePairs())
            for row, why in loaded.bad_rows:
                found.append(f"room {room}: a stored update of {len(row)} bytes is invalid: {why}")
            if MARK in loaded.ydoc.get("state", type=Map):
                found.append(f"a viewer changed room {room}")
    return found


async def run_attack(folder: Path, seed: int, budget: Budget, frames: int) -> Result:
    async with stand_alone(folder / "rooms.db") as server:
        result = await attack_server(server, seed, budget, frames)
    if result.lost:
        KEPT.mkdir(parents=True, exist_ok=True)
        shutil.copytree(folder, KEPT / f"hostile_frames-{seed}", dirs_exist_ok=True)
    return result


def run(seed: int, budget_s: float, frames: int = FULL) -> Result:
    """Send frames until the budget is spent or `frames` are sent."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(run_attack(Path(folder), seed, Budget(budget_s), frames))
