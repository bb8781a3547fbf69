"""What a script writes into a room by its own calls, past widgets and `st.session_state`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from streamlit_crdt.binding import StateBinding
from streamlit_crdt.document.events import EventLog
from streamlit_crdt.document.json_state import State
from streamlit_crdt.document.snapshots import SnapshotObserver, restore
from streamlit_crdt.document.stored_snapshots import StoredSnapshot
from streamlit_crdt.errors import ValueNotShareableError, ViewOnlyError
from streamlit_crdt.merge import Rule


class RoomWriter:
    """Writes for one session in one room.

    Every method raises `ViewOnlyError` if the session may only look (rule A1).

    Attributes:
        events: what the session has heard.
        snapshots: of which the script was told.
    """

    def __init__(self, binding: StateBinding) -> None:
        self.events = EventLog()
        self.snapshots = SnapshotObserver()
        self._binding = binding

    @property
    def has_news(self) -> bool:
        """Whether there is an event or a snapshot that the script would be told of."""
        replica = self._binding.replica
        return self.events.has_unread(replica) or self.snapshots.has_changed(replica)

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
        binding = self._binding
        widget = binding.widgets.get(key)
        binding.replica.edit(
            key, None, value, binding.context.rule(key, value, None if widget is None else widget.kind)
        )

    def remove(self, key: str) -> None:
        self.check_role(key)
        self._binding.replica.delete(key)

    def change(self, key: str, rule: Rule, empty: Any, change: Callable[[Any], Any]) -> None:
        """Edit one shared value as it is now, by a merge rule; raises as `assign` does."""
        self._check(key, rule.name)
        self._binding.replica.change(key, rule, empty, change)

    def travel(self, way: Literal["undo", "redo"]) -> bool:
        """Take back this session's last group of edits, or bring back what was; say whether that changed anything."""
        self.check_role(way)
        replica = self._binding.replica
        return bool(replica.undo() if way == "undo" else replica.redo())

    def broadcast(self, name: str, payload: Any) -> None:
        self.check_role(name)
        self.events.broadcast(self._binding.replica, name, payload)

    def keep(self, name: str, kept: StoredSnapshot | None) -> None:
        """Put a snapshot into the room, or take it out."""
        self.check_role(name)
        self._binding.replica.set_snapshot(name, kept)

    def restore(self, subject: str, state: State) -> bool:
        """Make `state` all that the room holds, in a group of its own; say whether that changed anything."""
        self.check_role(subject)
        binding = self._binding
        binding.replica.begin_group()
        return bool(restore(binding.replica, state, binding.context.key_filter.shares))

    def _check(self, key: str, type_name: str) -> None:
        self.check_role(key)
        if not self._binding.context.key_filter.shares(key):
            raise ValueNotShareableError(type_name, "its key is private", key=key)

    def check_role(self, key: str) -> None:
        """Raise ViewOnlyError, which names `key`, if the session may only look."""
        if self._binding.context.is_read_only:
            raise ViewOnlyError(self._binding.context.room, key)
