"""Undo and redo of local edits, group by group, independent of remote edits between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pycrdt import UndoManager

if TYPE_CHECKING:
    from streamlit_crdt.document.root_types import RootTypes
    from streamlit_crdt.merge.rule import Shared


MAX_GROUPS: Final = 100
"""Limit of undo groups. Beyond it the oldest group cannot be undone any more."""

MAX_EDITS: Final = 2_000
"""Limit of edits in one group. Of a larger group only the last edits can be undone."""

_COLLECT_AFTER: Final = 500
"""Limit of edits that stay in pycrdt's undo manager. Its stack is read as a whole, so a longer one takes more time."""

Group = list[Any]
"""The items of pycrdt's undo stack of one group, the oldest first."""


class UndoHistory:
    """Groups of edits, each undone and redone as a whole. Not thread-safe.

    Only transactions without an origin are tracked; these are local edits. While the history is paused, transactions
    have an origin. A value that a script computes from an undone or a remote value is not an edit of a person. If it
    were tracked, it would be undone first, and it would clear the redo groups.

    pycrdt's undo manager makes one stack item for each transaction, because it groups by time only. The items are taken
    from its stack. When a group is undone, it is given to a manager of its own: one step of pycrdt's manager skips
    items whose content others have deleted, and would continue in the previous group.
    """

    def __init__(self, roots: RootTypes) -> None:
        self._scopes: list[Shared] = [roots.state]
        self._scope_ids: set[int] = {id(roots.state)}
        self._recorder = _manager(self._scopes)
        self._uncollected = 0
        self._undoable: list[Group] = []
        self._redoable: list[Group] = []
        self._is_new_group = True
        self.is_paused = False

    def track(self, shared: Shared) -> None:
        """Track the edits of a root type too."""
        if id(shared) not in self._scope_ids:
            self._scope_ids.add(id(shared))
            self._scopes.append(shared)
            self._recorder.expand_scope(shared)

    def count_edit(self) -> None:
        """Count a transaction of local edits."""
        self._uncollected += 1
        if self._uncollected > _COLLECT_AFTER:
            self._collect()

    def begin_group(self) -> None:
        """Start a new group and resume the history. Later edits are undone separately."""
        self._collect()
        self._is_new_group = True
        self.is_paused = False

    @property
    def is_between_groups(self) -> bool:
        return self._is_new_group and not self._uncollected

    @property
    def can_undo(self) -> bool:
        self._collect()
        return bool(self._undoable)

    @property
    def can_redo(self) -> bool:
        self._collect()
        return bool(self._redoable)

    def undo(self) -> bool:
        """Undo the last group. Return whether there was one."""
        self._collect()
        if not self._undoable:
            return False
        manager = _manager(self._scopes, undo_stack=self._undoable.pop())
        while manager.can_undo():
            manager.undo()  # at least one item
        self._push(manager.redo_stack, self._redoable)
        return True

    def redo(self) -> bool:
        """Redo the group that was undone last. Return whether there was one."""
        self._collect()
        if not self._redoable:
            return False
        manager = _manager(self._scopes, redo_stack=self._redoable.pop())
        while manager.can_redo():
            manager.redo()  # at least one item
        self._push(manager.undo_stack, self._undoable)
        return True

    def _push(self, items: Group, groups: list[Group]) -> None:
        if items:
            groups.append(items)
        self._is_new_group = True
        self.is_paused = True

    def _collect(self) -> None:
        """Move the new items of the recorder into the current group, or into a new one."""
        if not self._uncollected:
            return
        self._uncollected = 0
        items = self._recorder.undo_stack
        if not items:
            return
        self._recorder = _manager(self._scopes)
        if self._is_new_group or not self._undoable:
            self._undoable.append([])
        self._is_new_group = False
        self._undoable[-1] = [*self._undoable[-1], *items][-MAX_EDITS:]
        self._undoable = self._undoable[-MAX_GROUPS:]
        self._redoable.clear()


def _manager(
    scopes: list[Shared], *, undo_stack: Group | None = None, redo_stack: Group | None = None
) -> UndoManager:
    return UndoManager(
        scopes=list(scopes), capture_timeout_millis=0, undo_stack=undo_stack, redo_stack=redo_stack
    )
