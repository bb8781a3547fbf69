"""One Streamlit session: its runs, and the order in which they read and write session state and rooms."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import streamlit as st

from streamlit_crdt import _compat
from streamlit_crdt.access.participant import Participant, random_guest
from streamlit_crdt.access.room_context import KeyFilter, is_private
from streamlit_crdt.backend import backend
from streamlit_crdt.binding import form_drafts, widget_registration
from streamlit_crdt.binding.widgets import ClientState, Widget
from streamlit_crdt.errors import ValueNotShareableError
from streamlit_crdt.merge import MergePolicy
from streamlit_crdt.session.rerun_requests import RerunCause, RerunRequests
from streamlit_crdt.session.room_memberships import RoomMemberships
from streamlit_crdt.session.room_session import RoomSession
from streamlit_crdt.session.script_run import FormRegistry, ScriptRun


class Session:
    """One Streamlit session.

    Attributes:
        lock: held while a run compares session state with a room, and writes into either. A newer run waits for it
            before it takes its client state, and a superseded run detects that under it. Otherwise an older run could
            write its own snapshot, or a remote value, over an edit of the newer one.
        guest: the user if no person is logged in.
        room_sessions: every room that the session has been in, by name.
        released_at: `time.monotonic()` when the session's tab closed; None while it is open.
        requests: the rerun requests of the browser.
        forms: the forms of the session.
        fragment_rooms: the room in which the last full run called a fragment, by the fragment's id.
        anchor: an object whose id must stay unique while the session exists.
        detached_membership: the membership in no room; None before the first `crdt_sync(None)`.
    """

    def __init__(self, session_key: str) -> None:
        self.id = session_key
        self.guest = random_guest()
        self.lock = threading.RLock()
        self.room_sessions: dict[str, RoomSession] = {}
        self.released_at: float | None = None
        self.requests = RerunRequests()
        self.forms = FormRegistry()
        self.fragment_rooms: dict[str, RoomSession | None] = {}
        self.anchor: object = None
        self.detached_membership: Any = None
        self._run: ScriptRun | None = None
        self._run_lock = threading.Lock()
        self._memberships = RoomMemberships()
        self._last_states: Mapping[str, bytes] = {}
        self._page = ""
        self._has_remote_cause = False
        self._is_first_run_due = False
        self._has_leftovers = False
        self._was_by_person = True
        self._has_dropped_output = False
        self._is_full_run_due = False

    # -- rooms ---------------------------------------------------------------------------------------------------

    @property
    def rooms(self) -> tuple[RoomSession, ...]:
        """The rooms that the session is in, as of its last full run."""
        return tuple(self._memberships.joined)

    def open_room(self, room: str, server: str | None) -> RoomSession:
        """Return the session's side of a room. The first call creates it; another backend replaces it."""
        room_session = self.room_sessions.get(room)
        room_backend = backend.find(server)
        if room_session is None or room_session.backend != room_backend:
            if room_session is not None:
                room_session.detach()
            room_session = self.room_sessions[room] = RoomSession(room, room_backend)
            room_session.is_away = self._memberships.was_outside
        return room_session

    def joined_room(self, room: str) -> RoomSession | None:
        """Return a room that the session is in now; None if it is not in that room."""
        room_session, run = self.room_sessions.get(room), self._run
        is_joined = room_session in self._memberships.joined
        return room_session if is_joined or (run is not None and room_session in run.entered) else None

    def revoke_room(self, run: ScriptRun, room: str) -> None:
        """Leave a room that this session must not be in any more."""
        with run.context.state_lock, self.lock:
            room_session = self.room_sessions.get(room)
            if room_session is not None and not run.is_superseded and not room_session.is_away:
                self._memberships.leave(run, [room_session])

    def leave_room(self, run: ScriptRun, room: str) -> None:
        """Leave a room and remove its values from session state: now, or at the end of a run that entered the room."""
        room_session = self.room_sessions.get(room)
        if room_session is None:
            return
        connection = room_session.connection
        if not (connection.is_local or connection.is_deleted or run.context.is_superseded):
            self.attach(room_session)  # the client state may contain edits for the room
        with run.context.state_lock, self.lock:
            if run.is_superseded:
                return
            if room_session in run.entered:
                run.leaving += [room_session] if room_session not in run.leaving else []
            elif room_session in self._memberships.joined:
                room_session.push_before_leaving(run)
                self._memberships.leave(run, [room_session])
                self._is_full_run_due = self._is_full_run_due or bool(run.context.fragments)

    def forget_room(self, run: ScriptRun, room: str) -> None:
        """Leave a room that this session has deleted."""
        room_session = self.room_sessions.get(room)
        if room_session is not None:
            room_session.connection.close_deleted()
            self.leave_room(run, room)

    def note_outside(self) -> None:
        """Record that the script is in no room. Values that it has until it enters a room are no edits there."""
        self._memberships.was_outside = True

    def attach(self, room_session: RoomSession) -> None:
        """Connect to a room. Waits for the room's event loop without the lock, which the loop may be waiting for."""
        peer = room_session.connection.open()
        if room_session.is_away and room_session.connection.is_deleted:
            with self.lock:  # the session returns on purpose, into the new room of that name
                room_session.start_over()
            peer = room_session.connection.open()
        with self.lock:
            room_session.connection.sync(peer)

    # -- runs ----------------------------------------------------------------------------------------------------

    def run_of(self, context: _compat.RunContext) -> ScriptRun:
        """Return the run with this context. A context that is not superseded becomes the session's present run.

        The lock of this method is not held during any other call: a parallel fragment that registers a widget holds
        Streamlit's lock for session state here, and a thread that holds `lock` may be waiting for that one.
        """
        with self._run_lock:
            present = self._run
            if present is not None and present.context is context:
                return present
            run = ScriptRun(self, context)
            if context.is_superseded:
                run.is_superseded = True
                return run
            if present is not None:
                present.is_superseded = True
                self._has_leftovers = not (present.is_over or present.has_trigger)
            if not context.fragments:
                self._has_dropped_output = self._is_full_run_due = (
                    False  # a full run writes all elements again
                )
            self._run = run
            return run

    def receive_client_state(
        self, run: ScriptRun, states: Mapping[str, bytes], triggers: frozenset[str], number: int | None = None
    ) -> frozenset[str]:
        """Take the client state of a run; return the ids of the widgets for which it is older than session state (P7).

        Args:
            number: number of the browser's request; None without one.
        """
        with self.lock:
            if run.is_superseded:
                return frozenset()
            self._memberships.drop_left_values(run)
            if self._has_leftovers and self._memberships.joined:
                state = st.session_state.to_dict()
                for room_session in self._memberships.joined:
                    if room_session.synced and not room_session.participant.is_viewer:
                        room_session.binding.hold_leftovers(state)
            self._has_leftovers = False
            cause = None if number is None else self.requests.take(number)
            if cause is None:
                is_timers = bool(run.context.fragments) and states == self._last_states and not triggers
                cause = RerunCause(is_timers, None, not is_timers)
            run.is_requested_by_person = cause.is_by_person
            run.client_state = ClientState(
                states, triggers, self._last_states, cause.is_timers, cause.changed
            )
            self._last_states = states
            submitted = self.forms.submitted(triggers) if triggers else frozenset()
            stale: frozenset[str] = frozenset()
            for room_session in self.room_sessions.values():
                room_session.connection.replica.begin_group()  # callbacks come next
                binding = room_session.binding
                with binding.lock:
                    if binding.keys.has_fields:
                        stale |= form_drafts.receive(binding.keys, states, submitted)
            if self._has_remote_cause and run.context.is_app_test:
                run.client_state = None  # AppTest needs one for every run; this one contains no edit
            return stale

    def begin_fragments(self, run: ScriptRun) -> None:
        """Push the client state before fragments run, and replace its echoes."""
        with run.context.state_lock, self.lock:
            if run.client_state is not None and not run.is_superseded:
                for room_session in self._memberships.joined:
                    run.rewritten |= room_session.begin_fragments(run, run.client_state)

    def note_callbacks(self, run: ScriptRun) -> None:
        """Record what the callbacks of a full run have changed, before its script begins."""
        with run.context.state_lock, self.lock:
            joined = self._memberships.joined
            if joined and run.client_state is not None and not run.is_superseded:
                state = st.session_state.to_dict()
                for room_session in joined:
                    room_session.binding.note_callbacks(state)

    def select(
        self,
        run: ScriptRun,
        room_session: RoomSession,
        key_filter: KeyFilter,
        merge_policy: MergePolicy,
        participant: Participant,
    ) -> None:
        """Set the participant, shared keys and merge rules of a room, combined with former calls of this run."""
        with self.lock:
            if not run.is_superseded:
                again = room_session in run.entered
                room_session.select(key_filter, merge_policy, participant, again=again)

    def enter(self, run: ScriptRun, room_session: RoomSession) -> list[str] | None:
        """Make a room the room of the widgets that follow. The first call in a run synchronizes session state and room.

        Returns:
            The keys with new remote values; None if the run has entered this room before.
        """
        fragment, page = _compat.fragment_id(), run.context.page
        if not run.context.is_superseded:  # otherwise no later run would leave the room
            self.attach(room_session)
        with run.context.state_lock, self.lock:
            if run.is_superseded:
                return None
            self._memberships.switch(run, room_session, fragment)
            run.open_blocks.append((room_session, fragment))
            if room_session in run.entered:
                return None
            if page != self._page:
                self._enter_page(page)
            run.entered.append(room_session)
            if not self.is_by_person(run):
                room_session.replica.pause_history()
            rooms = {*self._memberships.joined, *run.entered}
            for one in rooms:
                one.set_alone(len(rooms) == 1)
            return room_session.begin_run(run)

    def is_by_person(self, run: ScriptRun) -> bool:
        """Return whether a person caused a run (R9). A run that code requested has the cause of the run before it."""
        if run.is_by_person is None and run.is_superseded:
            return True
        if run.is_by_person is None:
            is_full = not run.context.fragments
            if is_full and self._is_first_run_due:
                run.is_by_person = True
            elif run.client_state is not None and (run.is_requested_by_person or not is_full):
                run.is_by_person = run.is_requested_by_person
            elif is_full and self._has_remote_cause:
                run.is_by_person = False
            else:
                run.is_by_person = self._was_by_person
            if is_full:
                self._has_remote_cause = self._is_first_run_due = False
        return run.is_by_person

    def refuses_code(self, context: _compat.RunContext) -> bool:
        """Return whether code must not write now: it is the script of a run that no person caused (R9)."""
        run = self.run_of(context)
        with context.state_lock, self.lock:
            is_script = context.is_in_script and not (run.is_in_callbacks or run.is_over)
            return is_script and not self.is_by_person(run)

    def enter_none(self, run: ScriptRun) -> None:
        """Make no room the room of the widgets that follow."""
        fragment = _compat.fragment_id()
        with run.context.state_lock, self.lock:
            if not run.is_superseded:
                self.note_outside()
                self._memberships.switch(run, None, fragment)
                run.open_blocks.append((None, fragment))

    def push(self, run: ScriptRun, room_session: RoomSession) -> list[ValueNotShareableError]:
        """Push what the script assigned so far; return the values that cannot be shared."""
        with run.context.state_lock, self.lock:
            if run.is_superseded:
                return []
            return room_session.push_now(run, has_registered=room_session in run.entered)

    def leave(self, run: ScriptRun, room_session: RoomSession) -> list[ValueNotShareableError]:
        """End the `with` block of a room and push what it assigned. Widgets below belong to the room around it."""
        with run.context.state_lock, self.lock:
            if run.is_superseded:
                return []  # the newer run reads what this one assigned
            run.close_block(room_session)
            return room_session.push_now(run)

    def run_ended(self, run: ScriptRun, *, complete: bool, reruns: bool = False) -> None:
        """Push what a run assigned, unless it is superseded.

        Args:
            complete: whether it was a full run that no newer run stopped.
            reruns: whether another run follows at once.
        """
        self._end_run(run, complete=complete, reruns=reruns)
        for room_session in list(self.room_sessions.values()):
            if self.released_at is not None and room_session.is_behind:  # the tab was closed during the run
                self.attach(room_session)
                if self.released_at is not None:
                    room_session.detach()
        if self.released_at is not None:
            self._drop_ended_run()

    def _end_run(self, run: ScriptRun, *, complete: bool, reruns: bool) -> None:
        with run.context.state_lock, self.lock:
            if run.is_superseded:
                return
            state = st.session_state.to_dict()
            self._was_by_person = self.is_by_person(run)
            run.open_blocks = []
            run.is_over = True
            ended = list(self._memberships.joined) if run.context.fragments else []
            for room_session in ended:
                room_session.end_fragment(run, state)
            for room_session in run.entered:
                room_session.end_run(run, state, complete=complete)
            if run.context.fragments:
                has_left = self._memberships.end_fragments(run)
                ended = [room_session for room_session in ended if room_session not in run.leaving]
                if self._has_unread_edit(run, state):
                    self._was_by_person = self._is_full_run_due = True
                    self._has_remote_cause = False
                elif has_left or self._has_dropped_output:
                    self._is_full_run_due = True
            else:
                self._memberships.end_run(run, complete=complete)
                if complete:
                    self.forms.end_run()
            if not reruns:  # a request would interrupt the run that follows
                self._request_runs(run, [*ended, *run.entered])

    def _request_runs(self, run: ScriptRun, room_sessions: list[RoomSession]) -> None:
        """Request the runs that are due after the present one: one full run, or the fragments of the channels."""
        due = [room_session for room_session in room_sessions if room_session.take_due_run()]
        if due or self._is_full_run_due:
            self._is_full_run_due = self._has_dropped_output = False
            run.context.request_rerun(None)
            return
        for room_session in room_sessions:
            room_session.request_frame(run)

    def _has_unread_edit(self, run: ScriptRun, state: Mapping[str, Any]) -> bool:
        """Return whether the client state with which fragments ran contains an edit that needs a full run.

        The browser sends everything that happens within one timer as one request. If one part belongs to a fragment,
        the request asks for that fragment alone. On a busy machine, an edit and a frame of the tab coincide again and
        again.

        An echo is no edit (P1), and neither is a value that the browser sent before: a value that never equals itself
        would request runs without end.
        """
        client_state = run.client_state
        return client_state is not None and any(
            client_state.is_changed(widget_id)
            and key not in run.rewritten
            and not any(room.has_echo(key, state) for room in self._memberships.joined)
            for widget_id, key in _compat.unread_widgets(run.context).items()
        )

    def _enter_page(self, page: str) -> None:
        self._page = page
        for room_session in self.room_sessions.values():
            with room_session.binding.locked() as keys:
                widget_registration.leave_page(keys)

    def note_dropped_output(self) -> None:
        """Record that the browser may lack elements of the last run. A full run is requested unless one comes next."""
        self._has_dropped_output = True

    def note_remote_cause(self) -> None:
        """Record that a remote edit causes the next run (R9)."""
        self._has_remote_cause = True

    def note_first_run_due(self) -> None:
        """Record that the first run stops until its room has arrived. The run after it counts as the first."""
        self._is_first_run_due = True

    def request_frame(self, run: ScriptRun, room_session: RoomSession) -> None:
        """Request a frame for the tab after a write outside of runs. Otherwise the end of the run sends it."""
        present, fragment = self._run, room_session.tab.channel_fragment
        if (present is None or present.is_over) and fragment and room_session.tab.needs_fetch():
            _compat.request_fragment_rerun(run.context, fragment)

    # -- widgets -------------------------------------------------------------------------------------------------

    def widget_registered(
        self,
        run: ScriptRun,
        room_session: RoomSession | None,
        widget: Widget,
        value: Any,
        *,
        is_assigned: bool,
        is_in_browser: bool,
    ) -> None:
        """Record the value that a widget shows in its room, and exclude the widget from the session's other rooms.

        Args:
            room_session: the room of the widget; None for no room.
            is_assigned: whether code assigned the value.
            is_in_browser: whether the client state has a value of the widget.
        """
        if room_session is not None:
            room_session.binding.register(widget, value, is_assigned=is_assigned, is_in_browser=is_in_browser)
        elif run.innermost_block(_compat.fragment_id()) is not None and not is_private(widget.key):
            self._memberships.outside_keys.add(widget.key)
        for other in {*self._memberships.joined, *run.entered} - {room_session}:
            with other.binding.locked() as keys:
                widget_registration.exclude(keys, widget)

    # -- end -----------------------------------------------------------------------------------------------------

    def release(self) -> None:
        """Leave the rooms when the tab closes. The replicas are kept for a while: the tab may come back."""
        self.released_at = time.monotonic()
        for room_session in list(self.room_sessions.values()):
            room_session.detach()
        self._drop_ended_run()

    def end(self) -> None:
        """End a released session for good. Later sessions continue with its replica ids."""
        for room_session in list(self.room_sessions.values()):
            room_session.connection.end()

    def _drop_ended_run(self) -> None:
        """Drop the last run of a released session. It refers to Streamlit's session state, which may be large."""
        if self._run is not None and self._run.is_over:
            self._run = None
