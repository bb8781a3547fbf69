"""How far a program's edits have come: made here, arrived at the server, saved by it. Numbers only, so bounded."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

SILENT_AFTER_S: Final = 2.0
"""A server that was asked what it has saved and has not answered by then is, so far, not one of ours."""


class SyncProgress:
    """Counts edits. Thread-safe; whoever waits is woken by each change.

    Attributes:
        epoch: which of the histories that had the room's name this is; None until the server has said so.
        is_synced: whether the room's content has been here.
        is_open: whether a connection is open on which the room's content came.
        is_silent: whether the server has not said what it saves, though it was asked.
        is_failing: whether the server's store fails at the moment.
        is_denied: whether the server takes no edits on this connection.
        fault: what ended it all.
        reason: what went wrong last, in words.
        news: grows with each change of others.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.epoch: str | None = None
        self.is_synced = self.is_open = self.is_silent = self.is_failing = self.is_denied = False
        self.fault: Exception | None = None
        self.reason = ""
        self.made = self.arrived = self.saved = self.news = 0

    def set(self, **values: object) -> None:
        """Set attributes together. `made`, `arrived` and `saved` never go back."""
        with self.changed:
            for name, value in values.items():
                setattr(self, name, value)
            self.changed.notify_all()

    def count_edit(self) -> None:
        with self.changed:
            self.made += 1
            self.changed.notify_all()

    def count_news(self) -> None:
        with self.changed:
            self.news += 1
            self.changed.notify_all()

    @property
    def unsaved(self) -> int:
        with self.changed:
            return self.made - self.saved

    def wait(self, until: Callable[[], bool], timeout_s: float | None) -> bool:
        """Wait until `until()`, which is called under the lock, or for as long as that; say whether it holds."""
        with self.changed:
            return self.changed.wait_for(until, timeout_s)

    def wait_synced(self, timeout_s: float) -> bool:
        """Wait until the room's content is here, and the server has told its epoch or had the time to."""
        ends_at = time.monotonic() + timeout_s
        self.wait(lambda: self.is_synced or self.fault is not None, timeout_s)
        if self.is_synced and self.fault is None:
            left_s = min(SILENT_AFTER_S, max(0.0, ends_at - time.monotonic()))
            told = self.wait(lambda: self.epoch is not None or self.fault is not None, left_s)
            with self.changed:
                self.is_silent = not told
        return self.is_synced and self.fault is None

    def wait_saved(self, timeout_s: float) -> bool:
        """Wait until all that is made by now is saved; say whether it is.

        It ends early where waiting is of no use: the server takes nothing, or has it and does not say what it saves.
        """
        target = self.made

        def is_over() -> bool:
            is_told = self.is_silent and self.arrived >= target
            return self.saved >= target or self.is_denied or is_told or self.fault is not None

        self.wait(is_over, timeout_s)
        return self.saved >= target
