"""What this replica can undo: its own edits, group by group, whatever others have done in between."""

from __future__ import annotations

from typing import Any, Final

from pycrdt import UndoManager

from streamlit_crdt.merge.rule import Shared
from streamlit_crdt.roots import Roots

MAX_GROUPS: Final = 100
"""So many groups are kept; what each one deleted stays in this replica's memory for as long."""


class History:
    """Groups of edits, each undone and redone as a whole. Not thread-safe.

    Only transactions without an origin are tracked, which are this replica's own. Each is an item of its own on the
    stacks of pycrdt's manager; how many make a group is counted here, because pycrdt only groups by the clock.
    """

    def __init__(self, roots: Roots) -> None:
        self._watched: list[Shared] = [roots.state]
        self._names: set[int] = {id(roots.state)}
        self._manager = _manager(self._watched)
        self._undoable: list[int] = []
        self._redoable: list[int] = []
        self._is_new_group = True

    def watch(self, shared: Shared) -> None:
        """Track edits of a root type as well."""
        if id(shared) not in self._names:
            self._names.add(id(shared))
            self._watched.append(shared)
            self._manager.expand_scope(shared)

    def begin_group(self) -> None:
        """Have what is edited from now on be undone by itself."""
        self._count()
        self._is_new_group = True

    @property
    def can_undo(self) -> bool:
        self._count()
        return bool(self._undoable)

    @property
    def can_redo(self) -> bool:
        self._count()
        return bool(self._redoable)

    def undo(self) -> bool:
        """Take back the last group; return whether there was one."""
        return self._move(self._manager.undo, self._undoable, self._redoable, lambda: self._undo_depth)

    def redo(self) -> bool:
        """Bring back the group that was undone last; return whether there was one."""
        return self._move(self._manager.redo, self._redoable, self._undoable, lambda: self._redo_depth)

    @property
    def _undo_depth(self) -> int:
        return len(self._manager.undo_stack)

    @property
    def _redo_depth(self) -> int:
        return len(self._manager.redo_stack)

    def _move(self, step: Any, source: list[int], target: list[int], depth: Any) -> bool:
        self._count()
        if not source:
            return False
        source.pop()
        while depth() > sum(source) and step():
            # A step takes more than one item where others left nothing of them, perhaps of the next group as well.
            while sum(source) > depth():
                source.pop()
        moved = (self._redo_depth if target is self._redoable else self._undo_depth) - sum(target)
        if moved > 0:
            target.append(moved)
        self._is_new_group = True
        return True

    def _count(self) -> None:
        """Note what was edited since the last look, as part of the last group unless a new one has begun."""
        added = self._undo_depth - sum(self._undoable)
        if added <= 0:
            return
        if self._is_new_group or not self._undoable:
            self._undoable.append(added)
        else:
            self._undoable[-1] += added
        self._is_new_group = False
        self._redoable.clear()
        if len(self._undoable) > 2 * MAX_GROUPS:
            self._trim()

    def _trim(self) -> None:
        """Let the oldest groups go."""
        self._undoable = self._undoable[-MAX_GROUPS:]
        kept = self._manager.undo_stack[-sum(self._undoable) :]
        self._manager = _manager(self._watched, kept)


def _manager(scopes: list[Shared], undo_stack: list[Any] | None = None) -> UndoManager:
    return UndoManager(scopes=list(scopes), capture_timeout_millis=0, undo_stack=undo_stack)
