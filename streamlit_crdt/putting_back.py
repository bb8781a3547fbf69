"""What a viewer is told whose widget goes back (rule A1).

A toast, because a widget belongs to the app's author, who may not show the badge either: what a viewer has just moved
and does not find moved would look like a fault.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

import streamlit as st

NOTICE: Final = "**View only.** What you change here goes back."
ICON: Final = ":material/visibility:"
SHOWN_S: Final = 4.0
"""So long a toast stays, and another one beside it would say the same."""


class PuttingBack:
    """Notes that something goes back which a person has moved, until the person is told."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told_at = -math.inf
        self._is_due = False

    def owe(self) -> None:
        """Note that a widget was moved, in this run or in a fragment's run before it."""
        self._is_due = True

    def tell(self) -> None:
        """Say so on the page, once for all that goes back, and not while it is still said."""
        is_due, self._is_due = self._is_due, False
        now = self._clock()
        if is_due and now - self._told_at >= SHOWN_S:
            self._told_at = now
            st.toast(NOTICE, icon=ICON)
