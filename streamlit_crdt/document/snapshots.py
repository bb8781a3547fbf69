"""Snapshots of a room for scripts: list, restore and change detection.

Restoring a snapshot is an ordinary edit. It merges with concurrent edits and can be undone. Only keys that differ are
written, by the rule that stores them: a text by its difference, a counter by the difference of its value. Two people
who restore the same snapshot of the same values make one edit (R9).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from streamlit_crdt.document.json_state import Json, State, dump, entry_of, value_of
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.document.stored_snapshots import SnapshotInfo
from streamlit_crdt.errors import ValueUnreadableError


def restore(replica: Replica, state: State, shares: Callable[[str], bool]) -> frozenset[str]:
    """Set the values of the room to `state`, and delete all other keys. Return the keys whose value changed.

    Args:
        shares: returns whether this session shares a key (P8). Other keys are not changed.

    Raises:
        ValueUnreadableError, ValueNotShareableError: `state` has an invalid value. Nothing was changed.
    """
    shared = {key: entry for key, entry in state.items() if shares(key)}
    stored = replica.stored()
    changes = {
        key: value_of(key, entry) for key, entry in shared.items() if not _is_stored(stored, key, entry)
    }
    with replica.transaction():
        removed = [key for key in replica if key not in shared and shares(key)]
        return frozenset(
            [key for key, value in changes.items() if replica.set_by_rule(key, value, is_by_person=False)]
            + [key for key in removed if replica.delete(key)]
        )


def _is_stored(stored: Mapping[str, Any], key: str, entry: Json) -> bool:
    """Return whether the room has the same value. An unreadable value is different."""
    try:
        return key in stored and dump({"": entry_of(key, stored[key])}) == dump({"": entry})
    except ValueUnreadableError:
        return False


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """A snapshot of a room. It is equal to its own name.

    Attributes:
        name: the name of the snapshot.
        when: the time of saving in UTC, by the clock of the author's process.
        who: the name of the author.
    """

    name: str
    when: datetime
    who: str

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Snapshot):
            return (self.name, self.when, self.who) == (other.name, other.when, other.who)
        return self.name == other if isinstance(other, str) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.name)

    def __str__(self) -> str:
        return self.name


def list_snapshots(replica: Replica) -> dict[str, Snapshot]:
    """Return the snapshots of a room by name, the newest first."""
    snapshots = (_snapshot(name, info) for name, info in replica.snapshots().items())
    valid = [snapshot for snapshot in snapshots if snapshot is not None]
    valid.sort(key=lambda snapshot: (snapshot.when, snapshot.name), reverse=True)
    return {snapshot.name: snapshot for snapshot in valid}


def _snapshot(name: str, info: SnapshotInfo) -> Snapshot | None:
    """Return a snapshot, or None if another program has written an invalid time."""
    try:
        when = datetime.fromisoformat(info.when)
        return Snapshot(name, when.astimezone(UTC), info.who) if when.tzinfo else None
    except (ValueError, OverflowError):
        return None


class SnapshotObserver:
    """The list of snapshots that one session's script has read, and detection of later changes."""

    def __init__(self) -> None:
        self._seen: Mapping[str, SnapshotInfo] | None = None

    def begin_run(self) -> None:
        """Forget the list of the previous run. A script that does not read the list is not rerun for it."""
        self._seen = None

    def mark_seen(self, replica: Replica) -> None:
        """Record that the script reads the current list."""
        self._seen = replica.snapshots()

    def has_changed(self, replica: Replica) -> bool:
        return self._seen is not None and self._seen != replica.snapshots()
