"""Interface between a room's public API and the participant: a session, a client, or a script outside of any room."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, Protocol, TypeVar

from streamlit_crdt.access.participant import Role
from streamlit_crdt.document.events import Event
from streamlit_crdt.document.json_state import State
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.document.stored_snapshots import StoredSnapshot
from streamlit_crdt.merge import Rule
from streamlit_crdt.transport.frame import Status

Returned = TypeVar("Returned")


class Membership(Protocol):
    """Membership of one participant in one room.

    Implemented by `SessionMembership`, `DetachedMembership` and `ClientMembership`.
    """

    @property
    def replica(self) -> Replica: ...

    @property
    def status(self) -> Status: ...

    @property
    def role(self) -> Role: ...

    @property
    def saved(self) -> bool: ...

    @property
    def unsaved_count(self) -> int: ...

    def flush(self, timeout_s: float) -> bool: ...

    def show_badge(self) -> None: ...

    def write(self, key: str, value: Any) -> None: ...

    def remove(self, key: str) -> None: ...

    def rule(self, key: str, value: Any) -> Rule | None: ...

    def change(self, key: str, rule: Rule | None, empty: Any, change: Callable[[Any], Any]) -> None: ...

    def operate(self, key: str, rule: Rule, empty: Any, operation: Callable[[Any], Returned]) -> Returned: ...

    def undo_or_redo(self, action: Literal["undo", "redo"]) -> None: ...

    def broadcast(self, name: str, payload: Any) -> None: ...

    def events(self, name: str) -> Iterator[Event]: ...

    def button(self, label: str, key: str, options: Mapping[str, Any]) -> bool: ...

    @property
    def user_name(self) -> str:
        """The name that other participants see."""
        ...

    def push_edits(self) -> None:
        """Write the values that the script has assigned so far into the replica.

        Raises:
            RoomNotLoadedError: the replica is not synced yet.
        """
        ...

    def require_editable(self, subject: str) -> None:
        """Check that the room can be edited now, then push as `push_edits` does.

        Args:
            subject: named in the ViewOnlyError.

        Raises:
            ViewOnlyError: the role is viewer (rule A1). Checked first.
            RoomNotLoadedError: the replica is not synced yet.
        """
        ...

    def observe_snapshots(self) -> None:
        """Record that the script has read the snapshots. A later change of them causes a rerun."""
        ...

    def store_snapshot(self, name: str, snapshot: StoredSnapshot | None) -> None:
        """Store a snapshot in the room. None deletes it."""
        ...

    def restore(self, subject: str, state: State) -> None:
        """Replace all values of the room by `state`, as one edit with its own undo step."""
        ...

    def show_snapshot_menu(self, room: Any, label: str, key: str, options: Mapping[str, Any]) -> None:
        """Show the menu of `room`, which is the `Room` of this membership."""
        ...

    def leave(self, error: BaseException | None) -> None: ...
