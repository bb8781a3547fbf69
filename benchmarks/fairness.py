"""Longest wait of another room while one participant sends the most expensive messages, and the memory of the server.

A room server runs in its own process. A quiet client edits in one room, one edit at a time, and waits until each is
saved. Meanwhile a hostile client of another room does its worst. `python -m benchmarks fairness` prints one line for
each way.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import sys
import time
from asyncio.subprocess import PIPE, create_subprocess_exec
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from pycrdt import Doc, Map
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from streamlit_crdt_server import KeyRing, Role, mint, protocol
from streamlit_crdt_server.yjs.lib0 import encode_bytes, encode_varuint

DEFAULT_ROUNDS = 1
SECRET = "a secret of the benchmark only"
LAST = 1000
"""Version of the last saved query of a hostile client."""
MAX_S = 30.0
"""Seconds after which a hostile client is stopped."""


@dataclass
class Attack:
    """One way to be expensive: the frames, the role, and frames that are sent before the measurement."""

    role: Role
    frames: Callable[[], Iterable[bytes]]
    before: Callable[[], Iterable[bytes]] = tuple
    sockets: int = 1


def update_of(structs: list[bytes], replica: int = 7, clock: int = 0) -> bytes:
    head = encode_varuint(len(structs)) + encode_varuint(replica) + encode_varuint(clock)
    return protocol.sync_update(b"\1" + head + b"".join(structs) + b"\0")


def entries(count: int) -> bytes:
    return update_of([b"\x28\x01\x05state\x06%06x\x01\x7e" % number for number in range(count)])


def row(count: int, replica: int = 7) -> bytes:
    """A list of nested lists, each after the one before: structs that are never joined."""
    first = [b"\7\1\1t\0"]
    return update_of(
        first + [b"\x87" + encode_varuint(replica) + encode_varuint(i) + b"\0" for i in range(count - 1)],
        replica,
    )


def competitors(count: int, first_replica: int) -> Iterator[bytes]:
    """Single items at the beginning of the list of `row`, which each pass all of it."""
    for replica in range(first_replica, first_replica + count):
        yield update_of([b"\7\1\1t\0"], replica)


def competitors_at_once(count: int, first_replica: int) -> bytes:
    blocks = b"".join(
        encode_varuint(1) + encode_varuint(replica) + b"\0\7\1\1t\0"
        for replica in range(first_replica + count, first_replica, -1)
    )
    return protocol.sync_update(encode_varuint(count) + blocks + b"\0")


def text_of(length: int, replica: int = 7) -> bytes:
    return update_of([b"\4\1\1x" + encode_bytes(b"a" * length)], replica)


def deletions(length: int, count: int, replica: int = 7) -> bytes:
    clocks = random.Random(1).sample(range(length), count)
    ranges = b"".join(encode_varuint(clock) + b"\1" for clock in clocks)
    return protocol.sync_update(b"\0\1" + encode_varuint(replica) + encode_varuint(count) + ranges)


def nested_values(count: int) -> bytes:
    """One map entry with an array of `count` values."""
    return update_of([b"\x28\1\5state\1k\1\x75" + encode_varuint(count) + b"\x7e" * count])


def list_of_values(count: int) -> bytes:
    return update_of([b"\x08\1\1l" + encode_varuint(count) + b"\x7e" * count])


def presence(client_id: int, size: int, clock: int) -> bytes:
    text = json.dumps({"x": "A" * size}).encode()
    content = b"\1" + encode_varuint(client_id) + encode_varuint(clock) + encode_bytes(text)
    return b"\1" + encode_bytes(content)


def state_vector(count: int) -> bytes:
    content = encode_varuint(count) + b"".join(encode_varuint(i) + b"\1" for i in range(count))
    return b"\0\0" + encode_bytes(content)


ATTACKS: dict[str, Attack] = {
    "viewer: 700 000 entries": Attack(Role.VIEWER, lambda: [entries(700_000)]),
    "viewer: 20 x 1 MiB": Attack(Role.VIEWER, lambda: [entries(60_000)] * 20),
    "viewer: presences": Attack(Role.VIEWER, lambda: (presence(i % 16, 60_000, i) for i in range(2000))),
    "viewer: sync step 1": Attack(Role.VIEWER, lambda: [b"\0\0\1\0"] * 2000, lambda: [entries(100_000)]),
    "viewer: state vectors": Attack(Role.VIEWER, lambda: [state_vector(250_000)] * 20),
    "viewer: queries": Attack(Role.VIEWER, lambda: [b"\3", b"\x66\1\1"] * 10_000),
    "editor: 700 000 entries": Attack(Role.EDITOR, lambda: [entries(700_000)]),
    "editor: 4 x 700 000 entries": Attack(Role.EDITOR, lambda: [entries(700_000)], sockets=4),
    "editor: row of 2 M": Attack(Role.EDITOR, lambda: [row(1_500_000)]),
    "editor: inserts, row of 20 000": Attack(
        Role.EDITOR, lambda: competitors(3000, 100), lambda: [row(20_000)]
    ),
    "editor: inserts, row of 200 000": Attack(
        Role.EDITOR, lambda: competitors(1000, 100), lambda: [row(200_000)]
    ),
    "editor: 500 inserts in a frame": Attack(
        Role.EDITOR, lambda: [competitors_at_once(500, 100)], lambda: [row(200_000)]
    ),
    "editor: deletions in a text": Attack(
        Role.EDITOR, lambda: [deletions(8_000_000, 100_000)], lambda: [text_of(8_000_000)]
    ),
    "editor: one nested value": Attack(Role.EDITOR, lambda: [nested_values(15_000_000)]),
    "editor: a list of values": Attack(Role.EDITOR, lambda: [list_of_values(15_000_000)]),
    "editor: 20 x 64 kB of entries": Attack(Role.EDITOR, lambda: [entries(3500)] * 300),
}


@dataclass
class Server:
    """The address and the process id of a server."""

    port: int
    pid: int

    def url(self, room: str, user: str, role: Role) -> str:
        token = mint(
            KeyRing.from_secret(SECRET),
            rooms={room: role},
            user=user,
            name=user,
            session=user,
            ttl_s=3600.0,
            now=time.time(),
        )
        return f"ws://127.0.0.1:{self.port}/{room}?token={token}"

    def memory_mb(self, name: str) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) // 1024 for line in status if line.startswith(name))


def run(rounds: int) -> None:
    """Print the longest waits and the memory for each attack."""
    for name in ATTACKS:
        for _ in range(rounds):
            print(asyncio.run(measure(name)), flush=True)


async def measure(name: str) -> str:
    """Run one attack on a new server, and describe what the quiet room noticed."""
    with TemporaryDirectory() as folder:
        process = await _start(folder)
        try:
            server = await _address(process)
            return await _attack(server, name)
        finally:
            process.terminate()
            await process.communicate()


async def _start(folder: str) -> asyncio.subprocess.Process:
    code = "import asyncio; from streamlit_crdt_server import Settings, serve; asyncio.run(serve(Settings.load()))"
    environ = os.environ | {
        "STREAMLIT_CRDT_SECRET": SECRET,
        "STREAMLIT_CRDT_PORT": "0",
        "STREAMLIT_CRDT_STORE": f"{folder}/rooms.db",
    }
    with (Path(folder) / "log").open("wb") as log:
        return await create_subprocess_exec(sys.executable, "-c", code, stdout=PIPE, stderr=log, env=environ)


async def _address(process: asyncio.subprocess.Process) -> Server:
    assert process.stdout is not None
    announcement = (await process.stdout.readline()).decode()
    return Server(int(announcement.split(" (")[0].rpartition(":")[2]), process.pid)


async def _attack(server: Server, name: str) -> str:
    async with _connect(server.url("quiet", "ada", Role.EDITOR)) as ada:
        quiet = QuietEditor(ada)
        await quiet.edit_until(asyncio.create_task(asyncio.sleep(3)))
        usual, quiet.waits_s = quiet.waits_s, []
        attacker = await create_subprocess_exec(
            sys.executable, "-m", "benchmarks.fairness", name, str(server.port), stdin=PIPE, stdout=PIPE
        )
        assert attacker.stdout is not None
        await attacker.stdout.readline()
        before_mb, started_at = server.memory_mb("VmRSS"), time.monotonic()
        await quiet.edit_until(asyncio.create_task(attacker.communicate()))
        took_s = time.monotonic() - started_at
    waits_ms = [1000 * wait_s for wait_s in sorted(quiet.waits_s)]
    usual_ms = [1000 * wait_s for wait_s in sorted(usual)]
    return (
        f"{name:32} longest wait {waits_ms[-1]:5.0f} ms, next {waits_ms[-2]:5.0f}, median {median(waits_ms):3.0f} "
        f"(without: {usual_ms[-1]:4.0f}, {median(usual_ms):3.0f}); memory {before_mb} to "
        f"{server.memory_mb('VmHWM')} MB; {took_s:.1f} s"
    )


def _connect(url: str) -> connect:
    return connect(url, max_size=None, compression=None, ping_interval=None, open_timeout=60)


class QuietEditor:
    """A client that edits a room of its own, one edit at a time, and waits until each is saved."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.waits_s: list[float] = []
        self._version = 0
        self._ydoc: Doc[object] = Doc()
        self._state = self._ydoc.get("state", type=Map)

    async def edit_until(self, ended: asyncio.Task[object]) -> None:
        while not ended.done() or not self.waits_s:
            await self._edit()
            await asyncio.sleep(0.005)

    async def _edit(self) -> None:
        self._version += 1
        vector = self._ydoc.get_state()
        self._state["k"] = self._version
        started_at = time.monotonic()
        await self._socket.send(protocol.sync_update(self._ydoc.get_update(vector)))
        await self._socket.send(protocol.saved_query(self._version))
        async for frame in self._socket:
            if bytes(frame)[:1] == b"\x66":
                break
        self.waits_s.append(time.monotonic() - started_at)


async def attack(name: str, port: int) -> None:
    """Prepare an attack, wait for a line on stdin, and return when the server has handled all frames."""
    attack, server = ATTACKS[name], Server(port, 0)
    async with contextlib.AsyncExitStack() as stack:
        owner = await stack.enter_async_context(_connect(server.url("hostile", "owner", Role.EDITOR)))
        for frame in attack.before():
            await owner.send(frame)
        await _until_saved(owner)
        await owner.close()
        sockets = [
            await stack.enter_async_context(_connect(server.url("hostile", f"eve{number}", attack.role)))
            for number in range(attack.sockets)
        ]
        frames = list(attack.frames())
        print("ready", flush=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(MAX_S):
                await asyncio.gather(*(_send_all(socket, frames) for socket in sockets))


async def _send_all(socket: ClientConnection, frames: Sequence[bytes]) -> None:
    reading = asyncio.create_task(_until_saved(socket, sends=False))
    with contextlib.suppress(ConnectionClosed):
        for frame in frames:
            await socket.send(frame)
        await socket.send(protocol.saved_query(LAST))
    await reading


async def _until_saved(socket: ClientConnection, *, sends: bool = True) -> None:
    with contextlib.suppress(ConnectionClosed):
        if sends:
            await socket.send(protocol.saved_query(LAST))
        async for frame in socket:
            answer = protocol.parse_server_frame(bytes(frame)) if bytes(frame)[:1] == b"\x66" else None
            if isinstance(answer, protocol.SavedAnswer) and (answer.version == LAST or answer.status):
                return


if __name__ == "__main__":
    asyncio.run(attack(sys.argv[1], int(sys.argv[2])))
