"""Waiting for something to become true, with a deadline: the only way in which a browser test waits."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

POLL_INTERVAL_S = 0.05
DEFAULT_DEADLINE_S = 15.0

T = TypeVar("T")


def eventually(look: Callable[[], T], *, deadline_s: float = DEFAULT_DEADLINE_S, why: str = "") -> T:
    """Call `look` until it returns something true and return that; an AssertionError in it means "not yet".

    Raises:
        AssertionError: The deadline passed; the message holds `why` and what `look` said last.
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
    """Wait until `look` returns `expected`; the failure shows what it returned instead."""
    deadline = time.monotonic() + deadline_s
    while (seen := look()) != expected:
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {deadline_s:g} s: expected {expected!r}, last seen {seen!r}")
        time.sleep(POLL_INTERVAL_S)
