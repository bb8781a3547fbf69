"""One session in one room: its connection, its tab, and the exchange between session state and room in each run."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Container, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import streamlit as st
from streamlit.errors import StreamlitAPIException

from streamlit_crdt import _compat
from streamlit_crdt.access.participant import Participant, random_guest
from streamlit_crdt.access.room_context import KeyFilter, RoomContext
from streamlit_crdt.backend.backend import RoomBackend
from streamlit_crdt.binding import in_flight, local_edits, remote_writes, widget_registration
from streamlit_crdt.binding.binding import StateBinding
from streamlit_crdt.binding.remote_writes import StateWrite
from streamlit_crdt.binding.widgets import ClientState
from streamlit_crdt.codec.equality import equal
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.errors import ValueNotShareableError
from streamlit_crdt.merge import MergePolicy
from streamlit_crdt.session.room_writer import RoomWriter
from streamlit_crdt.transport.connection import RoomConnection
from streamlit_crdt.transport.frame import Frame, Status, StatusReport
from streamlit_crdt.transport.tab import TabConnection
from streamlit_crdt_server import qualified

if TYPE_CHECKING:
    from streamlit_crdt.session.script_run import ScriptRun

_log = logging.getLogger("streamlit_crdt")

NOTICE: Final = "**View only.** What you change here goes back."
ICON: Final = ":material/visibility:"
SHOWN_S: Final = 4.0
"""Seconds that a toast stays. A second toast beside it would say the same."""


class RoomSession:
    """One session in one room. The session's first `crdt_sync` for the room creates it.

    Attributes:
        room: name of the room, as the script gives it.
        backend: location of the room server.
        context: participant, shared keys and merge rules.
        connection: connection to the room.
        binding: binding between session state and the replica.
        tab: connection to the session's tab.
        writer: writes of the script past widgets and session state.
        scope: part of the identity of the room's widgets that differs between rooms.
        clicks: clicks of `room.button`.
        view_only_notice: message to a viewer whose change is reverted.
        is_away: whether the session has left the room, or has yet to enter it. Then its state contains no edit here.
    """

    def __init__(self, room: str, backend: RoomBackend) -> None:
        self.room = room
        self.backend = backend
        self.context = RoomContext(room, Participant("editor", random_guest()))
        self.connection = RoomConnection(qualified(room, backend.namespace), backend)
        self.binding = StateBinding(self.replica, self.context)
        self.scope = f"{room}{self.connection.generation}"
        self.writer = RoomWriter(self.binding)
        self.clicks = PendingClicks()
        self.view_only_notice = ViewOnlyNotice()
        self.tab = TabConnection(backend, self.connection, self.binding)
        self.is_away = False
        self._is_rerun_due = False
        self._is_rerun_for_news = False
        self._pushed_client_state: ClientState | None = None
        self._private_in_later_calls: tuple[str, ...] = ()
        self._logged_errors: set[str] = set()
        self._displaced: dict[str, Any] = {}
        self._written_by_fragments: list[str] = []

    def select(
        self, key_filter: KeyFilter, merge_policy: MergePolicy, participant: Participant, *, again: bool
    ) -> None:
        """Set the participant, shared keys and merge rules.

        A key that only a later call of a run declares private is private from the top of the next run on.

        Args:
            again: whether this is a later call of the same run, which combines with the former ones.
        """
        context = self.context
        if again:
            self._private_in_later_calls = tuple({*self._private_in_later_calls, *key_filter.private})
            participant = context.participant.combine(participant)
            key_filter = context.key_filter.combine(key_filter)
            merge_policy = context.merge_policy.joined(merge_policy)
        elif self._private_in_later_calls:
            key_filter = key_filter.combine(KeyFilter(key_filter.keys, self._private_in_later_calls))
        self._set_context(
            replace(context, participant=participant, key_filter=key_filter, merge_policy=merge_policy)
        )

    def set_alone(self, is_only_room: bool) -> None:
        """Set whether this is the session's only room. If not, plain values have no merge rule (see `RoomContext`)."""
        if self.context.merges_plain_values != is_only_room:
            self._set_context(replace(self.context, merges_plain_values=is_only_room))

    def _set_context(self, context: RoomContext) -> None:
        if context != self.context:
            self.context = self.binding.context = context
            self.connection.is_read_only = context.is_read_only

    # -- connection and tab --------------------------------------------------------------------------------------

    @property
    def participant(self) -> Participant:
        """Role and user of the session."""
        return self.context.participant

    @property
    def key_filter(self) -> KeyFilter:
        """The shared keys."""
        return self.context.key_filter

    @property
    def replica(self) -> Replica:
        return self.connection.replica

    @property
    def synced(self) -> bool:
        return self.connection.is_synced

    @property
    def status(self) -> Status:
        return self.connection.status

    @property
    def saved(self) -> bool:
        """True if every edit of this session is saved. A change of the value causes a run."""
        return self.tab.save_status.read_is_saved()

    @property
    def unsaved_count(self) -> int:
        """Number of unsaved edits of this session. A change of the value causes a run."""
        return self.tab.save_status.read_count()

    def flush(self, timeout_s: float) -> bool:
        """Wait until the edits of this session are saved; return whether they are."""
        with self.binding.locked() as keys:
            is_held_back = bool(keys.held_back())
        return not is_held_back and self.connection.unsaved.wait(timeout_s)

    def attach(self) -> None:
        self.connection.attach()

    @property
    def is_behind(self) -> bool:
        """True if the session has left the room, and some of its edits have not reached it."""
        return not self.connection.is_local and self.connection.unsaved_count > 0

    def detach(self) -> None:
        self.connection.close()

    def leave(self) -> set[str]:
        """Leave the room, because the session is in another one now, or in none.

        Returns:
            The keys of session state that belong to this room.
        """
        with self.binding.locked() as keys:
            bound_keys = keys.bound_keys()
        self.connection.close(for_good=True)
        self.is_away = True
        if self.connection.is_deleted or (self.backend.is_tab_only and not self.connection.unsaved_count):
            self.start_over()
        return bound_keys

    def start_over(self) -> None:
        """Drop the replica: the room was deleted, or its tab sends it again, whole, when the session returns."""
        self.connection.reset()
        self.scope = f"{self.room}{self.connection.generation}"
        self.binding.start_over(self.replica)

    def receive(self, frame: Frame, report: StatusReport, client_state: ClientState | None) -> bool:
        """Apply a frame of the tab; return whether the script must run."""
        needs_run = self.tab.receive(frame, report, client_state) or self.writer.has_news
        return needs_run or self.tab.save_status.request_run()

    # -- runs ----------------------------------------------------------------------------------------------------

    def begin_run(self, run: ScriptRun) -> list[str]:
        """Push local edits, merge remote updates, write remote values into session state, in this order.

        Returns:
            The keys that were written.
        """
        client_state, is_full = run.client_state, not run.context.fragments
        if is_full:  # what the script reads in a full run counts for fragments as well
            self.tab.begin_run(client_state)
            if self.writer.has_reads:
                self.writer.begin_run()
            self._is_rerun_due = False
        self._is_rerun_for_news = self._is_rerun_for_news and not run.has_changes
        state = st.session_state.to_dict()
        if self.is_away:
            self.is_away = False
            self._enter_with(state, run)
        is_new = client_state is None or client_state is not self._pushed_client_state
        if errors := self._push(run, state, at_top=is_new):
            self._log_errors(errors)
        self.connection.drain()
        if not self.writer.has_joined and self.connection.is_synced:
            self.writer.join()
        self.binding.begin_run()
        # Without the whole room, nothing is shown either: the tab may have sent a part of it.
        writes = self.binding.plan(state) if self.connection.is_synced else []
        written = self._write_remote_values(writes, state) if writes else []
        self._written_by_fragments = []
        if not is_full:
            self._written_by_fragments = written
        return written

    def begin_fragments(self, run: ScriptRun, client_state: ClientState) -> set[str]:
        """Push the client state before fragments run, and replace its echoes by the values in flight.

        No new remote value is written: the widgets outside of these fragments would not get it.

        Returns:
            The keys of the echoes.
        """
        state = st.session_state.to_dict()
        self.binding.note_callbacks(state)
        self._log_errors(self._push(run, state, at_top=True))
        # A fragment's own `crdt_sync` must not push it again: session state changes below.
        self._pushed_client_state = client_state
        if client_state.is_timers:
            self.replica.pause_history()  # what the fragments assign is no person's edit
        with self.binding.locked() as keys:
            echoes = remote_writes.replace_echoes(keys, state)
        for key, value in echoes.items():
            st.session_state[key] = value
        return set(echoes)

    def push_now(self, run: ScriptRun, *, has_registered: bool = True) -> list[ValueNotShareableError]:
        """Push what the run assigned so far; return the values that cannot be shared.

        Args:
            has_registered: False in a callback, which runs before any widget registers.
        """
        state = st.session_state.to_dict()
        if has_registered:
            self.binding.check_registered(state)
        return self._push(run, state)

    def push_before_leaving(self, run: ScriptRun) -> None:
        """Push the client state that contains the click by which the session leaves the room."""
        self._log_errors(self._push(run, st.session_state.to_dict(), at_top=True))

    def end_run(self, run: ScriptRun, state: Mapping[str, Any], *, complete: bool) -> None:
        """End a run that entered the room.

        Args:
            complete: whether it was a full run that no newer run stopped.
        """
        binding, keys = self.binding, self.binding.keys
        binding.check_registered(state)
        if errors := self._push(run, state):
            self._log_errors(errors)
        with binding.lock:
            if not all(keys[key].is_registered_now for key in self._written_by_fragments):
                self.request_full_run()  # a fragment wrote remote values that the rest of the script has not read
            binding.end_run(is_complete=complete, is_by_person=run.session.is_by_person(run))
            if complete and run.context.is_app_test and keys.pending_delivery is not None:
                in_flight.close_all(keys)  # AppTest shows what the run rendered; nothing is in flight
            self._displaced = remote_writes.displaced_values(keys, state) if keys.is_read_only else {}
        self._is_rerun_due = self.clicks.end_run(complete=complete) or self._is_rerun_due
        self.tab.save_status.end_run()

    def end_fragment(self, run: ScriptRun, state: Mapping[str, Any]) -> None:
        """Push what a rerun of fragments changed."""
        self.binding.check_registered(state)
        self._log_errors(self._push(run, state))
        if self.participant.is_viewer and run.context.fragments != (self.tab.channel_fragment,):
            self._revert_viewer_edits(state)

    def has_echo(self, key: str | None, state: Mapping[str, Any]) -> bool:
        """Return whether `state` has the echo of a value in flight under `key` (P1)."""
        with self.binding.locked() as keys:
            return key is not None and key in state and keys[key].is_echo(state[key])

    def request_full_run(self) -> None:
        """Request a full run after the present run."""
        self._is_rerun_due = True

    def take_due_run(self) -> bool:
        """Return whether a full run is due, which the caller requests."""
        with self.binding.lock:
            has_merged = self.binding.keys.has_merged
        has_news = has_merged or (self.writer.has_reads and self.writer.has_news)
        if not (self._is_rerun_due or (has_news and not self._is_rerun_for_news)):
            return False
        self._is_rerun_due = False
        self._is_rerun_for_news = (
            has_news  # once: a script that does not read the news would run without end (P4)
        )
        return True

    def request_frame(self, run: ScriptRun) -> None:
        """Request a run of the channel's fragment after the present run if the tab needs a frame."""
        if self.tab.channel_fragment and (self.connection.is_tab_behind or self.tab.is_frame_due):
            run.context.request_rerun(self.tab.channel_fragment)

    def _revert_viewer_edits(self, state: Mapping[str, Any]) -> None:
        """Request a full run, which alone restores widgets, if a viewer moved a widget in a fragment's run.

        A difference from before the run does not count, and neither does a plain value: a script that assigns one in
        each run would have a full run for each rerun of a fragment.
        """
        if self._has_moved_widget(state):
            self._is_rerun_due = True
            self.view_only_notice.request()

    def _has_moved_widget(self, state: Mapping[str, Any], assigned: Container[str] = ()) -> bool:
        """Return whether a viewer, and not code, moved a widget since the last call."""
        with self.binding.locked() as keys:
            before, self._displaced = self._displaced, remote_writes.displaced_values(keys, state)
        return any(
            key not in assigned and (key not in before or not equal(before[key], shown))
            for key, shown in self._displaced.items()
        )

    def _write_remote_values(self, writes: list[StateWrite], state: Mapping[str, Any]) -> list[str]:
        """Make the planned writes; return the keys with a new remote value."""
        written = []
        for write in writes:
            try:
                if write.is_deletion:
                    del st.session_state[write.key]
                else:
                    st.session_state[write.key] = write.value
            except StreamlitAPIException as error:
                with self.binding.locked() as keys:
                    remote_writes.mark_unwritable(keys, write, error)
                continue
            self.binding.mark_written(write, state)
            if not write.is_revert:
                written.append(write.key)
        return written

    def _enter_with(self, state: Mapping[str, Any], run: ScriptRun) -> None:
        """Enter the room with a session state that contains no edit for it."""
        self.binding.start_over(self.replica)
        self.writer.start_over()
        with self.binding.locked() as keys:
            widget_registration.exclude_unknown(keys, _compat.widget_keys(run.context))
            local_edits.ignore_existing(keys, state)

    def _push(
        self, run: ScriptRun, state: Mapping[str, Any], *, at_top: bool = False
    ) -> list[ValueNotShareableError]:
        if run.is_in_callbacks:
            self.binding.note_callbacks(state)
        assigned = _compat.assigned_keys(run.context, state)
        if at_top and self.connection.is_read_only and self._has_moved_widget(state, assigned):
            self.view_only_notice.request()
        return self.binding.push(
            state,
            run.client_state,
            is_synced=self.connection.is_synced,
            is_by_person=run.session.is_by_person(run),
            is_at_top=at_top or run.is_in_callbacks,
            has_trigger=run.has_trigger,
            assigned=assigned,
            widget_keys=_compat.widget_keys(
                run.context
            ),  # those whose registration the library missed are excluded
        )

    def _log_errors(self, errors: list[ValueNotShareableError]) -> None:
        """Log each error once: the value is still there in every later run."""
        for error in errors:
            if (text := str(error)) not in self._logged_errors:
                self._logged_errors.add(text)
                _log.warning("%s", text)


class PendingClicks:
    """Clicks of one session's `room.button` widgets in one room that no script has read yet. Thread-safe.

    Streamlit's own button is true in the run that its click causes. If a newer run replaces that one before it reaches
    the button, no script reads the click.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: Counter[str] = Counter()
        self._rendered: set[str] = set()

    def clicked(self, key: str) -> None:
        with self._lock:
            self._pending[key] += 1

    def take(self, key: str) -> bool:
        """Return whether a click is pending, and consume it."""
        with self._lock:
            self._rendered.add(key)
            if not self._pending[key]:
                return False
            self._pending[key] -= 1
            return True

    def end_run(self, *, complete: bool) -> bool:
        """End a run; return whether another click is pending. A complete run drops clicks of missing buttons."""
        with self._lock:
            if complete:
                self._pending = Counter({key: self._pending[key] for key in self._rendered})
                self._rendered = set()
            return any(self._pending.values())


class ViewOnlyNotice:
    """Toast for a viewer whose change is reverted (rule A1).

    The app's author may not show the badge. Without a message, a widget that returns to its former value looks broken.

    Attributes:
        is_due: whether a viewer moved a widget and has not seen the toast for it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._shown_at = -math.inf
        self.is_due = False

    def request(self) -> None:
        """Record that a viewer moved a widget, in this run or in a fragment's run before it."""
        self.is_due = True

    def show(self) -> None:
        """Show the toast once for all reverted changes, unless the last one is still visible."""
        is_due, self.is_due = self.is_due, False
        now = self._clock()
        if is_due and now - self._shown_at >= SHOWN_S:
            self._shown_at = now
            st.toast(NOTICE, icon=ICON)
