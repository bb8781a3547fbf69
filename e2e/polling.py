"""Polling with a deadline. Browser tests wait only by these functions."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

POLL_INTERVAL_S = 0.05
DEFAULT_DEADLINE_S = 45.0

T = TypeVar("T")


def eventually(look: Callable[[], T], *, deadline_s: float = DEFAULT_DEADLINE_S, why: str = "") -> T:
    """Call `look` until it returns a true value, and return that value. An AssertionError in `look` counts as false.

    Args:
        look: the condition.
        deadline_s: seconds to poll at most.
        why: description of the condition, for the error.

    Raises:
        AssertionError: the deadline has passed. The message contains `why` and the last result of `look`.
    """
    deadline = time.monotonic() + deadline_s
    while True:
        try:
            last: object = look()
            if last:
                return last  # type: ignore[return-value]
        except AssertionError as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {deadline_s:g} s: {why or look!r}; last seen: {last!r}")
        time.sleep(POLL_INTERVAL_S)


def settles_on(look: Callable[[], T], expected: T, *, deadline_s: float = DEFAULT_DEADLINE_S) -> None:
    """Call `look` until it returns `expected`.

    Raises:
        AssertionError: the deadline has passed. The message contains the last result of `look`.
    """
    deadline = time.monotonic() + deadline_s
    while (seen := look()) != expected:
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {deadline_s:g} s: expected {expected!r}, last seen {seen!r}")
        time.sleep(POLL_INTERVAL_S)
