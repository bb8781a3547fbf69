"""Writes and reads of a script past widgets and session state: assignments, undo, events, snapshots."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeVar

from streamlit_crdt.binding.binding import StateBinding
from streamlit_crdt.binding.local_edits import replaces_all
from streamlit_crdt.document.events import Event, EventLog
from streamlit_crdt.document.json_state import State
from streamlit_crdt.document.snapshots import SnapshotObserver, restore
from streamlit_crdt.document.stored_snapshots import StoredSnapshot
from streamlit_crdt.errors import ValueNotShareableError, ViewOnlyError
from streamlit_crdt.merge import Rule

_log = logging.getLogger("streamlit_crdt")

Returned = TypeVar("Returned")


class RoomWriter:
    """Writes of one session in one room. Every write raises `ViewOnlyError` in a viewer's session (rule A1).

    Attributes:
        has_joined: whether the events that were in the room before the session count as read.
        has_reads: whether the script has read events or snapshots in this run, so that new ones cause a run.
    """

    def __init__(self, binding: StateBinding) -> None:
        self.has_joined = False
        self.has_reads = False
        self._binding = binding
        self._events = EventLog()
        self._snapshots = SnapshotObserver()
        self._refused: set[str] = set()

    # -- events and snapshots ------------------------------------------------------------------------------------

    def join(self) -> None:
        """Mark all events in the room as read, except this session's own."""
        self.has_joined = True
        self._events.join(self._binding.replica)

    def start_over(self) -> None:
        """Forget the read events: the session has left the room, or the room was deleted."""
        self.has_joined = False
        self._events.start_over()

    def begin_run(self) -> None:
        """Forget the reads of the former run."""
        self.has_reads = False
        self._events.begin_run()
        self._snapshots.begin_run()

    @property
    def has_news(self) -> bool:
        """True if there is a new event or snapshot of those that the script has read in this run."""
        replica = self._binding.replica
        return self.has_reads and (self._events.has_unread(replica) or self._snapshots.has_changed(replica))

    def unread_event_names(self) -> list[str]:
        """Return the sorted names of the unread events that the script requested in this run."""
        return self._events.unread_names(self._binding.replica)

    def take_events(self, name: str) -> Iterator[Event]:
        """Yield the unread events of a name. An event counts as read when it is yielded."""
        self.has_reads = True
        return self._events.take(self._binding.replica, name)

    def mark_snapshots_read(self) -> None:
        """Record that the script reads the list of snapshots."""
        self.has_reads = True
        self._snapshots.mark_seen(self._binding.replica)

    # -- writes --------------------------------------------------------------------------------------------------

    def assign(self, key: str, value: Any, *, is_by_person: bool) -> None:
        """Set one shared value. This session's script reads it from its next run on.

        Args:
            is_by_person: a person made the value, and not code that every session runs (R9).

        Raises:
            ValueNotShareableError: the value has no shared form, or the key is private (rule P8).
        """
        self._check(key, type(value).__name__)
        rule, replica = self.rule(key, value), self._binding.replica
        if rule is not None and rule.name != "counter":
            is_new = type(value) is str or replaces_all(replica.get(key), value)
            is_by_person = is_by_person and not is_new
        replica.edit(key, None, value, rule, is_by_person=is_by_person)

    def rule(self, key: str, value: Any) -> Rule | None:
        """Return the rule by which the app merges `value` under `key`. None if the last writer wins."""
        binding = self._binding
        widget = binding.widgets.get(key)
        kind = None if widget is None else widget.kind
        return binding.context.rule(key, value, kind, binding.replica.rule_name(key))

    def remove(self, key: str) -> None:
        self.check_role(key)
        self._binding.replica.delete(key)

    def change(
        self,
        key: str,
        rule: Rule | None,
        empty: Any,
        change: Callable[[Any], Any],
        *,
        is_by_person: bool,
    ) -> None:
        """Edit the present value of a key by a merge rule.

        Args:
            empty: the value of a key that the room does not have.
            change: returns the new value.
            is_by_person: a person makes the change, and not code that every session runs (R9).

        Raises:
            ValueNotShareableError: the value has no shared form, or the key is private (rule P8).
        """
        self._check(key, "value" if rule is None else rule.name)
        is_by_person = is_by_person or (rule is not None and rule.name == "counter")
        self._binding.replica.change(key, rule, empty, change, is_by_person=is_by_person)

    def operate(
        self,
        key: str,
        rule: Rule,
        empty: Any,
        operation: Callable[[Any], Returned],
        *,
        is_by_person: bool,
    ) -> Returned:
        """Make one operation on the value of a key. Return its result. Arguments and errors are those of `change`."""
        self._check(key, rule.name)
        is_by_person = is_by_person or rule.name == "counter"
        return self._binding.replica.operate(key, rule, empty, operation, is_by_person=is_by_person)

    def travel(self, action: Literal["undo", "redo"]) -> bool:
        """Undo this session's last group of edits, or redo the last undone one; return whether that changed a value."""
        self.check_role(action)
        replica = self._binding.replica
        return bool(replica.undo() if action == "undo" else replica.redo())

    def broadcast(self, name: str, payload: Any) -> None:
        self.check_role(name)
        self._events.broadcast(self._binding.replica, name, payload)

    def set_snapshot(self, name: str, snapshot: StoredSnapshot | None) -> None:
        """Store a snapshot in the room; None deletes it."""
        self.check_role(name)
        self._binding.replica.set_snapshot(name, snapshot)

    def restore(self, subject: str, state: State) -> bool:
        """Replace the room's content by `state`, in a group of its own; return whether that changed a value.

        Args:
            subject: name for the error of a viewer's session.
        """
        self.check_role(subject)
        binding = self._binding
        binding.replica.begin_group()
        return bool(restore(binding.replica, state, binding.context.key_filter.shares))

    def refuse(self, subject: str) -> None:
        """Log, once for each subject, that an operation of a run that no person caused has no effect (R9).

        Args:
            subject: a key, or the name of an action.
        """
        if subject not in self._refused:
            self._refused.add(subject)
            _log.warning(
                "streamlit-crdt: room %r: the script changed %r in a run that a remote edit or a timer caused. Every "
                "session would do the same, so nothing was changed. Change it in a callback, or after a click.",
                self._binding.context.room,
                subject,
            )

    def _check(self, key: str, type_name: str) -> None:
        self.check_role(key)
        if not self._binding.context.key_filter.shares(key):
            raise ValueNotShareableError(type_name, "its key is private", key=key)

    def check_role(self, key: str) -> None:
        """Raise `ViewOnlyError`, which names `key`, in a viewer's session."""
        if self._binding.context.is_read_only:
            raise ViewOnlyError(self._binding.context.room, key)
