"""CPU time of one connection: an average, a burst, and the delay of a connection that exceeds them (rule N3)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from streamlit_crdt_server.settings import Settings

FREE_S = 0.00005
"""CPU seconds of a charge that do not count: a usual update takes less. `max_messages_per_s_per_connection` limits
how many there are."""


class CpuBudget:
    """The budget of one connection. It falls with each charge and rises with time. Below zero, it is a debt.

    Attributes:
        is_exceeded: Whether the debt was so large that the connection must be closed.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = settings.max_cpu_ms_per_s_per_connection / 1000
        self._burst_s = settings.max_cpu_burst_ms_per_connection / 1000
        self._max_debt_s = settings.max_cpu_debt_ms_per_connection / 1000
        self._left_s = self._burst_s
        self._clock = clock
        self._at = clock()
        self.is_exceeded = False

    def charge(self, cpu_s: float) -> None:
        """Subtract CPU seconds."""
        if cpu_s > FREE_S:
            self._refill()
            self._left_s -= cpu_s - FREE_S
            self.is_exceeded = self.is_exceeded or -self._left_s > self._max_debt_s

    @contextmanager
    def charging(self) -> Iterator[None]:
        """Charge the CPU time of the block, which must not wait."""
        started_s = time.thread_time()
        try:
            yield
        finally:
            self.charge(time.thread_time() - started_s)

    def delay_s(self) -> float:
        """Return the seconds until the debt is paid. 0 without a debt."""
        self._refill()
        return max(0.0, -self._left_s / self._per_s)

    def _refill(self) -> None:
        now = self._clock()
        self._left_s = min(self._burst_s, self._left_s + (now - self._at) * self._per_s)
        self._at = now

    @property
    def is_in_debt(self) -> bool:
        """True if there was a debt after the last charge."""
        return self._left_s < 0
