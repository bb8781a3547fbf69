"""Progress of a client's edits: made, received by the server, saved. Counters only, so memory is bounded."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

SAVE_STATUS_TIMEOUT_S: Final = 2.0
"""Seconds to wait for the answer to a save query. A server without an answer counts as one that does not report saves,
until it answers."""


class SyncProgress:
    """Counters and status of one client's connection. Thread-safe; each change wakes all waiting threads.

    Attributes:
        changed: condition that guards all attributes.
        epoch: epoch of the room; None until the server has reported it.
        is_synced: the room has been synced at least once.
        is_open: a connection is open and the room was synced over it.
        lacks_save_status: the server was queried and has not reported what it saves.
        is_failing: the server's store reports errors.
        is_denied: the server rejects edits of this connection.
        fault: error that ended the client for good.
        reason: text of the last error.
        edit_count: edits made by this client.
        received_count: edits that the server has received.
        saved_count: edits that the server has saved.
        remote_count: updates received from the server.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.epoch: str | None = None
        self.is_synced = self.is_open = self.lacks_save_status = self.is_failing = self.is_denied = False
        self.fault: Exception | None = None
        self.reason = ""
        self.edit_count = self.received_count = self.saved_count = self.remote_count = 0

    def set(self, **values: object) -> None:
        """Set several attributes at once. The counters never decrease."""
        with self.changed:
            for name, value in values.items():
                setattr(self, name, value)
            self.changed.notify_all()

    def count_edit(self) -> int:
        """Count an edit, and return its number."""
        with self.changed:
            self.edit_count += 1
            self.changed.notify_all()
            return self.edit_count

    def count_remote_update(self) -> None:
        with self.changed:
            self.remote_count += 1
            self.changed.notify_all()

    @property
    def unsaved_count(self) -> int:
        with self.changed:
            return self.edit_count - self.saved_count

    def wait(self, condition: Callable[[], bool], timeout_s: float | None) -> bool:
        """Wait until `condition()`, called under the lock, is true. Return its last result."""
        with self.changed:
            return self.changed.wait_for(condition, timeout_s)

    def wait_synced(self, timeout_s: float) -> bool:
        """Wait until the room is synced, and its epoch is known or `SAVE_STATUS_TIMEOUT_S` has passed."""
        ends_at = time.monotonic() + timeout_s
        self.wait(lambda: self.is_synced or self.fault is not None, timeout_s)
        if self.is_synced and self.fault is None:
            left_s = min(SAVE_STATUS_TIMEOUT_S, max(0.0, ends_at - time.monotonic()))
            has_answer = self.wait(lambda: self.epoch is not None or self.fault is not None, left_s)
            with self.changed:
                self.lacks_save_status = not has_answer
        return self.is_synced and self.fault is None

    def wait_saved(self, timeout_s: float) -> bool:
        """Wait until all edits made by now are saved. Return True if they are.

        Returns early if the edits cannot become saved: the server rejects edits, or it has received them and does not
        report saves.
        """
        target = self.edit_count

        def is_over() -> bool:
            is_received = self.lacks_save_status and self.received_count >= target
            return self.saved_count >= target or self.is_denied or is_received or self.fault is not None

        self.wait(is_over, timeout_s)
        return self.saved_count >= target
