"""`room.snapshots`: the room's values at certain moments, by name, for everybody in the room and kept with it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

from streamlit_crdt.codec.values import MAX_VALUE_BYTES
from streamlit_crdt.document.json_state import dump, read_state, state_of
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.document.snapshots import Snapshot, list_snapshots
from streamlit_crdt.document.stored_snapshots import MAX_TEXT_BYTES, StoredSnapshot
from streamlit_crdt.errors import (
    SnapshotLimitError,
    SnapshotMissingError,
    SnapshotNameError,
    ValueUnreadableError,
)
from streamlit_crdt.room.membership import Membership

MAX_NAME_CHARS: Final = 100
"""Of a snapshot's name, which is to be shown in one line."""

MAX_SNAPSHOTS: Final = 100
"""So many a room keeps: they are part of its document, which every tab has."""

MAX_ALL_BYTES: Final = 16 * 1024 * 1024
"""So many bytes all snapshots of a room have together, as stored; a document of 64 MiB takes no edits any more."""


class Snapshots(Collection[Snapshot]):
    """The snapshots of a room, the newest first.

    A name stands for the snapshot wherever one is asked for: `"v1" in room.snapshots`.
    """

    def __init__(self, membership: Membership) -> None:
        self._membership = membership

    def save(self, name: str) -> Snapshot:
        """Keep the room's values as they are now under `name`, in the place of what was kept under it before.

        What the script has assigned so far is in it, and private keys are not. If the very same values are kept under
        this name already, nothing happens.

        Raises:
            SnapshotNameError: the name is blank, of more than one line, or longer than 100 characters.
            SnapshotLimitError: the values are too many, or the room has 100 snapshots already.
            RoomNotLoadedError: the room's content is not here yet.
            ViewOnlyError: the session may only look (rule A1).
        """
        check_name(name)
        membership = self._membership
        membership.check_edits(name)
        replica = membership.replica
        state = dump(state_of(replica.stored()))
        if not _holds(replica, name, state):
            now = datetime.now(UTC).isoformat(timespec="microseconds")
            kept = packed(name, now, membership.user_name, state)
            check_limits(replica, {name: kept})
            membership.keep(name, kept)
        return list_snapshots(replica)[name]

    def restore(self, name: str | Snapshot) -> None:
        """Have the room hold the values that were kept under `name`, and no others.

        It is one edit, which merges with what others do at this moment and which `room.undo` takes back. As a callback
        it takes effect in the same run; in the body of the script another run follows.

        Raises:
            SnapshotMissingError: there is none of that name.
            ValueUnreadableError: it holds a value that cannot be read here. Nothing was changed.
            RoomNotLoadedError, ViewOnlyError: as `save` does.
        """
        membership = self._membership
        membership.check_edits(str(name))
        found = _find(list_snapshots(membership.replica), name)
        kept = membership.replica.snapshot(found.name)
        if kept is None:  # somebody has deleted it in this very moment
            raise SnapshotMissingError(name)
        try:
            state = read_state(kept.text())
        except ValueError as error:
            raise ValueUnreadableError(f"the snapshot {found.name!r} is damaged ({error})") from error
        membership.restore(found.name, state)

    def delete(self, name: str | Snapshot) -> None:
        """Take a snapshot out of the room, for everybody and for good.

        Raises:
            SnapshotMissingError: there is none of that name.
            RoomNotLoadedError, ViewOnlyError: as `save` does.
        """
        self._membership.check_edits(str(name))
        found = _find(list_snapshots(self._membership.replica), name)
        self._membership.keep(found.name, None)

    def __getitem__(self, name: str | Snapshot) -> Snapshot:
        """Return the snapshot of that name; raises SnapshotMissingError, which is a KeyError."""
        return _find(self._look(), name)

    def __iter__(self) -> Iterator[Snapshot]:
        return iter(list(self._look().values()))

    def __len__(self) -> int:
        return len(self._look())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str | Snapshot) and str(name) in self._look()

    def __repr__(self) -> str:
        return f"Snapshots({', '.join(map(repr, list_snapshots(self._membership.replica)))})"

    def _look(self) -> dict[str, Snapshot]:
        """Return what the script is told of: when there is something else to tell, it is run again."""
        self._membership.look_at_snapshots()
        return list_snapshots(self._membership.replica)


def check_name(name: object) -> None:
    """Raise SnapshotNameError unless `name` can be a snapshot's."""
    is_text = isinstance(name, str) and 0 < len(name) <= MAX_NAME_CHARS and not name.isspace()
    if not is_text or any(character < " " or "\ud800" <= character <= "\udfff" for character in str(name)):
        raise SnapshotNameError(name, MAX_NAME_CHARS)


def check_limits(replica: Replica, new: Mapping[str, StoredSnapshot]) -> None:
    """Raise SnapshotLimitError unless the room can keep these as well, in the place of those of the same names."""
    others = {name: entry for name, entry in replica.snapshots().items() if name not in new}
    size = sum(entry.size for entry in others.values())
    for number, (name, kept) in enumerate(new.items(), len(others) + 1):
        size += len(kept.packed)
        if len(kept.packed) > MAX_VALUE_BYTES:
            raise SnapshotLimitError(name, f"the values are more than {MAX_VALUE_BYTES} bytes, compressed")
        if number > MAX_SNAPSHOTS:
            raise SnapshotLimitError(name, f"a room keeps {MAX_SNAPSHOTS} snapshots")
        if size > MAX_ALL_BYTES:
            raise SnapshotLimitError(name, f"all snapshots together would be more than {MAX_ALL_BYTES} bytes")


def packed(name: str, when: str, who: str, state: str) -> StoredSnapshot:
    """Return a snapshot of a state that `dump` has written; raises SnapshotLimitError if it could not be unpacked."""
    if len(state.encode()) > MAX_TEXT_BYTES:
        raise SnapshotLimitError(name, f"the values are more than {MAX_TEXT_BYTES} bytes")
    return StoredSnapshot.of(when, who, state)


def _holds(replica: Replica, name: str, state: str) -> bool:
    """Say whether this very state is kept under `name`; a damaged one is another one."""
    former = replica.snapshot(name)
    try:
        return former is not None and name in list_snapshots(replica) and former.text() == state
    except ValueError:
        return False


def _find(snapshots: Mapping[str, Snapshot], name: object) -> Snapshot:
    found = snapshots.get(str(name)) if isinstance(name, str | Snapshot) else None
    if found is None:
        raise SnapshotMissingError(name if isinstance(name, str) else str(name))
    return found
