"""Pauses of worker threads that decode or apply large updates.

Python runs one thread at a time. A thread that decodes for ten seconds would take the interpreter from the event loop
for up to 5 ms at each system call of it. Paced threads therefore run in short turns, one at a time in the process, and
each turn is followed by a pause. `pause()` is called in the loops of decoders, and between calls of pycrdt.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Self

TURN_S = 0.001
"""CPU seconds of one turn. The event loop waits at most this long for the interpreter."""

PAUSE_RATIO = 1.0
"""Pause after a turn, as a multiple of the turn. All paced threads together take half of one core."""

HANDOVER_S = 0.0002
"""Seconds in which another thread that waits for its turn gets it. A lock is not fair."""

PAUSE_EVERY = 64
"""Loop iterations between two calls of `pause()`: 0.05 to 0.5 ms."""


class WorkEndedError(Exception):
    """Raised in a paced thread whose result is no longer needed."""


class CpuLimitError(Exception):
    """Raised in a paced thread that exceeds its limit of CPU time."""


class Pacer:
    """Turns of one thread, and its CPU time.

    Attributes:
        cpu_s: CPU seconds of the thread so far.
    """

    def __init__(self, turns: threading.Lock, max_cpu_s: float, is_over: Callable[[], bool]) -> None:
        """Create a pacer.

        Args:
            turns: Held by the thread whose turn it is. Common to all threads that take turns.
            max_cpu_s: Limit of the CPU time in seconds.
            is_over: Whether the result is no longer needed. Called after each turn.
        """
        self.cpu_s = 0.0
        self._turns = turns
        self._max_cpu_s = max_cpu_s
        self._is_over = is_over
        self._turn_began_s = 0.0

    def __enter__(self) -> Self:
        self._turns.acquire()
        self._turn_began_s = time.thread_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.cpu_s += time.thread_time() - self._turn_began_s
        self._turns.release()

    def pause(self) -> None:
        """End the turn if it is long enough, and return when the next one begins.

        Raises:
            WorkEndedError: The result is no longer needed.
            CpuLimitError: The limit is exceeded.
        """
        turn_s = time.thread_time() - self._turn_began_s
        if turn_s < TURN_S:
            return
        if self._is_over():
            raise WorkEndedError
        if self.cpu_s + turn_s > self._max_cpu_s:
            raise CpuLimitError
        self.cpu_s += turn_s
        time.sleep(PAUSE_RATIO * turn_s)  # keeps the turn, so that the pause is one of all threads
        self._turns.release()
        time.sleep(HANDOVER_S)
        self._turns.acquire()
        self._turn_began_s = time.thread_time()


_PACER: ContextVar[Pacer | None] = ContextVar("pacer", default=None)


@contextmanager
def paced(pacer: Pacer) -> Iterator[None]:
    """Give calls of `pause()` in this thread an effect during the block."""
    token = _PACER.set(pacer)
    try:
        with pacer:
            yield
    finally:
        _PACER.reset(token)


def pause() -> None:
    """Pause if the calling thread is paced and its turn is over."""
    pacer = _PACER.get()
    if pacer is not None:
        pacer.pause()
