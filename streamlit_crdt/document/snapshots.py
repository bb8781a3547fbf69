"""Which snapshots a room has, and whether a script was told of all of them.

Turning a room into a state that was kept: an edit like any other, which merges and can be undone.

Only what differs is written, and through the rule under which it lies, so that it meets what others do at this moment
as an edit of a person would: of a text the differing part, of a counter the difference.
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
    """Make `state` all that the room holds; return the keys whose value that changed.

    Args:
        shares: says of a key whether it is this session's to touch (P8); what is not stays as it is.

    Raises:
        ValueUnreadableError, ValueNotShareableError: a value of `state` can be no room's; nothing was changed.
    """
    shared = {key: entry for key, entry in state.items() if shares(key)}
    stored = replica.stored()
    wanted = {key: value_of(key, entry) for key, entry in shared.items() if not _holds(stored, key, entry)}
    with replica.transaction():
        gone = [key for key in replica if key not in shared and shares(key)]
        return frozenset(
            [key for key, value in wanted.items() if replica.turn_into(key, value)]
            + [key for key in gone if replica.delete(key)]
        )


def _holds(stored: Mapping[str, Any], key: str, entry: Json) -> bool:
    """Say whether the room has this very value; one that cannot be read here is another one."""
    try:
        return key in stored and dump({"": entry_of(key, stored[key])}) == dump({"": entry})
    except ValueUnreadableError:
        return False


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """A snapshot of a room. It also equals its own name.

    Attributes:
        name: under which it was saved.
        when: when it was saved, in UTC, by the clock of whoever did.
        who: the name of whoever did.
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
    found = [_snapshot(name, entry) for name, entry in replica.snapshots().items()]
    ordered = sorted(
        (one for one in found if one is not None), key=lambda one: (one.when, one.name), reverse=True
    )
    return {one.name: one for one in ordered}


def _snapshot(name: str, entry: SnapshotInfo) -> Snapshot | None:
    """Describe an entry; None if it says no moment, as only another program could have written it."""
    try:
        when = datetime.fromisoformat(entry.when)
        return Snapshot(name, when.astimezone(UTC), entry.who) if when.tzinfo else None
    except (ValueError, OverflowError):
        return None


class SnapshotObserver:
    """What one session's script was told of the snapshots, and whether there is something else to tell by now."""

    def __init__(self) -> None:
        self._shown: Mapping[str, SnapshotInfo] | None = None

    def begin_run(self) -> None:
        """Forget what the former run was told: a script that does not ask any more is not run for it."""
        self._shown = None

    def look(self, replica: Replica) -> None:
        """Note that the script is told of all that there are."""
        self._shown = replica.snapshots()

    def has_news(self, replica: Replica) -> bool:
        return self._shown is not None and self._shown != replica.snapshots()
