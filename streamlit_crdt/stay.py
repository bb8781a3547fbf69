"""Where a session was, call by call of `crdt_sync`, so that a room that another takes the place of is left in time."""

from __future__ import annotations

from collections.abc import Sequence

from streamlit_crdt.binding import Binding


class Stay:
    """What a session remembers of its former runs.

    Attributes:
        was_outside: whether the session was in no room, or has left one: what its state holds is nobody's edit in the
            next one.
        drawn: keys of the widgets that were drawn in the block of no room, and that make way for a room's.
    """

    def __init__(self) -> None:
        self.was_outside = False
        self.drawn: set[str] = set()
        self._calls: list[Binding | None] = []

    def before(self, place: int) -> tuple[bool, Binding | None]:
        """Say whether the call at this place was for no room in the last run; else for which, if it was made at all."""
        if place >= len(self._calls):
            return False, None
        former = self._calls[place]
        return former is None, former

    def take_drawn(self) -> set[str]:
        """Return `drawn`, and begin it anew."""
        drawn, self.drawn = self.drawn, set()
        return drawn

    def end_run(self, calls: Sequence[Binding | None], *, complete: bool) -> None:
        """Remember the calls of a full run; what one that was interrupted did not come to is as it was."""
        self._calls = [*calls, *([] if complete else self._calls[len(calls) :])]
