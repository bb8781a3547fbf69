"""Clicks of `room.button` that no script has seen yet.

Streamlit's own button is true in the run that its click causes. If a newer run takes that one's place before it has
come to the button, nobody ever sees the click.
"""

from __future__ import annotations

import threading
from collections import Counter


class Clicks:
    """Counts the clicks of one session's buttons in one room, by key. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: Counter[str] = Counter()
        self._drawn: set[str] = set()

    def clicked(self, key: str) -> None:
        with self._lock:
            self._waiting[key] += 1

    def take(self, key: str) -> bool:
        """Say whether a click waits, and let this run be the one that sees it."""
        with self._lock:
            self._drawn.add(key)
            if not self._waiting[key]:
                return False
            self._waiting[key] -= 1
            return True

    def end_run(self, *, complete: bool) -> bool:
        """Close a run; say whether another click waits. What waits for a button that is gone is dropped."""
        with self._lock:
            if complete:
                self._waiting = Counter({key: self._waiting[key] for key in self._drawn})
                self._drawn = set()
            return any(self._waiting.values())
