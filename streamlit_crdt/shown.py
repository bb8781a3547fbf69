"""What a script has read of how much is saved, and whether a change of it is worth a run.

Only a change of what the script was told is: a script that showed "all is saved" need not hear of it once more (P4).
"""

from __future__ import annotations

from collections.abc import Callable

from streamlit_crdt.message import Message
from streamlit_crdt.mirror import Mirror
from streamlit_crdt.saving import Saving


class ShownSaving:
    """What one session's present run was told of what is saved."""

    def __init__(self, saving: Callable[[], Saving], mirror: Mirror) -> None:
        self._saving = saving
        self._mirror = mirror
        self._saved: bool | None = None
        self._count: int | None = None
        self._has_asked = False

    def begin_run(self, message: Message | None) -> None:
        """Forget what the former run was told.

        Args:
            message: what the browser sent with this run. If somebody has acted, that is its cause.
        """
        self._saved = self._count = None
        self._saving().is_echo = self._has_asked and not (message is not None and message.has_news)
        self._has_asked = False

    def end_run(self) -> None:
        """Take what is edited from now on for somebody's own edit again, as in a fragment."""
        self._saving().is_echo = False

    def asked(self) -> None:
        """Note that the next run is asked for only because the script was told something else."""
        self._has_asked = True

    def count(self) -> int:
        """Tell the script how many edits are not saved."""
        self._count = self._now()
        return self._count

    def is_saved(self) -> bool:
        """Tell the script whether all are."""
        self._saved = self._now() == 0
        return self._saved

    def wants_run(self, by_cause_before: int) -> bool:
        """Say whether the script was told something else than what is so now, and a run is worth it.

        Args:
            by_cause_before: how many unsaved edits there were that are worth it (`Saving.unsaved_by_cause`).
        """
        if self._saving().unsaved_by_cause == by_cause_before:
            return False
        now = self._now()
        return self._count not in (None, now) or self._saved not in (None, now == 0)

    def _now(self) -> int:
        return self._saving().unsaved_count + len(self._mirror.held_back)
