"""Which rooms a session is in, and how it leaves them: in time, and with nothing of theirs left behind."""

from __future__ import annotations

from typing import Any

from streamlit_crdt import _compat
from streamlit_crdt.binding import Binding
from streamlit_crdt.run import Run


class Stay:
    """Where a session is and was. Its methods are called under the session's lock.

    Attributes:
        rooms: the rooms that it is in, as its last full run left them.
        was_outside: whether it was in no room, or has left one: what its state holds is nobody's edit in the next one.
        drawn: keys of the widgets that were drawn in the block of no room, and that make way for a room's.
    """

    def __init__(self) -> None:
        self.rooms: list[Binding] = []
        self.was_outside = False
        self.drawn: set[str] = set()
        self._calls: dict[str | None, list[Binding | None]] = {}
        self._left_behind: set[str] = set()

    def call(self, ctx: Any, run: Run, binding: Binding | None) -> None:
        """Leave the room that this very call of `crdt_sync` entered in the last run, if it enters another one now.

        Before the other is entered, so that nothing goes from one into the other. A script that takes the former one up
        again further below finds it as it left it.
        """
        if run.in_callbacks:
            return  # the script has not come to any of its places
        self.clear(ctx)
        fragment = _compat.fragment_id()
        calls, former_calls = run.calls.setdefault(fragment, []), self._calls.get(fragment, [])
        place = len(calls)
        calls.append(binding)
        former = former_calls[place] if place < len(former_calls) else binding
        if former is binding or (binding is not None and binding in self.rooms):
            return
        if former is None:
            _compat.drop_values(ctx, self.drawn)
            self.drawn = set()
        elif former in self.rooms and former not in run.entered:
            former.push_last(run.message)
            self.leave(ctx, run, [former])

    def leave(self, ctx: Any, run: Run | None, rooms: list[Binding]) -> None:
        """Leave rooms, and take out of the state what is theirs alone."""
        _compat.drop_values(ctx, self._step_out(run, rooms))

    def clear(self, ctx: Any) -> None:
        """Take out of the state what the last run has left there of a room that was left at its end.

        Not at that end: until the next run, what the page shows and the state belong together.
        """
        _compat.drop_values(ctx, self._left_behind)
        self._left_behind = set()

    def end_run(self, ctx: Any, run: Run, *, complete: bool) -> None:
        """Remember the rooms of a full run, and leave those that others, or none, have taken the place of.

        What a run that was interrupted did not come to is as it was.
        """
        if not run.calls:
            return
        self._calls = dict(run.calls) if complete else {**self._calls, **self._with_the_rest(run)}
        absent = [binding for binding in self.rooms if binding not in run.entered]
        self.rooms = [*run.entered, *absent]
        self._leave_at_end(run, [*run.leaving, *(absent if complete else ())])

    def end_fragments(self, run: Run) -> bool:
        """Remember the rooms that fragments have entered by calls of their own; say whether they have left any."""
        self._calls.update(run.calls)
        self.rooms += [binding for binding in run.entered if binding not in self.rooms]
        return self._leave_at_end(run, run.leaving)

    def _with_the_rest(self, run: Run) -> dict[str | None, list[Binding | None]]:
        """Return the calls of a run that was interrupted, each list with the former ones that it did not come to."""
        return {part: [*calls, *self._calls.get(part, [])[len(calls) :]] for part, calls in run.calls.items()}

    def _leave_at_end(self, run: Run, left: list[Binding]) -> bool:
        if left:
            run.entered = [binding for binding in run.entered if binding not in left]
            self._left_behind |= self._step_out(run, left)
        return bool(left)

    def _step_out(self, run: Run | None, rooms: list[Binding]) -> set[str]:
        """Leave rooms, and return the keys of the state that are theirs alone."""
        entered = [] if run is None else run.entered
        staying = [one for one in {*self.rooms, *entered} if one not in rooms]
        self.rooms = [one for one in self.rooms if one not in rooms]
        self.was_outside = True
        kept = {key for one in staying for key in one.replica}
        return {key for binding in rooms for key in binding.step_out()} - kept
