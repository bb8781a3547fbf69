"""One Streamlit session: its bindings to rooms, and which of them the widget being drawn belongs to.

Which rooms a session is in, and how it leaves them: in time, and with nothing of theirs left behind.

Edits that came with a frame of the tab, or with what happened in another fragment, and that no script has seen.

A page sends what happens within one timer as one message, and if one of it belongs to a fragment, all of it asks for
that fragment's rerun alone. On a busy machine somebody's edit and a frame of the tab meet like that again and again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import streamlit as st

from streamlit_crdt import _compat
from streamlit_crdt.access.participant import Participant, draw_guest
from streamlit_crdt.access.room_context import KeyFilter, is_private
from streamlit_crdt.backend import backend
from streamlit_crdt.binding import StateBinding, form_drafts, widget_registration
from streamlit_crdt.binding.widgets import ClientState, Widget
from streamlit_crdt.errors import ValueNotShareableError
from streamlit_crdt.merge import MergePolicy
from streamlit_crdt.session.rerun_requests import RerunCause, RerunRequests
from streamlit_crdt.session.room_session import RoomSession
from streamlit_crdt.session.script_run import ScriptRun, WidgetCalls


class RoomMemberships:
    """Where a session is and was. Its methods are called under the session's lock.

    Attributes:
        rooms: the rooms that it is in, as its last full run left them.
        was_outside: whether it was in no room, or has left one: what its state holds is nobody's edit in the next one.
        drawn: keys of the widgets that were drawn in the block of no room, and that make way for a room's.
    """

    def __init__(self) -> None:
        self.rooms: list[RoomSession] = []
        self.was_outside = False
        self.drawn: set[str] = set()
        self._calls: dict[str | None, list[RoomSession | None]] = {}
        self._left_behind: set[str] = set()

    def call(self, ctx: Any, run: ScriptRun, room_session: RoomSession | None) -> None:
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
        calls.append(room_session)
        former = former_calls[place] if place < len(former_calls) else room_session
        if former is room_session or (room_session is not None and room_session in self.rooms):
            return
        if former is None:
            _compat.drop_values(ctx, self.drawn)
            self.drawn = set()
        elif former in self.rooms and former not in run.entered:
            former.push_last(run.message)
            self.leave(ctx, run, [former])

    def leave(self, ctx: Any, run: ScriptRun | None, rooms: list[RoomSession]) -> None:
        """Leave rooms, and take out of the state what is theirs alone."""
        _compat.drop_values(ctx, self._step_out(run, rooms))

    def clear(self, ctx: Any) -> None:
        """Take out of the state what the last run has left there of a room that was left at its end.

        Not at that end: until the next run, what the page shows and the state belong together.
        """
        _compat.drop_values(ctx, self._left_behind)
        self._left_behind = set()

    def end_run(self, ctx: Any, run: ScriptRun, *, complete: bool) -> None:
        """Remember the rooms of a full run, and leave those that others, or none, have taken the place of.

        What a run that was interrupted did not come to is as it was.
        """
        if not run.calls:
            return
        self._calls = dict(run.calls) if complete else {**self._calls, **self._with_the_rest(run)}
        absent = [room_session for room_session in self.rooms if room_session not in run.entered]
        self.rooms = [*run.entered, *absent]
        self._leave_at_end(run, [*run.leaving, *(absent if complete else ())])

    def end_fragments(self, run: ScriptRun) -> bool:
        """Remember the rooms that fragments have entered by calls of their own; say whether they have left any."""
        self._calls.update(run.calls)
        self.rooms += [room_session for room_session in run.entered if room_session not in self.rooms]
        return self._leave_at_end(run, run.leaving)

    def _with_the_rest(self, run: ScriptRun) -> dict[str | None, list[RoomSession | None]]:
        """Return the calls of a run that was interrupted, each list with the former ones that it did not come to."""
        return {part: [*calls, *self._calls.get(part, [])[len(calls) :]] for part, calls in run.calls.items()}

    def _leave_at_end(self, run: ScriptRun, left: list[RoomSession]) -> bool:
        if left:
            run.entered = [room_session for room_session in run.entered if room_session not in left]
            self._left_behind |= self._step_out(run, left)
        return bool(left)

    def _step_out(self, run: ScriptRun | None, rooms: list[RoomSession]) -> set[str]:
        """Leave rooms, and return the keys of the state that are theirs alone."""
        entered = [] if run is None else run.entered
        staying = [one for one in {*self.rooms, *entered} if one not in rooms]
        self.rooms = [one for one in self.rooms if one not in rooms]
        self.was_outside = True
        kept = {key for one in staying for key in one.replica}
        return {key for room_session in rooms for key in room_session.step_out()} - kept


def has_unread_edit(
    ctx: Any,
    message: ClientState,
    state: Mapping[str, Any],
    bindings: Iterable[StateBinding],
    rewritten: Container[str],
) -> bool:
    """Say whether `message`, with which fragments ran, holds an edit that needs a full run.

    What the browser still sends from before a value on its way to it is none (P1), and neither is what it has sent
    before: a value that never equals itself would ask for runs without end.

    Args:
        state: the session's state at the end of that run.
        bindings: those of the rooms that the session is in.
        rewritten: keys of which it held an old value, in the place of which the one on its way stands again.
    """
    return any(
        message.is_changed(widget)
        and key not in rewritten
        and not any(_has_echo(binding, key, state) for binding in bindings)
        for widget, key in _compat.unseen_widgets(ctx).items()
    )


def _has_echo(binding: StateBinding, key: str | None, state: Mapping[str, Any]) -> bool:
    with binding.locked() as keys:
        return key is not None and key in state and keys.get(key).is_echo(state[key])


class Session:
    """What the library knows of one Streamlit session.

    `lock` is held while a run compares the state with the room and writes into it. A newer run's browser message
    waits for it, and a run that was superseded finds out under it: else an older run could put its own snapshot,
    or a remote value, over what the user just did. `calls` is what its widgets were last called with, `alone` its
    membership in no room.
    """

    def __init__(self, session_id: str) -> None:
        self.id = session_id
        self.guest = draw_guest()
        self.lock = threading.RLock()
        self.room_sessions: dict[str, RoomSession] = {}
        self.released_at: float | None = None
        self._run: ScriptRun | None = None
        self._last_states: Mapping[str, bytes] = {}
        self.requests = RerunRequests()
        self.calls = WidgetCalls()
        self._fragments: dict[str, RoomSession | None] = {}
        self._stay = RoomMemberships()
        self._page = ""
        self._remote_wake = False
        self._output_dropped = False
        self._whole_run_owed = False
        self._run_lock = threading.Lock()
        self.anchor: object = None
        self.alone: Any = None

    def bind(self, room: str, server: str | None, ctx: Any) -> RoomSession:
        """Return the room_session to `room`, made on first use."""
        room_session = self.room_sessions.get(room)
        where = backend.find(server)
        if room_session is None or room_session.backend != where:
            if room_session is not None:
                room_session.detach()
            room_session = self.room_sessions[room] = RoomSession(room, where)
            if self._stay.was_outside:
                room_session.is_away = True
        return room_session

    @property
    def rooms(self) -> tuple[RoomSession, ...]:
        """The rooms that the session is in, by its last whole run."""
        return tuple(self._stay.rooms)

    def shut_out(self, ctx: Any, room: str) -> None:
        """Leave a room that this session may not be in any more."""
        with self._holding(ctx):
            room_session, run = self.room_sessions.get(room), self.run_of(ctx)
            if room_session is not None and run is not None and not room_session.is_away:
                self._stay.leave(ctx, run, [room_session])

    def leave_room(self, ctx: Any, room: str) -> None:
        """Leave a room and take what came from it out of the state: now, or, if this run was in it, at its end."""
        room_session = self.room_sessions.get(room)
        if room_session is None:
            return
        if not (
            room_session.connection.is_local
            or room_session.connection.is_deleted
            or _compat.is_superseded(ctx)
        ):
            self.attach(room_session)  # what the page brought along must get there
        with self._holding(ctx):
            run = self.run_of(ctx)
            if run is None:
                return
            if room_session in run.entered:
                run.leaving += [room_session] if room_session not in run.leaving else []
            elif room_session in self._stay.rooms:
                room_session.push_last(run.message)
                self._stay.leave(ctx, run, [room_session])
                self._whole_run_owed = self._whole_run_owed or bool(_compat.fragments_of_run(ctx))

    def forget_room(self, ctx: Any, room: str) -> None:
        """Leave a room that this session has deleted."""
        room_session = self.room_sessions.get(room)
        if room_session is not None:
            room_session.connection.close_deleted()
            self.leave_room(ctx, room)

    def is_in(self, room: str) -> RoomSession | None:
        """Return the room_session to a room that the session is in now; None if it is not."""
        room_session = self.room_sessions.get(room)
        run = self._run
        return (
            room_session
            if room_session in self._stay.rooms or (run is not None and room_session in run.entered)
            else None
        )

    def note_outside(self) -> None:
        """Note that the script is in no room: what it has had until it enters one is nobody's edit there."""
        self._stay.was_outside = True

    # -- runs ----------------------------------------------------------------------------------------------------

    def run_of(self, ctx: Any) -> ScriptRun | None:
        """Return the run that `ctx` is in, None if a newer one has taken its place.

        Under a lock of its own, which is never held while calling out: a parallel fragment that is registering a widget
        holds Streamlit's lock for the state here, and whoever holds `lock` may be waiting for that one.
        """
        with self._run_lock:
            identity = _compat.run_identity(ctx)
            if self._run is not None and self._run.identity is identity:
                return self._run
            if _compat.is_superseded(ctx):
                return None
            self._run = ScriptRun(identity)
            if not _compat.fragments_of_run(ctx):
                self._output_dropped = self._whole_run_owed = False  # all is drawn again
            return self._run

    @contextmanager
    def _holding(self, ctx: Any) -> Iterator[None]:
        """Hold `lock`, and Streamlit's for the state before it: a run that begins or ends has that one already."""
        with _compat.state_lock(ctx), self.lock:
            yield

    @contextmanager
    def turn(self, ctx: Any) -> Iterator[bool]:
        """Hold `lock`, and say whether the run that `ctx` is in still has the session's state."""
        with self.lock:
            yield self.run_of(ctx) is not None

    def select(
        self, ctx: Any, room_session: RoomSession, selection: KeyFilter, rules: MergePolicy, part: Participant
    ) -> None:
        """Choose what is shared in the room of `binding`, how it merges and as whom, with what this run has chosen."""
        with self.lock:
            run = self.run_of(ctx)
            if run is not None:
                room_session.select(selection, rules, part, again=room_session in run.entered)

    def enter(self, ctx: Any, room_session: RoomSession) -> list[str] | None:
        """Make `binding` the room of the widgets that follow; the first time in a run, bring state and room together.

        Returns the keys that others have changed, None if the run has entered this room before.
        """
        if not _compat.is_superseded(ctx):  # else nobody would leave the room again
            self.attach(room_session)
        with self._holding(ctx):
            run = self.run_of(ctx)
            if run is None:
                return None
            self._stay.call(ctx, run, room_session)
            run.open.append((room_session, _compat.fragment_id()))
            if room_session in run.entered:
                return None
            self._turn_page(str(ctx.page_script_hash))
            whole = not _compat.fragments_of_run(ctx)
            if not whole:
                run.is_remote = run.message is not None and run.message.is_timers
            elif not run.entered:
                run.is_remote = self._remote_wake and not (
                    run.message is not None and run.message.has_changes
                )
                self._remote_wake = False
            run.entered.append(room_session)
            if run.is_remote:
                room_session.replica.pause_history()
            rooms = {*self._stay.rooms, *run.entered}
            for one in rooms:
                one.set_company(len(rooms) > 1)
            return room_session.begin_run(run.message, remote=run.is_remote, whole=whole)

    def begin_callbacks(self, ctx: Any) -> None:
        """Note that callbacks come next: what they enter is no place of the script, and no widget's room."""
        run = self.run_of(ctx)
        if run is not None:
            run.in_callbacks = True

    def end_callbacks(self, ctx: Any) -> None:
        """Note that the script comes next, or fragments of it."""
        run = self.run_of(ctx)
        if run is not None:
            run.in_callbacks = False
            run.open.clear()

    def is_in_callbacks(self, ctx: Any) -> bool:
        """Say whether callbacks of the run that `ctx` is in run at the moment."""
        run = self.run_of(ctx)
        return run is not None and run.in_callbacks

    def begin_fragments(self, ctx: Any) -> None:
        """Before the app's fragments run again: push what the browser sent, and keep its echoes from their scripts."""
        with self._holding(ctx):
            run = self.run_of(ctx)
            if run is not None and run.message is not None:
                for room_session in self._stay.rooms:
                    run.rewritten |= room_session.begin_fragments(run.message)

    def enter_none(self, ctx: Any) -> None:
        """Be in no room where the script stands, instead of in the one that the same call has entered before."""
        with self._holding(ctx):
            run = self.run_of(ctx)
            if run is not None:
                self.note_outside()
                self._stay.call(ctx, run, None)
                run.open.append((None, _compat.fragment_id()))

    def leave_none(self, ctx: Any) -> None:
        """End the `with` block of no room."""
        run = self.run_of(ctx)
        if run is not None:
            run.close(None)

    def push(self, ctx: Any, room_session: RoomSession) -> list[ValueNotShareableError]:
        """Push what the script has assigned so far; return what cannot be shared."""
        with self._holding(ctx):
            run = self.run_of(ctx)
            if run is None:
                return []
            return room_session.push_now(
                run.message, remote=run.is_remote, has_drawn=room_session in run.entered
            )

    def leave(self, ctx: Any, room_session: RoomSession) -> list[ValueNotShareableError]:
        """End the `with` block of `binding` and push what it assigned; widgets below belong to the room around it."""
        with self._holding(ctx):
            run = self.run_of(ctx)
            if run is None:
                return []  # the newer run sees what this one assigned
            run.close(room_session)
            return room_session.push_now(run.message, remote=run.is_remote)

    def run_ended(self, ctx: Any, *, complete: bool, reruns: bool = False) -> None:
        """Push what the run assigned, unless a newer one has taken its place."""
        self._end_run(ctx, complete=complete, reruns=reruns)
        for room_session in list(self.room_sessions.values()):
            if self.released_at is not None and room_session.is_behind:  # the page was closed during the run
                self.attach(room_session)
                if self.released_at is not None:
                    room_session.detach()

    def attach(self, room_session: RoomSession) -> None:
        """Join the room of `binding`. Its loop is waited for without the lock, for which that loop may be waiting."""
        peer = room_session.connection.open()
        if (
            room_session.is_away and room_session.connection.is_deleted
        ):  # it comes back on purpose, into the room that there is now
            with self.lock:
                room_session.begin_anew()
            peer = room_session.connection.open()
        with self.lock:
            room_session.connection.sync(peer)

    def _end_run(self, ctx: Any, *, complete: bool, reruns: bool) -> None:
        with self._holding(ctx):
            run = self.run_of(ctx)
            if run is None:
                return
            state = st.session_state.to_dict()
            self._remote_wake = self._remote_wake and not complete
            run.open = []
            run.is_over = True
            ended = list(self._stay.rooms) if _compat.fragments_of_run(ctx) else []
            for room_session in ended:
                room_session.end_fragment(ctx, state, run.message)
            for room_session in run.entered:
                room_session.end_run(state, run.message, complete=complete, remote=run.is_remote)
            if not _compat.fragments_of_run(ctx):
                self._stay.end_run(ctx, run, complete=complete)
                if complete:
                    self.calls.forms.end_run()
            else:
                has_left = self._stay.end_fragments(run)
                ended = [room_session for room_session in ended if room_session not in run.leaving]
                if has_left or self._output_dropped or self._left_unseen(ctx, run, state):
                    self._whole_run_owed = True
            if not reruns:  # else the next run is under way, and one that is asked for would interrupt it
                self._request_runs(ctx, [*ended, *run.entered])

    def _request_runs(self, ctx: Any, bindings: list[RoomSession]) -> None:
        """Ask for what is owed once the present run is over: one whole run at most."""
        owing = [room_session for room_session in bindings if room_session.takes_owed_run()]
        if owing or self._whole_run_owed:
            self._whole_run_owed = self._output_dropped = False
            _compat.request_rerun(ctx, None)
            return
        for room_session in bindings:
            room_session.request_frame(ctx)

    def _left_unseen(self, ctx: Any, run: ScriptRun, state: Mapping[str, Any]) -> bool:
        if run.message is None:
            return False
        bindings = [room_session.binding for room_session in self._stay.rooms]
        return has_unread_edit(ctx, run.message, state, bindings, run.rewritten)

    def _turn_page(self, page: str) -> None:
        if page != self._page:
            self._page = page
            for room_session in self.room_sessions.values():
                with room_session.binding.locked() as keys:
                    widget_registration.leave_page(keys)

    def room_of(self, ctx: Any) -> RoomSession | None:
        """Return the room_session that a widget made just now belongs to."""
        run = self.run_of(ctx)
        if run is None:
            return None
        fragment, is_rerun = _compat.fragment_id(), bool(_compat.fragments_of_run(ctx))
        room_session = run.innermost(fragment)
        if room_session is not None or run.is_outside(fragment) or not is_rerun:
            if fragment is not None and (room_session is not None or not is_rerun):
                self._fragments[fragment] = room_session
            return room_session
        held = self._fragments.get(fragment or "")
        return None if held is None or held.is_away else held

    def wrote(self, ctx: Any, room_session: RoomSession) -> None:
        """Have the tab fetch what was written, if no run is under way at the end of which it would."""
        run = self._run
        if (
            (run is None or run.is_over)
            and room_session.tab.channel_fragment
            and room_session.tab.needs_fetch()
        ):
            _compat.request_fragment_rerun(ctx, room_session.tab.channel_fragment)

    def output_dropped(self) -> None:
        """Note that the page may lack what the last run drew: unless a full run comes next, one is asked for."""
        self._output_dropped = True

    def woke_remotely(self) -> None:
        """Note that the next run is caused by a remote edit (rule P4)."""
        self._remote_wake = True

    # -- what Streamlit tells ------------------------------------------------------------------------------------

    def received(
        self, ctx: Any, states: Mapping[str, bytes], triggers: frozenset[str], number: int | None = None
    ) -> frozenset[str]:
        """Take note of a message; return the elements of which it holds an older value than the state does (P7).

        Args:
            number: that of the page's request, if it was noted.
        """
        with self.lock:
            run = self.run_of(ctx)
            if run is None:
                return frozenset()
            self._stay.clear(ctx)
            cause = None if number is None else self.requests.take(number)
            cause = cause or RerunCause(
                bool(_compat.fragments_of_run(ctx)) and states == self._last_states, None
            )
            run.message = ClientState(states, triggers, self._last_states, cause.is_timers, cause.changed)
            self._last_states = states
            submitted = self.calls.forms.submitted(triggers)
            outdated: frozenset[str] = frozenset()
            for room_session in self.room_sessions.values():
                room_session.replica.begin_group()  # callbacks come next
                with room_session.binding.locked() as keys:
                    outdated |= form_drafts.receive(keys, states, submitted)
            if self._remote_wake and _compat.is_app_test():
                # AppTest cannot run a script without one. With this one nobody has acted.
                run.message = None
            return outdated

    def browser_shows(self, ctx: Any, widget: Widget) -> bool:
        """Say whether the browser holds a value of `widget`, so that it need not be told one."""
        run = self.run_of(ctx)
        return run is not None and run.message is not None and run.message.contains(widget)

    def drew(self, ctx: Any, widget: Widget, value: Any, *, assigned: bool) -> None:
        """Learn what a widget shows. It belongs to one room, and outside of every room's block to none."""
        run = self.run_of(ctx)
        if run is None:
            return
        room_session = self.room_of(ctx)
        if room_session is None and run.is_outside(_compat.fragment_id()) and not is_private(widget.key):
            self._stay.drawn.add(widget.key)
        if room_session is not None:
            carried = run.message is not None and run.message.contains(widget)
            room_session.binding.register(widget, value, is_assigned=assigned, is_in_browser=carried)
        for other in {*self._stay.rooms, *run.entered} - {room_session}:
            with other.binding.locked() as keys:
                widget_registration.exclude(keys, widget)

    def release(self) -> None:
        """Leave the rooms; keep the replicas for a while in case the session comes back."""
        self.released_at = time.monotonic()
        for room_session in list(self.room_sessions.values()):
            room_session.detach()
