"""Unsaved edits of a session.

*Saved* means confirmed by the room server: committed to disk if the server has a store on disk (rule S5), else applied
in memory. If the room is in this process, the future of each push confirms it. Otherwise the tab does: it reports the
version of the session's replica up to which every edit is committed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final

from streamlit_crdt.document.edits import JOIN_OVER_EDITS, LocalEdit, UnsavedEdit, join_edits, keys_of
from streamlit_crdt_server import RoomFullError, UpdateRefusedError

_REJECTIONS: Final = (RoomFullError, UpdateRefusedError)
"""Errors by which a room rejects an update for good. After any other error a later push may succeed."""


@dataclass(slots=True, eq=False)
class _Edit(UnsavedEdit):
    is_from_status_run: bool
    push: Future[None] | None = None
    is_rejected: bool = False


class UnsavedEdits:
    """Unsaved edits of one session in one room. Thread-safe.

    Attributes:
        is_status_run: whether the current run was requested only because the save status changed. Saving the edits of
            such a run requests no further run. Otherwise a script that assigns a new value in each run would never
            stop (rule P4).
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._edits: list[_Edit] = []
        self._join_over = JOIN_OVER_EDITS
        self.is_status_run = False

    @property
    def count(self) -> int:
        """Number of unsaved edits. Edits that left as one update count as one."""
        with self._changed:
            return len(self._edits)

    @property
    def count_outside_status_runs(self) -> int:
        """Number of unsaved edits from runs that a changed save status did not request."""
        with self._changed:
            return sum(not edit.is_from_status_run for edit in self._edits)

    @property
    def rejected_count(self) -> int:
        """Number of unsaved edits that the room rejected."""
        with self._changed:
            return sum(edit.is_rejected for edit in self._edits)

    def keys(self) -> list[str]:
        """Return the keys of the unsaved edits, sorted."""
        with self._changed:
            return sorted({key for edit in self._edits for key in keys_of(edit.edits)})

    def add(self, version: int, edits: Iterable[LocalEdit]) -> None:
        """Add an edit by the version that it gave the replica. It is not pushed yet.

        Args:
            version: the version.
            edits: the edit by value. Empty for the further updates of one transaction, after the first.
        """
        with self._changed:
            added = tuple(edits)
            if not added and self._edits and self._edits[-1].version == version - 1:
                added, self._edits[-1].edits = self._edits[-1].edits, ()
            self._edits.append(_Edit(version, added, self.is_status_run))
            if len(self._edits) > self._join_over:
                join_edits([edit for edit in self._edits if edit.push is None])
                self._join_over = max(JOIN_OVER_EDITS, 2 * len(self._edits))

    def take(self) -> list[LocalEdit]:
        """Remove and return all unsaved edits, in their order."""
        with self._changed:
            taken = [each for edit in self._edits for each in edit.edits]
            self._edits = []
            self._changed.notify_all()
            return taken

    def mark_pushed(self, versions: range, future: Future[None]) -> None:
        """Record a push of these versions. They are saved when `future` completes without an error."""
        with self._changed:
            for edit in self._edits:
                if edit.push is None and edit.version in versions:
                    edit.push, edit.is_rejected = future, False
        future.add_done_callback(self._end_push)

    def _end_push(self, future: Future[None]) -> None:
        error = None if future.cancelled() else future.exception()
        has_failed = future.cancelled() or error is not None
        with self._changed:
            if has_failed:
                for edit in self._edits:
                    if edit.push is future:
                        edit.push, edit.is_rejected = None, isinstance(error, _REJECTIONS)
            else:
                self._edits = [edit for edit in self._edits if edit.push is not future]
            self._changed.notify_all()

    def mark_saved(self, version: int) -> None:
        """Remove the edits up to `version`, which the tab reported as committed."""
        with self._changed:
            self._edits = [edit for edit in self._edits if edit.version > version]
            self._changed.notify_all()

    def wait(self, timeout_s: float) -> bool:
        """Wait until every push is confirmed or failed. Return whether no edit is unsaved.

        Returns early if no edit has a push in progress: waiting cannot save it.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while any(edit.push is not None for edit in self._edits):
                left_s = deadline - time.monotonic()
                if left_s <= 0 or not self._changed.wait(left_s):
                    break
            return not self._edits
