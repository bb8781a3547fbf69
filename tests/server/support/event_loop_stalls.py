"""Stalls of one room that other rooms cause, measured by continuous edits, in a unit independent of the machine."""

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
from tests.server.support.expensive_updates import competing_structs
from tests.server.support.fake_channel import DEADLINE_S, Client, connected

_UNIT_UPDATE = competing_structs(300)


def unit_s() -> float:
    """Return the unit: CPU seconds of pycrdt for 60 000 comparisons, measured now on this machine."""
    took_s = []
    for _ in range(5):
        started_at = time.thread_time()
        Doc[Any]().apply_update(_UNIT_UPDATE)
        took_s.append(time.thread_time() - started_at)
    return median(took_s)


class StallMonitor:
    """A client that edits continuously and records the time of each edit.

    Wall-clock time depends on other tests on the machine. The result is therefore CPU time of this thread, without the
    garbage collector: production freezes it, and a test process has more objects than a server.
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
    def longest(self) -> float:
        """Longest stall in units."""
        return max(self.cpu_stalls_s) / median(self._units_s)

    def __str__(self) -> str:
        wall_ms, cpu_ms = (1000 * max(stalls_s) for stalls_s in (self.stalls_s, self.cpu_stalls_s))
        return (
            f"longest stall of another room {wall_ms:.0f} ms ({cpu_ms:.0f} ms of CPU, {self.longest:.1f} units of "
            f"{1000 * median(self._units_s):.1f} ms) in {len(self.stalls_s)} edits"
        )

    async def run(self) -> None:
        gc.callbacks.append(self._record_collection)
        try:
            since = self._now()
            while not self.is_over:
                await asyncio.sleep(0.001)  # part of the measured time, because a stall may begin here
                await self._edit(*since)
                since = self._now()
        finally:
            gc.callbacks.remove(self._record_collection)
            self._units_s.append(unit_s())

    def _now(self) -> tuple[float, float]:
        """Return the time, and the CPU time without garbage collections."""
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

    def _record_collection(self, phase: str, info: Mapping[str, int]) -> None:
        if threading.current_thread() is not self._thread:
            return
        if phase == "start":
            self._collecting_since_s = time.thread_time()
        else:
            self._collecting_s += time.thread_time() - self._collecting_since_s


@asynccontextmanager
async def watched(hub: Hub) -> AsyncIterator[StallMonitor]:
    """Measure the stalls of an idle room during the block."""
    async with connected(hub, "quiet") as ada:
        monitor = StallMonitor(ada)
        watching = asyncio.ensure_future(monitor.run())
        try:
            yield monitor
        finally:
            monitor.is_over = True
            await watching
