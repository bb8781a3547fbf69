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
from typing import Final

from streamlit_crdt_server import RoomFullError, UpdateRefusedError

_REFUSALS: Final = (RoomFullError, UpdateRefusedError)
"""What says that the room will not take an update, as opposed to that it cannot now."""


@dataclass(slots=True, eq=False)
class _Edit:
    version: int
    keys: frozenset[str]
    is_echo: bool
    pushed: Future[None] | None = None
    is_refused: bool = False


class UnsavedEdits:
    """The edits of one session in one room that are not saved. Thread-safe.

    Attributes:
        is_echo: whether what is edited now is edited by a run whose only cause is that something was saved. That it is
            saved in turn is worth no run, or a script that assigns a new value on each run would run for ever (P4).
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._edits: list[_Edit] = []
        self.is_echo = False

    @property
    def unsaved_count(self) -> int:
        """How many edits are not saved; what left together, as one update, counts as one."""
        with self._changed:
            return len(self._edits)

    @property
    def unsaved_by_cause(self) -> int:
        """How many of those were made by runs that had another cause than that something was saved."""
        with self._changed:
            return sum(not edit.is_echo for edit in self._edits)

    @property
    def refused_count(self) -> int:
        """How many of those the room refused, so that they are not on their way either."""
        with self._changed:
            return sum(edit.is_refused for edit in self._edits)

    def unsaved_keys(self) -> list[str]:
        """Return the keys that those edits are about, sorted."""
        with self._changed:
            return sorted({key for edit in self._edits for key in edit.keys})

    def edited(self, version: int, keys: Iterable[str]) -> None:
        """Note an edit, by the version that the replica has with it; nobody has it yet."""
        with self._changed:
            self._edits.append(_Edit(version, frozenset(keys), self.is_echo))

    def pushed(self, versions: range, future: Future[None]) -> None:
        """Note that these versions are on their way; they are saved when `future` is done."""
        with self._changed:
            for edit in self._edits:
                if edit.pushed is None and edit.version in versions:
                    edit.pushed, edit.is_refused = future, False
        future.add_done_callback(self._answered)

    def _answered(self, future: Future[None]) -> None:
        error = None if future.cancelled() else future.exception()
        failed = future.cancelled() or error is not None
        with self._changed:
            if failed:
                for edit in self._edits:
                    if edit.pushed is future:
                        edit.pushed, edit.is_refused = None, isinstance(error, _REFUSALS)
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
