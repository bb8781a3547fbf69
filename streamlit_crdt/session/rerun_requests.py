"""What a page has asked for, in its order, and which of its widgets that can have been for.

A run tells neither. Streamlit joins requests that wait for the same thread, so the message of a fragment's timer may
come with a run of the whole script that nobody's edit has asked for; and a timer's message holds what somebody has
just done, so that the message that is sent for it holds no change any more. Both look as if a widget had been moved
back to where the page last reported it (P1).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

MAX_REQUESTS: Final = 256
"""So many requests are remembered that no run has begun with yet."""


@dataclass(frozen=True, slots=True)
class RerunCause:
    """Why a page sent a message.

    Attributes:
        is_timers: whether nobody has sent it: the timers of fragments did.
        changed: ids of the widgets that changed; None: not known.
    """

    is_timers: bool
    changed: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class _Request:
    number: int
    cause: RerunCause


class RerunRequests:
    """The requests of one session's page. Thread-safe: they come in the event loop's thread, runs begin in theirs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[_Request] = deque(maxlen=MAX_REQUESTS)
        self._count = 0
        self._states: Mapping[str, bytes] | None = None
        self._unsent: frozenset[str] = frozenset()

    def note(self, states: Mapping[str, bytes], *, is_timers: bool) -> int:
        """Take note of a request; return its number.

        Args:
            states: the serialized value of each widget.
            is_timers: whether a fragment's timer has sent it. What changed the page has yet to send for itself.
        """
        with self._lock:
            changed = None if self._states is None else _differences(self._states, states)
            self._states = states
            if is_timers:
                self._unsent |= changed or frozenset()
            elif changed is not None:
                changed, self._unsent = changed | self._unsent, frozenset()
            self._count += 1
            self._waiting.append(_Request(self._count, RerunCause(is_timers, changed)))
            return self._count

    def take(self, number: int) -> RerunCause | None:
        """Return why a run begins with the message of this number: for all that were asked for since the run before."""
        with self._lock:
            taken = []
            while self._waiting and self._waiting[0].number <= number:
                taken.append(self._waiting.popleft().cause)
        if not taken:
            return None
        changes = [cause.changed for cause in taken if cause.changed is not None]
        return RerunCause(
            all(cause.is_timers for cause in taken),
            frozenset().union(*changes) if len(changes) == len(taken) else None,
        )


def _differences(one: Mapping[str, bytes], other: Mapping[str, bytes]) -> frozenset[str]:
    return frozenset(name for name in {*one, *other} if one.get(name) != other.get(name))
