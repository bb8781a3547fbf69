"""Thousands of damaged frames (rule N2): no exception escapes, and other rooms do not stall. Seeded."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import resource
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pycrdt import Array, Doc, Map, Text

from streamlit_crdt_server import CloseCode, Hub, Settings, protocol
from streamlit_crdt_server.yjs.lib0 import encode_bytes, encode_varuint
from tests.server.support.event_loop_stalls import watched
from tests.server.support.expensive_updates import competing_structs, row_and_competitors
from tests.server.support.fake_channel import POISON, Client, FakeChannel, connected, presence_frame, until

pytestmark = pytest.mark.anyio

FRAMES = 5_000
FRAMES_IN_SOAK = 50_000
ATTACKERS = 8
MAX_STALL = 10.0
"""Units of `event_loop_stalls`: one or two on an idle machine, five on a busy one."""

MAX_GROWTH_BYTES = 100 * 2**20
CODES = {CloseCode.MALFORMED, CloseCode.TOO_LARGE, CloseCode.ROOM_FULL, None}
"""Close codes. None if the damaged frame is still valid. No code says that a room was loaded again."""

SETTINGS = Settings(require_token=False, max_frame_bytes=256 * 1024, max_awareness_bytes=16 * 1024)


def corpus() -> list[bytes]:
    """Return valid client frames of every message and content type."""
    ydoc: Doc[Any] = Doc()
    ydoc["text"], ydoc["list"], ydoc["map"] = text, items, entries = Text(), Array(), Map()
    with ydoc.transaction():
        text += "Grüße 👍"
        text.format(0, 3, {"bold": True})
        items.extend([1, 2.5, None, True, "x", b"bytes", {"a": [1, {"b": 2}]}])
        entries["nested"] = Map({"k": Array([1, 2])})
    del items[1:3]
    state = ydoc.get_update()
    return [
        protocol.sync_update(state),
        protocol.sync_step2(state),
        protocol.sync_update(Client(FakeChannel()).set("x", [1, {"a": "b"}])),
        protocol.sync_step1(ydoc.get_state()),
        protocol.sync_step1(b"\0"),
        presence_frame(5, 3),
        presence_frame(5, 4, "null"),
        protocol.query_awareness(),
        protocol.saved_query(7),
        protocol.renewal("a.b.c"),
    ]


Make = Callable[[random.Random, list[bytes]], bytes]


def flip_bytes(randomness: random.Random, frames: list[bytes]) -> bytes:
    frame = bytearray(randomness.choice(frames))
    for _ in range(randomness.randint(1, 4)):
        frame[randomness.randrange(len(frame))] = randomness.randrange(256)
    return bytes(frame)


def truncate(randomness: random.Random, frames: list[bytes]) -> bytes:
    frame = randomness.choice(frames)
    return frame[: randomness.randrange(len(frame))]


def insert_bytes(randomness: random.Random, frames: list[bytes]) -> bytes:
    frame = randomness.choice(frames)
    at = randomness.randrange(len(frame) + 1)
    return frame[:at] + randomness.randbytes(randomness.randint(1, 40)) + frame[at:]


def splice(randomness: random.Random, frames: list[bytes]) -> bytes:
    head, tail = randomness.choice(frames), randomness.choice(frames)
    return head[: randomness.randrange(len(head))] + tail[randomness.randrange(len(tail)) :]


def damage_update(randomness: random.Random, frames: list[bytes]) -> bytes:
    """Return a well-formed frame with a damaged update."""
    update = bytearray(frames[0][3:] if randomness.random() < 0.5 else POISON)
    for _ in range(randomness.randint(1, 3)):
        update[randomness.randrange(len(update))] = randomness.randrange(256)
    return protocol.sync_update(bytes(update))


def damage_vector(randomness: random.Random, frames: list[bytes]) -> bytes:
    """Return a state vector that announces too many entries or has too large clocks."""
    count = randomness.choice((1, 2, 2**20, 2**31, 2**52))
    pairs = b"".join(
        encode_varuint(randomness.randrange(2**53)) + encode_varuint(randomness.choice((0, 2**32, 2**52)))
        for _ in range(randomness.randint(0, 3))
    )
    return b"\0\0" + encode_bytes(encode_varuint(count) + pairs)


def nest_deeply(randomness: random.Random, frames: list[bytes]) -> bytes:
    kind = randomness.choice((b"", b"\0\2", b"\0\0", b"\1", b"\x66", b"\x68"))
    filling = randomness.choice((b"\xff", b"\x80", b"\x75\x01", b"\0"))
    return kind + encode_bytes(filling * randomness.choice((10, 1_000, 100_000)))


EXPENSIVE = [
    protocol.sync_update(make(count))
    for make in (competing_structs, row_and_competitors)
    for count in (100, 1_000, 5_000)
]


def expensive(randomness: random.Random, frames: list[bytes]) -> bytes:
    """Return a well-formed update that takes seconds to apply without protection."""
    return randomness.choice(EXPENSIVE)


def oversize(randomness: random.Random, frames: list[bytes]) -> bytes:
    return b"\0\2" + b"\0" * (SETTINGS.max_frame_bytes + randomness.randrange(1000))


def noise(randomness: random.Random, frames: list[bytes]) -> bytes:
    return randomness.randbytes(randomness.randint(0, 200))


MAKERS: dict[Make, float] = {
    flip_bytes: 30,
    truncate: 10,
    insert_bytes: 10,
    splice: 10,
    damage_update: 20,
    damage_vector: 8,
    nest_deeply: 4,
    oversize: 1,
    noise: 7,
}
"""Relative frequencies."""

WITH_EXPENSIVE = {**MAKERS, expensive: 0.1}
"""Each expensive update is accepted alone. In one room they compete for the positions of one list."""

MAX_EXPENSIVE_STALL = 150.0
"""Units: forty is usual. They cannot be told from edits of users, which may cost more, see docs/operations.md."""


class Attack:
    """A number of damaged frames, sent by connections that reconnect after each close."""

    def __init__(self, hub: Hub, frames: int, seed: int, makers: Mapping[Make, float]) -> None:
        self.left = frames
        self.codes: dict[int | None, int] = {}
        self._hub = hub
        self._randomness = random.Random(seed)
        self._corpus = corpus()
        self._makers = makers

    async def run(self) -> None:
        while self.left > 0:
            channel = FakeChannel(f"attacked{self._randomness.randrange(4)}")
            count = self._randomness.randint(1, 6)
            for _ in range(count):
                channel.incoming.put_nowait(self._frame())  # type: ignore[arg-type]
            channel.leave()
            await self._hub.serve(channel)
            # Frames after the one that closed the connection were not read and do not count.
            self.left -= count - max(channel.incoming.qsize() - 1, 0)
            self.codes[channel.closed_with] = self.codes.get(channel.closed_with, 0) + 1

    def _frame(self) -> bytes | str:
        if self._randomness.random() < 0.02:
            return "a text frame"
        make = self._randomness.choices(list(self._makers), list(self._makers.values()))[0]
        return make(self._randomness, self._corpus)


async def fuzz(frames: int, makers: Mapping[Make, float] = MAKERS, max_stall: float = MAX_STALL) -> None:
    seed = int(os.environ.get("STREAMLIT_CRDT_TEST_SEED", "20261122"))
    gc.collect()
    before = resident_bytes()
    hub = Hub(SETTINGS)
    # pytest keeps every log record. With 37 000 records a garbage collection takes 120 ms instead of 40, so they are
    # dropped after they were formatted.
    hub.log.addFilter(_drop)
    try:
        worst = await run_attack(hub, Attack(hub, frames, seed, makers), seed, before)
        assert worst < max_stall
    finally:
        hub.log.removeFilter(_drop)


def _drop(record: logging.LogRecord) -> bool:
    return False


async def run_attack(opened: Hub, attack: Attack, seed: int, before: int) -> float:
    """Run the attack, and return the longest stall of another room in units."""
    frames = attack.left
    async with opened as hub:
        async with watched(hub) as monitor:
            await asyncio.gather(*(attack.run() for _ in range(ATTACKERS)))
        gc.collect()
        growth = resident_bytes() - before
        print(
            f"fuzz: seed {seed}, {frames} frames, closed {attack.codes}, {monitor}, "
            f"memory {growth / 2**20:+.1f} MB"
        )
        assert set(attack.codes) <= CODES
        for number in range(4):
            await is_usable(hub, f"attacked{number}")
        assert growth < MAX_GROWTH_BYTES
    return monitor.longest


async def is_usable(hub: Hub, room: str) -> None:
    """Assert that an edit reaches another client of the room."""
    async with connected(hub, room) as ada, connected(hub, room) as bob:
        ada.edit("after the attack", room)
        await until(lambda: bob.look().get("after the attack") == room)


def resident_bytes() -> int:
    """Return the resident memory of this process; its maximum so far on systems without /proc."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * resource.getpagesize()


async def test_N2_damaged_frames_stall_no_other_room() -> None:
    await fuzz(FRAMES)


@pytest.mark.soak
async def test_N2_many_damaged_frames_stall_no_other_room() -> None:
    await fuzz(FRAMES_IN_SOAK)


@pytest.mark.soak
async def test_N2_many_expensive_updates_end_no_room() -> None:
    await fuzz(FRAMES_IN_SOAK, WITH_EXPENSIVE, MAX_EXPENSIVE_STALL)
