"""A logger that writes at most one line per second and kind, so that no client fills the disk with log lines."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

INTERVAL_S = 1.0
"""Shortest time in seconds between two lines of one kind."""


class ThrottledLog:
    """Writes the first message of each kind per second. The next line states the number of the omitted ones."""

    def __init__(self, logger: logging.Logger, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._clock = clock
        self._written: dict[str, tuple[float, int]] = {}

    def warning(self, kind: str, message: str, *arguments: object) -> None:
        """Log a message, or count it if one of its kind was written less than a second ago.

        Args:
            kind: One of a fixed set of words. The memory of each kind is kept.
            message: A format string of `logging`.
            *arguments: The arguments of the format string.
        """
        now = self._clock()
        written_at, omitted = self._written.get(kind, (now - INTERVAL_S, 0))
        if now - written_at < INTERVAL_S:
            self._written[kind] = (written_at, omitted + 1)
            return
        self._written[kind] = (now, 0)
        if omitted:
            message, arguments = f"{message} (and %d more like this)", (*arguments, omitted)
        self._logger.warning(message, *arguments)
