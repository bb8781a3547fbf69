"""Room memberships of a session. Leaving a room removes its values from session state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamlit_crdt import _compat

if TYPE_CHECKING:
    from streamlit_crdt.session.room_session import RoomSession
    from streamlit_crdt.session.script_run import ScriptRun


class RoomMemberships:
    """Rooms that a session is in. The session's lock is held during every call.

    Attributes:
        joined: the rooms that the session is in, as of its last full run.
        was_outside: whether the session was in no room, or has left one. Then its state contains no edit for the next
            one.
        outside_keys: keys of the widgets that registered in the block of no room. A room's widgets replace them.
    """

    def __init__(self) -> None:
        self.joined: list[RoomSession] = []
        self.was_outside = False
        self.outside_keys: set[str] = set()
        self._calls: dict[str | None, list[RoomSession | None]] = {}
        self._left_keys: set[str] = set()

    def switch(self, run: ScriptRun, room_session: RoomSession | None, fragment: str | None) -> None:
        """Record a call of `crdt_sync`. If the same call entered another room in the last run, leave that room.

        The former room is left before the new one is entered, so that no value goes from one into the other. A script
        that enters the former room again below finds it unchanged.

        Args:
            room_session: the room that the call enters; None for `crdt_sync(None)`.
            fragment: id of the fragment that calls; None for the rest of the script.
        """
        if run.is_in_callbacks:
            return  # a callback is at no place of the script
        self.drop_left_values(run)
        calls, former_calls = run.calls.setdefault(fragment, []), self._calls.get(fragment, [])
        index = len(calls)
        calls.append(room_session)
        former = former_calls[index] if index < len(former_calls) else room_session
        if former is room_session or (room_session is not None and room_session in self.joined):
            return
        if former is None:
            _compat.drop_values(run.context, self.outside_keys)
            self.outside_keys = set()
        elif former in self.joined and former not in run.entered:
            former.push_before_leaving(run)
            self.leave(run, [former])

    def leave(self, run: ScriptRun, rooms: list[RoomSession]) -> None:
        """Leave rooms, and remove the values from session state that come from these rooms only."""
        _compat.drop_values(run.context, self._leave(run, rooms))

    def drop_left_values(self, run: ScriptRun) -> None:
        """Remove the values of the rooms that were left at the end of the last run.

        Until the next run begins, session state must match the elements in the browser.
        """
        if self._left_keys:
            _compat.drop_values(run.context, self._left_keys)
            self._left_keys = set()

    def end_run(self, run: ScriptRun, *, complete: bool) -> None:
        """Record the rooms of a full run. Leave the rooms that it did not enter again.

        Calls that an interrupted run did not reach keep their rooms.
        """
        if not run.calls:
            return
        self._calls = dict(run.calls) if complete else {**self._calls, **self._with_unreached_calls(run)}
        absent = [room for room in self.joined if room not in run.entered]
        self.joined = [*run.entered, *absent]
        self._leave_at_end(run, [*run.leaving, *(absent if complete else ())])

    def end_fragments(self, run: ScriptRun) -> bool:
        """Record the rooms that fragments entered by their own calls; return whether they left any."""
        self._calls.update(run.calls)
        self.joined += [room for room in run.entered if room not in self.joined]
        return self._leave_at_end(run, run.leaving)

    def _with_unreached_calls(self, run: ScriptRun) -> dict[str | None, list[RoomSession | None]]:
        """Return the calls of an interrupted run, each list extended by the former calls that the run did not reach."""
        return {
            fragment: [*calls, *self._calls.get(fragment, [])[len(calls) :]]
            for fragment, calls in run.calls.items()
        }

    def _leave_at_end(self, run: ScriptRun, rooms: list[RoomSession]) -> bool:
        if rooms:
            run.entered = [room for room in run.entered if room not in rooms]
            self._left_keys |= self._leave(run, rooms)
        return bool(rooms)

    def _leave(self, run: ScriptRun, rooms: list[RoomSession]) -> set[str]:
        """Leave rooms, and return the keys of session state that belong to these rooms only."""
        remaining = [room for room in {*self.joined, *run.entered} if room not in rooms]
        self.joined = [room for room in self.joined if room not in rooms]
        self.was_outside = True
        kept = {key for room in remaining for key in room.replica}
        return {key for room in rooms for key in room.leave()} - kept
