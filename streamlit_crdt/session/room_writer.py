"""What a script writes into a room by its own calls, past widgets and `st.session_state`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol

from streamlit_crdt.access.participant import Participant
from streamlit_crdt.access.room_context import KeyFilter
from streamlit_crdt.binding import StateBinding
from streamlit_crdt.document.events import EventLog
from streamlit_crdt.document.json_state import State
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.document.snapshots import SnapshotObserver, restore
from streamlit_crdt.document.stored_snapshots import StoredSnapshot
from streamlit_crdt.errors import ValueNotShareableError, ViewOnlyError
from streamlit_crdt.merge import Rule


class Scope(Protocol):
    """What may be written: by whom, where, and by which rule."""

    room: str
    key_filter: KeyFilter
    binding: StateBinding

    @property
    def participant(self) -> Participant: ...

    @property
    def replica(self) -> Replica: ...

    def rule_of(self, key: str, value: Any, widget_kind: str | None) -> Rule | None: ...


class RoomWriter:
    """Writes for one session in one room.

    Every method raises `ViewOnlyError` if the session may only look (rule A1).

    Attributes:
        events: what the session has heard.
        snapshots: of which the script was told.
    """

    def __init__(self, scope: Scope) -> None:
        self.events = EventLog()
        self.snapshots = SnapshotObserver()
        self._scope = scope

    @property
    def has_news(self) -> bool:
        """Whether there is an event or a snapshot that the script would be told of."""
        replica = self._scope.replica
        return self.events.has_news(replica) or self.snapshots.has_news(replica)

    def begin_run(self) -> None:
        """Forget what the former run has asked for."""
        self.events.begin_run()
        self.snapshots.begin_run()

    def assign(self, key: str, value: Any) -> None:
        """Set one shared value; this session's script sees it from its next run on.

        Raises:
            ValueNotShareableError: the value has no shared form, or the key is private (rule P8).
        """
        self._check(key, type(value).__name__)
        scope = self._scope
        widget = scope.binding.widgets.get(key)
        scope.replica.edit(
            key, None, value, scope.rule_of(key, value, None if widget is None else widget.kind)
        )

    def remove(self, key: str) -> None:
        self.check_role(key)
        self._scope.replica.delete(key)

    def change(self, key: str, rule: Rule, empty: Any, change: Callable[[Any], Any]) -> None:
        """Edit one shared value as it is now, by a merge rule; raises as `assign` does."""
        self._check(key, rule.name)
        self._scope.replica.change(key, rule, empty, change)

    def travel(self, way: Literal["undo", "redo"]) -> bool:
        """Take back this session's last group of edits, or bring back what was; say whether that changed anything."""
        self.check_role(way)
        replica = self._scope.replica
        return bool(replica.undo() if way == "undo" else replica.redo())

    def broadcast(self, name: str, payload: Any) -> None:
        self.check_role(name)
        self.events.broadcast(self._scope.replica, name, payload)

    def keep(self, name: str, kept: StoredSnapshot | None) -> None:
        """Put a snapshot into the room, or take it out."""
        self.check_role(name)
        self._scope.replica.keep(name, kept)

    def restore(self, subject: str, state: State) -> bool:
        """Make `state` all that the room holds, in a group of its own; say whether that changed anything."""
        self.check_role(subject)
        scope = self._scope
        scope.replica.begin_group()
        return bool(restore(scope.replica, state, scope.key_filter.shares))

    def _check(self, key: str, type_name: str) -> None:
        self.check_role(key)
        if not self._scope.key_filter.shares(key):
            raise ValueNotShareableError(type_name, "its key is private", key=key)

    def check_role(self, key: str) -> None:
        """Raise ViewOnlyError, which names `key`, if the session may only look."""
        if self._scope.participant.is_viewer:
            raise ViewOnlyError(self._scope.room, key)
