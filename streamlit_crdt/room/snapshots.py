"""`room.snapshots`: named copies of a room's values, stored in the room."""

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
"""Characters of a snapshot's name. The menu shows a name in one line."""

MAX_SNAPSHOTS: Final = 100
"""Snapshots of a room. They are part of its document, which every tab loads."""

MAX_ALL_BYTES: Final = 16 * 1024 * 1024
"""Compressed bytes of all snapshots of a room. A document of 64 MiB accepts no more edits."""


class Snapshots(Collection[Snapshot]):
    """The snapshots of a room, the newest first.

    All methods accept a snapshot's name in place of the snapshot: `"v1" in room.snapshots`. A script that reads the
    snapshots is rerun when they change.
    """

    def __init__(self, membership: Membership) -> None:
        self._membership = membership

    def save(self, name: str) -> Snapshot:
        """Store a copy of the room's present values under `name`. An earlier snapshot of that name is replaced.

        The copy includes the values that the script has assigned so far, and excludes private keys. If the snapshot of
        that name has equal values, nothing is written.

        Returns:
            The snapshot.

        Raises:
            SnapshotNameError: the name is blank, has a line break, or is longer than 100 characters.
            SnapshotLimitError: the values are too large, or the room has 100 snapshots.
            RoomNotLoadedError: the room is not synced yet.
            ViewOnlyError: the role is "viewer" (rule A1).
        """
        validate_name(name)
        membership = self._membership
        membership.require_editable(name)
        replica = membership.replica
        state = dump(state_of(replica.stored()))
        if not _has_equal_snapshot(replica, name, state):
            now = datetime.now(UTC).isoformat(timespec="microseconds")
            snapshot = compress(name, now, membership.user_name, state)
            check_limits(replica, {name: snapshot})
            membership.store_snapshot(name, snapshot)
        return list_snapshots(replica)[name]

    def restore(self, name: str | Snapshot) -> None:
        """Replace the room's values by those of the snapshot `name`.

        This is one edit: it merges with concurrent edits, and `room.undo` undoes it. As a callback it takes effect in
        the same run. In the body of the script it causes a rerun.

        Raises:
            SnapshotMissingError: the room has no snapshot of that name.
            ValueUnreadableError: a value of the snapshot cannot be decoded here. The room is unchanged.
            RoomNotLoadedError: the room is not synced yet.
            ViewOnlyError: the role is "viewer" (rule A1).
        """
        membership = self._membership
        membership.require_editable(str(name))
        found = _find(list_snapshots(membership.replica), name)
        stored = membership.replica.snapshot(found.name)
        if stored is None:  # deleted by another participant since the line above
            raise SnapshotMissingError(name)
        try:
            state = read_state(stored.text())
        except ValueError as error:
            raise ValueUnreadableError(f"the snapshot {found.name!r} is damaged ({error})") from error
        membership.restore(found.name, state)

    def delete(self, name: str | Snapshot) -> None:
        """Delete a snapshot for all participants. `room.undo` does not restore it.

        Raises:
            SnapshotMissingError: the room has no snapshot of that name.
            RoomNotLoadedError: the room is not synced yet.
            ViewOnlyError: the role is "viewer" (rule A1).
        """
        self._membership.require_editable(str(name))
        found = _find(list_snapshots(self._membership.replica), name)
        self._membership.store_snapshot(found.name, None)

    def __getitem__(self, name: str | Snapshot) -> Snapshot:
        """Return the snapshot of that name.

        Raises:
            SnapshotMissingError: the room has no snapshot of that name. It is a KeyError.
        """
        return _find(self._observed(), name)

    def __iter__(self) -> Iterator[Snapshot]:
        return iter(list(self._observed().values()))

    def __len__(self) -> int:
        return len(self._observed())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str | Snapshot) and str(name) in self._observed()

    def __repr__(self) -> str:
        return f"Snapshots({', '.join(map(repr, list_snapshots(self._membership.replica)))})"

    def _observed(self) -> dict[str, Snapshot]:
        """Return the snapshots by name. From now on, a change of them reruns the script."""
        self._membership.observe_snapshots()
        return list_snapshots(self._membership.replica)


def validate_name(name: object) -> None:
    """Raise SnapshotNameError unless `name` is a valid snapshot name."""
    if not is_valid_name(name):
        raise SnapshotNameError(name, MAX_NAME_CHARS)


def is_valid_name(name: object) -> bool:
    """Return whether `name` is a valid snapshot name. Another program may have stored any name."""
    is_text = isinstance(name, str) and 0 < len(name) <= MAX_NAME_CHARS and not name.isspace()
    return is_text and not any(
        character < " " or "\ud800" <= character <= "\udfff" for character in str(name)
    )


def check_limits(replica: Replica, new: Mapping[str, StoredSnapshot]) -> None:
    """Check that the room can store the snapshots `new`, which replace those of the same names.

    Raises:
        SnapshotLimitError: a snapshot, their number or their total size exceeds its limit.
    """
    others = {name: entry for name, entry in replica.snapshots().items() if name not in new}
    size = sum(entry.size for entry in others.values())
    for number, (name, snapshot) in enumerate(new.items(), len(others) + 1):
        size += len(snapshot.packed)
        if len(snapshot.packed) > MAX_VALUE_BYTES:
            raise SnapshotLimitError(name, f"its values exceed {MAX_VALUE_BYTES} bytes after compression")
        if number > MAX_SNAPSHOTS:
            raise SnapshotLimitError(name, f"the room has {MAX_SNAPSHOTS} snapshots, which is the limit")
        if size > MAX_ALL_BYTES:
            raise SnapshotLimitError(name, f"all snapshots together would exceed {MAX_ALL_BYTES} bytes")


def compress(name: str, when: str, who: str, state: str) -> StoredSnapshot:
    """Return a stored snapshot of a state that `dump` encoded.

    Raises:
        SnapshotLimitError: the state is larger than a reader accepts after decompression.
    """
    if len(state.encode()) > MAX_TEXT_BYTES:
        raise SnapshotLimitError(name, f"its values exceed {MAX_TEXT_BYTES} bytes")
    return StoredSnapshot.of(when, who, state)


def _has_equal_snapshot(replica: Replica, name: str, state: str) -> bool:
    """Return True if the snapshot `name` has this state. A damaged snapshot is never equal."""
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
