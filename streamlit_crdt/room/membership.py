"""What a room needs to know of whoever is in it: a session, a program, or a script that is in no room."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, Protocol

from streamlit_crdt.access.participant import Role
from streamlit_crdt.document.events import Event
from streamlit_crdt.document.json_state import State
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.document.stored_snapshots import StoredSnapshot
from streamlit_crdt.merge import Rule
from streamlit_crdt.transport.frame import Status


class Membership(Protocol):
    """What `Room` is made of; `membership` and `jobs.member` have the classes."""

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

    def change(self, key: str, rule: Rule, empty: Any, change: Callable[[Any], Any]) -> None: ...

    def travel(self, way: Literal["undo", "redo"]) -> None: ...

    def broadcast(self, name: str, payload: Any) -> None: ...

    def events(self, name: str) -> Iterator[Event]: ...

    def button(self, label: str, key: str, options: Mapping[str, Any]) -> bool: ...

    @property
    def user_name(self) -> str:
        """Who this is to the others."""
        ...

    def settle(self) -> None:
        """Have the replica hold what the script has assigned so far.

        Raises:
            RoomNotLoadedError: the room's content is not here yet.
        """
        ...

    def check_edits(self, subject: str) -> None:
        """As `settle`; raises ViewOnlyError first, which names `subject`, if nothing may be changed."""
        ...

    def look_at_snapshots(self) -> None:
        """Note that the script is told of all snapshots."""
        ...

    def keep(self, name: str, kept: StoredSnapshot | None) -> None:
        """Put a snapshot into the room, or take it out."""
        ...

    def restore(self, subject: str, state: State) -> None:
        """Make `state` all that the room holds, as one edit that is undone by itself."""
        ...

    def show_snapshot_menu(self, room: Any, label: str, key: str, options: Mapping[str, Any]) -> None:
        """Show the menu of `room`, which is the `Room` of this membership."""
        ...

    def leave(self, error: BaseException | None) -> None: ...
