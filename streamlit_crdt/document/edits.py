"""Local edits by value, so that they can be repeated in another document.

A room that nobody is in may be rewritten: its content moves to a new document. Edits that it has not saved are
operations on the former document, and cannot be applied to the new one. They are repeated there, by the value before,
the value after and the merge rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from streamlit_crdt.codec.equality import equal
from streamlit_crdt.merge import Rule

JOIN_OVER_EDITS = 256
"""Number of unsaved edits above which successive edits of one key are joined. An edit whose first part is in the room
cannot be told from one that is not."""


@dataclass(frozen=True, slots=True)
class LocalEdit:
    """One local edit.

    Attributes:
        kind: "edit" by a merge rule, "operation" by steps of an editor, "set" of a whole value, "delete", or the
            addition of an "event" or a "snapshot".
        key: The key, the id of the event, or the name of the snapshot.
        before: The value that the author saw. For "operation" an empty value.
        after: The new value, or the steps of an "operation". For "set" and "event" in its encoded form.
        rule: The merge rule of an "edit".
        replica_id: The replica id of the edit.
        clock: Number of the operations of this replica id, after the edit.
        is_by_person: See `merge.Edit`.
    """

    kind: Literal["edit", "operation", "set", "delete", "event", "snapshot"]
    key: str
    before: Any = None
    after: Any = None
    rule: Rule | None = None
    replica_id: int = 0
    clock: int = 0
    is_by_person: bool = True

    def joined(self, later: LocalEdit) -> LocalEdit | None:
        """Return one edit with the effect of both, None if there is none."""
        if self.key != later.key or self.kind == "event" or later.kind == "operation":
            return None
        if later.kind in ("set", "delete", "snapshot"):
            return later if (self.kind == "snapshot") == (later.kind == "snapshot") else None
        is_same_kind = (self.kind, self.rule, self.is_by_person) == ("edit", later.rule, later.is_by_person)
        if not is_same_kind or not equal(self.after, later.before):
            return None
        return replace(later, before=self.before)


@dataclass(slots=True, eq=False)
class UnsavedEdit:
    """The edits of one update of the replica.

    Attributes:
        version: number of the update.
        edits: its edits. Empty if a later update has them.
    """

    version: int
    edits: tuple[LocalEdit, ...]


def join_edits(unsaved: Sequence[UnsavedEdit]) -> None:
    """Keep one edit of a key instead of many, so that a long time offline needs little memory."""
    last: dict[str, UnsavedEdit] = {}
    for each in unsaved:
        if len(each.edits) == 1:
            key = each.edits[0].key
            earlier = last.get(key)
            joined = None if earlier is None else earlier.edits[0].joined(each.edits[0])
            if earlier is not None and joined is not None:
                earlier.edits, each.edits = (), (joined,)
            last[key] = each
        else:
            for edit in each.edits:
                last.pop(edit.key, None)


def without_saved(edits: Iterable[LocalEdit], clocks: Mapping[int, int]) -> list[LocalEdit]:
    """Return the edits that are not in a document in which the replica ids have these clocks."""
    return [edit for edit in edits if edit.clock > clocks.get(edit.replica_id, 0)]


def keys_of(edits: Sequence[LocalEdit]) -> frozenset[str]:
    """Return the keys that the edits changed."""
    return frozenset(edit.key for edit in edits if edit.kind in ("edit", "operation", "set", "delete"))
