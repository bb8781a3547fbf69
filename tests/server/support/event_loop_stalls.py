"""How long one room waits for another, measured by somebody who edits in it, in a unit that a slow machine has too."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from statistics import median
from typing import Any

from pycrdt import Doc

from streamlit_crdt_server import Hub
from tests.server.support.expensive_updates import contest
from tests.server.support.fake_channel import DEADLINE_S, Client, connected

_UNIT = contest(300)


def unit_s() -> float:
    """Measure the unit: how much CPU pycrdt needs for 60 000 comparisons, just now on this machine."""
    took_s = []
    for _ in range(5):
        started_at = time.thread_time()
        Doc[Any]().apply_update(_UNIT)
        took_s.append(time.thread_time() - started_at)
    return median(took_s)


class Watch:
    """Somebody who edits all the time, and notes how long that took.

    Wall-clock time is the machine's as well, which other tests share, so what counts is the CPU of this thread, without
    the garbage collector's: production freezes it, and a test process has more for it to look at than a server.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._units_s = [unit_s()]
        self._collecting_s = self._collecting_since_s = 0.0
        self._thread = threading.current_thread()
        self.stalls_s: list[float] = []
        self.cpu_stalls_s: list[float] = []
        self.is_over = False

    @property
    def worst(self) -> float:
        """The longest stall, in units."""
        return max(self.cpu_stalls_s) / median(self._units_s)

    def __str__(self) -> str:
        wall_ms, cpu_ms = (1000 * max(stalls_s) for stalls_s in (self.stalls_s, self.cpu_stalls_s))
        return (
            f"longest stall of another room {wall_ms:.0f} ms ({cpu_ms:.0f} ms of CPU, {self.worst:.1f} units of "
            f"{1000 * median(self._units_s):.1f} ms) in {len(self.stalls_s)} edits"
        )

    async def run(self) -> None:
        gc.callbacks.append(self._note_collection)
        try:
            since = self._now()
            while not self.is_over:
                await asyncio.sleep(0.001)  # counts too: a single stall may well begin here
                await self._edit(*since)
                since = self._now()
        finally:
            gc.callbacks.remove(self._note_collection)
            self._units_s.append(unit_s())

    def _now(self) -> tuple[float, float]:
        """Return the time, and the CPU time that counts."""
        return time.monotonic(), time.thread_time() - self._collecting_s

    async def _edit(self, started_at: float, cpu_at: float) -> None:
        seen = len(self._client.channel.sent)
        self._client.edit("count", len(self.stalls_s))
        while len(self._client.channel.sent) == seen:
            await asyncio.sleep(0)
            assert time.monotonic() < started_at + DEADLINE_S
        now, cpu_now = self._now()
        self.stalls_s.append(now - started_at)
        self.cpu_stalls_s.append(cpu_now - cpu_at)

    def _note_collection(self, phase: str, info: Mapping[str, int]) -> None:
        if threading.current_thread() is not self._thread:
            return
        if phase == "start":
            self._collecting_since_s = time.thread_time()
        else:
            self._collecting_s += time.thread_time() - self._collecting_since_s


@asynccontextmanager
async def watched(hub: Hub) -> AsyncIterator[Watch]:
    """Watch a quiet room for as long as the block lasts."""
    async with connected(hub, "quiet") as ada:
        watch = Watch(ada)
        watching = asyncio.ensure_future(watch.run())
        try:
            yield watch
        finally:
            watch.is_over = True
            await watching
