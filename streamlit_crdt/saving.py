"""What of a session's edits is not saved yet.

*Saved* is what the room server confirmed: committed to disk where rooms are kept on disk (rule S5), applied where they
are kept in memory. Two witnesses can say so. Where the room lives in this process it is the future of each push; where
only the tab reaches the room, it is the tab, which tells up to which version of this session's replica everything is
committed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class _Edit:
    version: int
    keys: frozenset[str]
    pushed: Future[None] | None = None


class Saving:
    """The edits of one session in one room that are not saved. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._edits: list[_Edit] = []

    @property
    def unsaved_count(self) -> int:
        """How many edits are not saved; what left together, as one update, counts as one."""
        with self._changed:
            return len(self._edits)

    def unsaved_keys(self) -> list[str]:
        """Return the keys that those edits are about, sorted."""
        with self._changed:
            return sorted({key for edit in self._edits for key in edit.keys})

    def edited(self, version: int, keys: Iterable[str]) -> None:
        """Note an edit, by the version that the replica has with it; nobody has it yet."""
        with self._changed:
            self._edits.append(_Edit(version, frozenset(keys)))

    def pushed(self, versions: range, future: Future[None]) -> None:
        """Note that these versions are on their way; they are saved when `future` is done."""
        with self._changed:
            for edit in self._edits:
                if edit.pushed is None and edit.version in versions:
                    edit.pushed = future
        future.add_done_callback(self._answered)

    def _answered(self, future: Future[None]) -> None:
        failed = future.cancelled() or future.exception() is not None
        with self._changed:
            if failed:
                for edit in self._edits:
                    if edit.pushed is future:
                        edit.pushed = None
            else:
                self._edits = [edit for edit in self._edits if edit.pushed is not future]
            self._changed.notify_all()

    def confirmed(self, version: int) -> None:
        """Note that the tab says that everything up to `version` is committed."""
        with self._changed:
            self._edits = [edit for edit in self._edits if edit.version > version]
            self._changed.notify_all()

    def wait(self, timeout_s: float) -> bool:
        """Wait until everything that is on its way was answered; say whether nothing is unsaved then.

        It ends early where waiting is of no use, because an edit has nobody to take it.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while any(edit.pushed is not None for edit in self._edits):
                left_s = deadline - time.monotonic()
                if left_s <= 0 or not self._changed.wait(left_s):
                    break
            return not self._edits
