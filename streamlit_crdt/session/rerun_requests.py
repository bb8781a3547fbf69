"""Rerun requests of one session, and the widgets that caused them.

A run shows neither. Streamlit joins requests that wait for the same thread, so the client state of a fragment's timer
may come with a full run that no edit caused. And a timer's client state contains the edits since the last request, so
that the request for such an edit itself contains no change. Both look as if a widget had been moved back to its last
reported value (rule P1).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

MAX_REQUESTS: Final = 256
"""Number of requests without a run that are kept. The run of an older request has no known cause."""


@dataclass(frozen=True, slots=True)
class RerunCause:
    """Cause of a rerun request.

    Attributes:
        is_timers: whether timers of fragments sent the request, and no person.
        is_by_person: whether a person caused it, and neither a timer nor a frame of the tab (R9).
        changed: ids of the widgets that changed; None if unknown.
    """

    is_timers: bool
    changed: frozenset[str] | None
    is_by_person: bool = True


@dataclass(frozen=True, slots=True)
class _Request:
    number: int
    cause: RerunCause


class RerunRequests:
    """Rerun requests of one session. Thread-safe: the event loop's thread adds them, script threads take them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: deque[_Request] = deque(maxlen=MAX_REQUESTS)
        self._count = 0
        self._states: Mapping[str, bytes] | None = None
        self._changed_in_timers: frozenset[str] = frozenset()

    def add(self, states: Mapping[str, bytes], *, is_timers: bool, is_frame: bool = False) -> int:
        """Add a request; return its number.

        Args:
            states: the serialized value of each widget.
            is_timers: whether a fragment's timer sent it. The browser requests a run for the changes in it later.
            is_frame: whether the tab sent it with a frame for the session.
        """
        with self._lock:
            changed = None if self._states is None else _differences(self._states, states)
            self._states = states
            if is_timers:
                self._changed_in_timers |= changed or frozenset()
            elif changed is not None:
                changed, self._changed_in_timers = changed | self._changed_in_timers, frozenset()
            self._count += 1
            cause = RerunCause(is_timers, changed, not (is_timers or is_frame))
            self._pending.append(_Request(self._count, cause))
            return self._count

    def take(self, number: int) -> RerunCause | None:
        """Return the joint cause of all requests up to this number, and remove them; None without any."""
        with self._lock:
            taken = []
            while self._pending and self._pending[0].number <= number:
                taken.append(self._pending.popleft().cause)
        if not taken:
            return None
        changes = [cause.changed for cause in taken if cause.changed is not None]
        return RerunCause(
            all(cause.is_timers for cause in taken),
            frozenset().union(*changes) if len(changes) == len(taken) else None,
            any(cause.is_by_person for cause in taken),
        )


def _differences(one: Mapping[str, bytes], other: Mapping[str, bytes]) -> frozenset[str]:
    return frozenset(name for name in {*one, *other} if one.get(name) != other.get(name))
