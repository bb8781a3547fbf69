"""Memberships of a Streamlit session: in a room, and outside of any room.

Includes the `room.button` widget.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import streamlit as st

from streamlit_crdt import _compat
from streamlit_crdt.access.participant import Participant, Role
from streamlit_crdt.access.room_context import KeyFilter
from streamlit_crdt.document.events import Event, EventLog
from streamlit_crdt.document.json_state import State
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.document.snapshots import restore
from streamlit_crdt.document.stored_snapshots import StoredSnapshot
from streamlit_crdt.errors import RoomNotLoadedError, ViewOnlyError
from streamlit_crdt.merge import DEFAULT_POLICY, Rule
from streamlit_crdt.room.room import Room
from streamlit_crdt.room.snapshot_menu import show_snapshot_menu
from streamlit_crdt.session import component
from streamlit_crdt.transport.frame import Status

if TYPE_CHECKING:
    from streamlit_crdt.session.room_session import PendingClicks, RoomSession
    from streamlit_crdt.session.script_run import ScriptRun
    from streamlit_crdt.session.session import Session

_log = logging.getLogger("streamlit_crdt")

Returned = TypeVar("Returned")


class SessionMembership:
    """Membership of a session in a room, valid for one script run."""

    def __init__(self, run: ScriptRun, room_session: RoomSession) -> None:
        self._session = run.session
        self._room_session = room_session
        self._run = run

    @property
    def replica(self) -> Replica:
        return self._room_session.replica

    @property
    def status(self) -> Status:
        status = self._room_session.tab.status_read = self._room_session.status
        return status

    @property
    def role(self) -> Role:
        return self._room_session.participant.role

    @property
    def user_name(self) -> str:
        return self._room_session.participant.user.name

    @property
    def saved(self) -> bool:
        self._push()
        return self._room_session.saved

    @property
    def unsaved_count(self) -> int:
        self._push()
        return self._room_session.unsaved_count

    def flush(self, timeout_s: float) -> bool:
        self._push()
        return self._room_session.flush(timeout_s)

    def show_badge(self) -> None:
        component.mount_badge(self._room_session)

    def write(self, key: str, value: Any) -> None:
        if self._refuses(key):
            return
        self._push_before_callback()
        self._room_session.writer.assign(key, value, is_by_person=self._is_by_person())
        self._session.request_frame(self._run, self._room_session)

    def remove(self, key: str) -> None:
        if self._refuses(key):
            return
        self._push_before_callback()
        self._room_session.writer.remove(key)
        self._session.request_frame(self._run, self._room_session)

    def rule(self, key: str, value: Any) -> Rule | None:
        return self._room_session.writer.rule(key, value)

    def change(self, key: str, rule: Rule | None, empty: Any, change: Callable[[Any], Any]) -> None:
        if self._refuses(key):
            change(self.replica.get(key, empty))  # for its result and its errors
            return
        self._push_before_callback()
        self._room_session.writer.change(key, rule, empty, change, is_by_person=self._is_by_person())
        self._session.request_frame(self._run, self._room_session)

    def operate(self, key: str, rule: Rule, empty: Any, operation: Callable[[Any], Returned]) -> Returned:
        if self._refuses(key):
            return self.replica.rehearse(key, rule, empty, operation)
        self._push_before_callback()
        is_by_person = self._is_by_person()
        returned = self._room_session.writer.operate(key, rule, empty, operation, is_by_person=is_by_person)
        self._session.request_frame(self._run, self._room_session)
        return returned

    def undo_or_redo(self, action: Literal["undo", "redo"]) -> None:
        if self._refuses(action):
            return
        self._push()
        if self._room_session.writer.travel(action):
            self._room_session.request_full_run()
            self._session.request_frame(self._run, self._room_session)

    def broadcast(self, name: str, payload: Any) -> None:
        self._room_session.writer.broadcast(name, payload)
        self._session.request_frame(self._run, self._room_session)

    def events(self, name: str) -> Iterator[Event]:
        return self._room_session.writer.take_events(name)

    def button(self, label: str, key: str, options: Mapping[str, Any]) -> bool:
        return _show_button(self._room_session.clicks, label, key, options)

    def push_edits(self) -> None:
        self._push()
        if not self._room_session.synced:
            raise RoomNotLoadedError(self._room_session.room)

    def require_editable(self, subject: str) -> None:
        self._room_session.writer.check_role(subject)
        self.push_edits()

    def observe_snapshots(self) -> None:
        self._room_session.writer.mark_snapshots_read()

    def store_snapshot(self, name: str, snapshot: StoredSnapshot | None) -> None:
        self._room_session.writer.set_snapshot(name, snapshot)
        self._session.request_frame(self._run, self._room_session)

    def restore(self, subject: str, state: State) -> None:
        if self._refuses(subject):
            return
        if self._room_session.writer.restore(subject, state):
            self._room_session.request_full_run()
            self._session.request_frame(self._run, self._room_session)

    def show_snapshot_menu(self, room: Room, label: str, key: str, options: Mapping[str, Any]) -> None:
        show_snapshot_menu(room, label, key, options)

    def leave(self, error: BaseException | None) -> None:
        """Push the assignments of the block. Raise the first rejected value, unless `error` ends the block."""
        rejected = self._session.leave(self._session.run_of(self._run.context.latest()), self._room_session)
        if rejected and error is None:
            raise rejected[0]
        for rejection in rejected:
            _log.warning("%s", rejection)

    def _refuses(self, subject: str) -> bool:
        """Return whether an operation has no effect, because the script makes it in a run that no person caused (R9).

        Raises:
            ViewOnlyError: the role is viewer (A1).
        """
        writer = self._room_session.writer
        writer.check_role(subject)
        context = _compat.current_run()
        is_refused = context is not None and self._session.refuses_code(context)
        if is_refused:
            writer.refuse(subject)
        return is_refused

    def _is_by_person(self) -> bool:
        """Return whether an operation is by a person: in a callback, after a click, or in a thread (R9)."""
        context = _compat.current_run()
        if context is None or not context.is_in_script:
            return True
        run = self._session.run_of(context)
        return run.is_in_callbacks or run.is_over or run.has_trigger

    def _push(self) -> None:
        """Push what the script has assigned.

        A callback belongs to a newer run than the one that created this object; there, push the client state of the
        newer run.
        """
        context = _compat.current_run() or self._run.context.latest()
        self._session.push(self._session.run_of(context), self._room_session)

    def _push_before_callback(self) -> None:
        """In a callback, push the values that the browser sent with the click, which are older than the callback's."""
        context = _compat.current_run()
        if context is not None and (run := self._session.run_of(context)).is_in_callbacks:
            self._session.push(run, self._room_session)


class DetachedMembership:
    """Membership outside of any room: values stay in this script."""

    role: Role = "editor"
    user_name = ""

    def __init__(self, session: Session | None = None) -> None:
        self.replica = Replica()
        self._session = session
        self._events = EventLog()
        self._events.join(self.replica)
        self.status: Status = "offline"
        self.saved = False
        self.unsaved_count = 0

    def begin_run(self, participant: Participant) -> None:
        """Adopt the participant of this run's script, and begin an undo step for the edits of the run."""
        self.role, self.user_name = participant.role, participant.user.name
        self.replica.begin_group()

    def flush(self, timeout_s: float) -> bool:
        return False

    def show_badge(self) -> None:
        """Do nothing: a badge reports on a shared room."""

    def write(self, key: str, value: Any) -> None:
        self.replica.set(key, value)

    def remove(self, key: str) -> None:
        self.replica.delete(key)

    def rule(self, key: str, value: Any) -> Rule | None:
        return DEFAULT_POLICY.rule(key, value, None, self.replica.rule_name(key))

    def change(self, key: str, rule: Rule | None, empty: Any, change: Callable[[Any], Any]) -> None:
        self.replica.change(key, rule, empty, change)

    def operate(self, key: str, rule: Rule, empty: Any, operation: Callable[[Any], Returned]) -> Returned:
        return self.replica.operate(key, rule, empty, operation)

    def undo_or_redo(self, action: Literal["undo", "redo"]) -> None:
        if action == "undo":
            self.replica.undo()
        else:
            self.replica.redo()

    def broadcast(self, name: str, payload: Any) -> None:
        self._events.broadcast(self.replica, name, payload)

    def events(self, name: str) -> Iterator[Event]:
        return self._events.take(self.replica, name)

    def button(self, label: str, key: str, options: Mapping[str, Any]) -> bool:
        return bool(st.button(label, key=key, **options))

    def push_edits(self) -> None:
        """Do nothing: `write` edits the replica directly."""

    def require_editable(self, subject: str) -> None:
        if self.role == "viewer":
            raise ViewOnlyError("None", subject)

    def observe_snapshots(self) -> None:
        """Do nothing: no other participant can change the snapshots."""

    def store_snapshot(self, name: str, snapshot: StoredSnapshot | None) -> None:
        self.replica.set_snapshot(name, snapshot)

    def restore(self, subject: str, state: State) -> None:
        self.replica.begin_group()
        restore(self.replica, state, KeyFilter().shares)

    def show_snapshot_menu(self, room: Room, label: str, key: str, options: Mapping[str, Any]) -> None:
        show_snapshot_menu(room, label, key, options)

    def leave(self, error: BaseException | None) -> None:
        """End the block. Nothing is pushed."""
        context = _compat.current_run()
        if self._session is not None and context is not None:
            self._session.run_of(context).close_block(None)


def _show_button(clicks: PendingClicks, label: str, key: str, options: Mapping[str, Any]) -> bool:
    """Show a button. Return True if a click of it is pending for this run."""
    options = dict(options)
    on_click = options.pop("on_click", None)
    args, kwargs = options.pop("args", None) or (), options.pop("kwargs", None) or {}

    def record() -> None:
        clicks.clicked(key)
        if callable(on_click):
            on_click(*args, **kwargs)

    st.button(label, key=key, on_click=record, **options)
    return clicks.take(key)
