"""One session in one room: its way there, its tab, and the runs in which its state and the room come together.

PendingClicks of `room.button` that no script has seen yet.

Streamlit's own button is true in the run that its click causes. If a newer run takes that one's place before it has
come to the button, nobody ever sees the click.

What a viewer is told whose widget goes back (rule A1).

A toast, because a widget belongs to the app's author, who may not show the badge either: what a viewer has just moved
and does not find moved would look like a fault.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Container, Mapping
from dataclasses import replace
from typing import Any, Final

import streamlit as st
from streamlit.errors import StreamlitAPIException

from streamlit_crdt import _compat
from streamlit_crdt.access.participant import Participant, draw_guest
from streamlit_crdt.access.room_context import KeyFilter, RoomContext
from streamlit_crdt.backend.backend import RoomBackend
from streamlit_crdt.binding import StateBinding, in_flight, local_edits, remote_writes, widget_registration
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


class PendingClicks:
    """Counts the clicks of one session's buttons in one room, by key. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: Counter[str] = Counter()
        self._drawn: set[str] = set()

    def clicked(self, key: str) -> None:
        with self._lock:
            self._waiting[key] += 1

    def take(self, key: str) -> bool:
        """Say whether a click waits, and let this run be the one that sees it."""
        with self._lock:
            self._drawn.add(key)
            if not self._waiting[key]:
                return False
            self._waiting[key] -= 1
            return True

    def end_run(self, *, complete: bool) -> bool:
        """Close a run; say whether another click waits. What waits for a button that is gone is dropped."""
        with self._lock:
            if complete:
                self._waiting = Counter({key: self._waiting[key] for key in self._drawn})
                self._drawn = set()
            return any(self._waiting.values())


NOTICE: Final = "**View only.** What you change here goes back."
ICON: Final = ":material/visibility:"
SHOWN_S: Final = 4.0
"""So long a toast stays, and another one beside it would say the same."""


class ViewOnlyNotice:
    """Notes that something goes back which a person has moved, until the person is told."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told_at = -math.inf
        self._is_due = False

    def owe(self) -> None:
        """Note that a widget was moved, in this run or in a fragment's run before it."""
        self._is_due = True

    def tell(self) -> None:
        """Say so on the page, once for all that goes back, and not while it is still said."""
        is_due, self._is_due = self._is_due, False
        now = self._clock()
        if is_due and now - self._told_at >= SHOWN_S:
            self._told_at = now
            st.toast(NOTICE, icon=ICON)


_log = logging.getLogger("streamlit_crdt")


class RoomSession:
    """A session's membership in a room. Made by the first `crdt_sync` of the session for that room.

    Attributes:
        is_away: whether the session is elsewhere, and has yet to come (back): what it holds then is no edit here.
    """

    def __init__(self, room: str, place: RoomBackend) -> None:
        self.room = room
        self.backend = place
        context = RoomContext(room, Participant("editor", draw_guest()))
        self.connection = RoomConnection(qualified(room, place.namespace), place, context.participant)
        self.binding = StateBinding(self.replica, context)
        self.writer = RoomWriter(self.binding)
        self.clicks = PendingClicks()
        self.view_only_notice = ViewOnlyNotice()
        self.tab = TabConnection(place, self.connection, self.binding)
        self._rerun_owed = False
        self._taken: ClientState | None = None
        self._is_asking = False
        self.is_away = False
        self._private_later: tuple[str, ...] = ()
        self._reported: set[str] = set()
        self._displaced: dict[str, Any] = {}
        self._written_in_part: list[str] = []

    def select(self, selection: KeyFilter, rules: MergePolicy, part: Participant, *, again: bool) -> None:
        """Choose what is shared. What only a later call of a run names as private stays so at the top of the next."""
        context = self.binding.context
        if again:
            self._private_later = tuple({*self._private_later, *selection.private})
            part = context.participant.combine(part)
            selection = context.key_filter.combine(selection)
            rules = context.merge_policy.joined(rules)
        else:
            selection = selection.combine(KeyFilter(selection.keys, self._private_later))
        self.connection.participant = part
        self.binding.context = replace(context, participant=part, key_filter=selection, merge_policy=rules)

    @property
    def participant(self) -> Participant:
        return self.binding.context.participant

    @property
    def key_filter(self) -> KeyFilter:
        return self.binding.context.key_filter

    def set_company(self, has_company: bool) -> None:
        """Set whether the session is in several rooms."""
        self.binding.context = replace(self.binding.context, merges_plain_values=not has_company)

    # -- the connections to the room and the tab -------------------------------------------------------------------

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
        """Whether every edit of this session is saved; the script runs again when that has changed."""
        return self.tab.save_status.read_is_saved()

    @property
    def unsaved_count(self) -> int:
        """How many edits of this session are not saved; likewise."""
        return self.tab.save_status.read_count()

    def flush(self, timeout_s: float) -> bool:
        """Wait until what this session wrote is saved; say whether it is."""
        with self.binding.locked() as keys:
            is_held_back = bool(keys.held_back())
        return not is_held_back and self.connection.unsaved.wait(timeout_s)

    def attach(self) -> None:
        self.connection.attach()

    @property
    def is_behind(self) -> bool:
        """Whether the session has left the room, but not all of its edits are there."""
        return not self.connection.is_local and self.connection.unsaved_count > 0

    def detach(self) -> None:
        self.connection.close()

    def step_out(self) -> set[str]:
        """Leave the room, because the session is in another one now, or in none.

        Returns the keys under which the session's state has something of this room.
        """
        with self.binding.locked() as keys:
            bound_keys = keys.bound_keys()
        self.connection.close(for_good=True)
        self.is_away = True
        if self.connection.is_deleted or (self.backend.is_tab_only and not self.connection.unsaved_count):
            self.begin_anew()
        return bound_keys

    def begin_anew(self) -> None:
        """Forget what the room was: it is another one now, or will be brought whole when the session comes back."""
        self.connection.reset()
        self.binding.start_over(self.replica)

    @property
    def scope(self) -> str:
        """What tells the room's widgets from those of another room, for the page."""
        return f"{self.room}{self.connection.generation}"

    def holds(self) -> bool:
        return self.tab.should_hold()

    def frame(self) -> bytes:
        return self.tab.frame()

    def receive(self, frame: Frame, report: StatusReport, message: ClientState | None) -> bool:
        """Apply a frame of the tab. Return whether the script must run."""
        needs_run = self.tab.receive(frame, report, message) or self.writer.has_news
        return needs_run or self.tab.save_status.request_run()

    # -- a run ---------------------------------------------------------------------------------------------------

    def begin_run(self, message: ClientState | None, *, remote: bool, whole: bool = True) -> list[str]:
        """Local first, then merge, then write remote values. Returns the keys that were written.

        Args:
            whole: whether the whole script runs, not fragments that call `crdt_sync` themselves.
        """
        if whole:  # what it asked for counts for fragments as well
            self.tab.begin_run(message)
            self.writer.begin_run()
            self._rerun_owed = False  # this is it
        self._is_asking = self._is_asking and not (message is not None and message.has_changes)
        state = st.session_state.to_dict()
        if self.is_away:
            self.is_away = False
            self._start_over(state)
        is_new = message is None or message is not self._taken
        self._report(self._push(state, message, remote=remote, at_top=is_new))
        self.connection.drain()
        if self.synced:
            self.writer.events.join(self.replica)
        self.binding.begin_run()
        written = self._write_remote(state)
        with self.binding.locked() as keys:
            self._written_in_part = [] if whole else [key for key in written if not keys.get(key).is_volatile]
        return written

    def begin_fragments(self, message: ClientState) -> set[str]:
        """Before fragments run: push what the browser sent, and write again what its values would have undone here.

        Nothing new is written: the widgets outside of these fragments would not be told of it. Returns the keys.
        """
        state = st.session_state.to_dict()
        self._report(self._push(state, message, at_top=True))
        self._taken = (
            message  # a fragment's own `crdt_sync` does not look at it again: the state is another one then
        )
        if message.is_timers:
            self.replica.pause_history()  # what the fragments assign now, nobody did
        with self.binding.locked() as keys:
            echoes = remote_writes.replace_echoes(keys, state)
        for key, value in echoes.items():
            st.session_state[key] = value
        return set(echoes)

    def push_now(
        self, message: ClientState | None, *, remote: bool, has_drawn: bool = True
    ) -> list[ValueNotShareableError]:
        """Push what the block assigned, or, in a callback, which comes before a run draws, what came with it."""
        state = st.session_state.to_dict()
        if has_drawn:
            self.binding.check_registered(state)
        return self._push(state, message, remote=remote)

    def end_run(
        self, state: Mapping[str, Any], message: ClientState | None, *, complete: bool, remote: bool
    ) -> None:
        """Close a full run, however it ended."""
        self.binding.check_registered(state)
        self._report(self._push(state, message, remote=remote))
        with self.binding.locked() as keys:
            if not all(keys.get(key).is_registered_now for key in self._written_in_part):
                self.owe_rerun()  # of what was taken over in a fragment, the rest of the script has seen nothing
            self.binding.end_run(is_complete=complete, is_remote=remote)
            if complete and _compat.is_app_test():
                in_flight.close_all(keys)  # AppTest's page is what the run has drawn: nothing is on its way
            self._displaced = remote_writes.displaced_values(keys, state) if keys.context.is_read_only else {}
        self._rerun_owed = self.clicks.end_run(complete=complete) or self._rerun_owed
        self.tab.save_status.end_run()

    def end_fragment(self, ctx: Any, state: Mapping[str, Any], message: ClientState | None) -> None:
        """Push what a rerun of one of the app's own fragments changed."""
        self.binding.check_registered(state)
        self._report(self._push(state, message, remote=message is not None and message.is_timers))
        if self.participant.is_viewer and _compat.fragments_of_run(ctx) != (self.tab.channel_fragment,):
            self._owe_putting_back(state)

    def owe_rerun(self) -> None:
        """Ask for a full run once the present one is over."""
        self._rerun_owed = True

    def takes_owed_run(self) -> bool:
        """Say whether a full run is owed, which the caller asks for."""
        with self.binding.locked() as keys:
            has_merged = keys.has_merged
        to_show = has_merged or self.writer.has_news
        if not (self._rerun_owed or (to_show and not self._is_asking)):
            return False
        self._rerun_owed = False
        self._is_asking = to_show  # once: a script that does not take it in would run for ever (P4)
        return True

    def request_frame(self, ctx: Any) -> None:
        """Ask for a run of the channel's fragment if the tab needs a frame, once the present run is over."""
        if self.tab.channel_fragment and (self.connection.is_tab_behind or self.tab.is_frame_due):
            _compat.request_rerun(ctx, self.tab.channel_fragment)

    def _owe_putting_back(self, state: Mapping[str, Any]) -> None:
        """Ask for a full run, which alone puts widgets back, if a viewer's fragment run moved one.

        Not for what was so before it, nor for plain values: a script that assigns one on each run would be run whole
        for each rerun of a fragment.
        """
        if self._was_moved(state):
            self._rerun_owed = True
            self.view_only_notice.owe()

    def _was_moved(self, state: Mapping[str, Any], assigned: Container[str] = ()) -> bool:
        """Say whether a viewer's widget has been moved, and not by code, since this was last asked."""
        with self.binding.locked() as keys:
            before, self._displaced = self._displaced, remote_writes.displaced_values(keys, state)
        return any(
            key not in assigned and (key not in before or not equal(before[key], shown))
            for key, shown in self._displaced.items()
        )

    def _write_remote(self, state: Mapping[str, Any]) -> list[str]:
        written = []
        for write in self.binding.plan(state):
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

    def push_last(self, message: ClientState | None) -> None:
        """Push what the browser brought along with the click that leaves the room."""
        self._report(self._push(st.session_state.to_dict(), message, at_top=True))

    def _start_over(self, state: Mapping[str, Any]) -> None:
        self.binding.start_over(self.replica)
        self.writer.events.start_over()
        self._exclude_unknown()
        with self.binding.locked() as keys:
            local_edits.ignore_existing(keys, state)

    def _push(
        self,
        state: Mapping[str, Any],
        message: ClientState | None,
        *,
        remote: bool = False,
        at_top: bool = False,
    ) -> list[ValueNotShareableError]:
        ctx = _compat.script_context()
        assigned = {key for key in state if ctx.session_state.is_new_state_value(key)}
        if at_top and self.participant.is_viewer and self._was_moved(state, assigned):
            self.view_only_notice.owe()
        self._exclude_unknown()
        return self.binding.push(
            state,
            message,
            is_synced=self.synced,
            is_remote=remote,
            is_at_top=at_top,
            assigned=assigned,
        )

    def _exclude_unknown(self) -> None:
        """Leave out what is a widget all the same, if one that its making did not tell us of."""
        widget_keys = _compat.widget_keys(_compat.script_context())
        with self.binding.locked() as keys:
            widget_registration.exclude_unknown(keys, widget_keys)

    def _report(self, errors: list[ValueNotShareableError]) -> None:
        """Log each refusal once: the value is there at every run."""
        for error in errors:
            if (text := str(error)) not in self._reported:
                self._reported.add(text)
                _log.warning("%s", text)
