"""What this replica can undo: its own edits, group by group, whatever others have done in between."""

from __future__ import annotations

from typing import Any, Final

from pycrdt import UndoManager

from streamlit_crdt.document.root_types import RootTypes
from streamlit_crdt.merge.rule import Shared

MAX_GROUPS: Final = 100
"""So many groups are kept."""

MAX_EDITS: Final = 2_000
"""So many edits are kept of a group; of one that is larger the last ones can be undone."""

_COLLECT_AFTER: Final = 500
"""So many edits wait in pycrdt's manager, whose stack is read as a whole."""

Group = list[Any]
"""The stack items of pycrdt's of one group, the oldest first."""


class UndoHistory:
    """Groups of edits, each undone and redone as a whole. Not thread-safe.

    Only transactions without an origin are tracked, which are this replica's own. While it is paused they have one:
    what a script computes anew from an undone value, or from another's, is nobody's edit, and would stand in the way
    of the next undo and of redo.

    Each transaction is an item of its own on the stack of pycrdt's manager, which groups by the clock only. So the
    items are taken from it, and each group is given to a manager of its own when it is undone: one step of pycrdt's
    passes over items of which others have left nothing, and would go on into the group before.
    """

    def __init__(self, roots: RootTypes) -> None:
        self._watched: list[Shared] = [roots.state]
        self._names: set[int] = {id(roots.state)}
        self._recorder = _manager(self._watched)
        self._uncollected = 0
        self._undoable: list[Group] = []
        self._redoable: list[Group] = []
        self._is_new_group = True
        self.is_paused = False

    def watch(self, shared: Shared) -> None:
        """Track edits of a root type as well."""
        if id(shared) not in self._names:
            self._names.add(id(shared))
            self._watched.append(shared)
            self._recorder.expand_scope(shared)

    def note_edit(self) -> None:
        """Count a transaction of this replica's own."""
        self._uncollected += 1
        if self._uncollected > _COLLECT_AFTER:
            self._collect()

    def begin_group(self) -> None:
        """Have what is edited from now on be undone by itself."""
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
        """Take back the last group; return whether there was one."""
        self._collect()
        if not self._undoable:
            return False
        manager = _manager(self._watched, undo_stack=self._undoable.pop())
        while manager.can_undo():
            manager.undo()  # at least one item
        self._keep(manager.redo_stack, self._redoable)
        return True

    def redo(self) -> bool:
        """Bring back the group that was undone last; return whether there was one."""
        self._collect()
        if not self._redoable:
            return False
        manager = _manager(self._watched, redo_stack=self._redoable.pop())
        while manager.can_redo():
            manager.redo()  # at least one item
        self._keep(manager.undo_stack, self._undoable)
        return True

    def _keep(self, items: Group, groups: list[Group]) -> None:
        if items:
            groups.append(items)
        self._is_new_group = True
        self.is_paused = True

    def _collect(self) -> None:
        """Take what was edited since the last look, as part of the last group unless a new one has begun."""
        if not self._uncollected:
            return
        self._uncollected = 0
        items = self._recorder.undo_stack
        if not items:
            return
        self._recorder = _manager(self._watched)
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
