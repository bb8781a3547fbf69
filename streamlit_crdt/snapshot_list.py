"""Which snapshots a room has, and whether a script was told of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from streamlit_crdt.kept import Entry
from streamlit_crdt.replica import Replica


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


def _snapshot(name: str, entry: Entry) -> Snapshot | None:
    """Describe an entry; None if it says no moment, as only another program could have written it."""
    try:
        when = datetime.fromisoformat(entry.when)
        return Snapshot(name, when.astimezone(UTC), entry.who) if when.tzinfo else None
    except (ValueError, OverflowError):
        return None


class ShownSnapshots:
    """What one session's script was told of the snapshots, and whether there is something else to tell by now."""

    def __init__(self) -> None:
        self._shown: Mapping[str, Entry] | None = None

    def begin_run(self) -> None:
        """Forget what the former run was told: a script that does not ask any more is not run for it."""
        self._shown = None

    def look(self, replica: Replica) -> None:
        """Note that the script is told of all that there are."""
        self._shown = replica.snapshots()

    def has_news(self, replica: Replica) -> bool:
        return self._shown is not None and self._shown != replica.snapshots()
