"""Editors of root types: operations that cost what they change, and not what the value contains.

A merge rule computes an edit from two whole values. An editor makes one operation, such as appending an item, in the
root type and in its content.

- `editor`: the base class.
- `list_editor`, `text_editor`, `set_editor`, `counter_editor`: the operations of one rule each.
- `tree_editor`, `map_editor`, `records_editor`: the operations on values that are stored as a tree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from pycrdt import Doc, Text

from streamlit_crdt.codec.scalars import Stored
from streamlit_crdt.merge.editors.counter_editor import CounterEditor
from streamlit_crdt.merge.editors.editor import Editor
from streamlit_crdt.merge.editors.list_editor import ListEditor
from streamlit_crdt.merge.editors.map_editor import MapEditor
from streamlit_crdt.merge.editors.records_editor import RecordsEditor
from streamlit_crdt.merge.editors.set_editor import SetEditor
from streamlit_crdt.merge.editors.text_editor import TextEditor
from streamlit_crdt.merge.editors.tree_editor import TreeEditor
from streamlit_crdt.merge.rule import Edit, Rule
from streamlit_crdt.merge.tree.tree_rule import TreeRule

__all__ = [
    "EDITORS",
    "CounterEditor",
    "Editor",
    "ListEditor",
    "MapEditor",
    "RecordsEditor",
    "SetEditor",
    "TextEditor",
    "TreeEditor",
    "copied_editor",
    "follow_rule",
    "new_editor",
    "trial_editor",
]

EDITORS: Final[Mapping[str, type[Editor]]] = {
    "text": TextEditor, "list": ListEditor, "records": RecordsEditor, "map": MapEditor, "set": SetEditor,
    "counter": CounterEditor,
}  # fmt: skip
"""Editors by the name of their rule."""


def new_editor(
    rule: Rule, content: Stored, container_tag: str, author: int, open_shared: Callable[[], Any]
) -> Editor:
    """Create an editor.

    Args:
        content: the present content of the root type. The editor changes it in place.
        author: the replica id of the author.
        open_shared: returns the root type for a write, in an open transaction.
    """
    return EDITORS[rule.name](content, container_tag, author, open_shared)


def follow_rule(editor: Editor, rule: Rule) -> Editor:
    """Return the editor, which identifies items as a rule does."""
    if isinstance(editor, TreeEditor) and isinstance(rule, TreeRule):
        editor.use_id_field(rule.id_field)
    return editor


def copied_editor(rule: Rule, content: Stored, container_tag: str) -> Editor:
    """Create an editor of a copy of a content, outside of any room."""
    if rule.kind is Text:
        return trial_editor(rule, rule.value(content, container_tag))
    return new_editor(rule, content.copy(), container_tag, 0, _Nowhere)


class _Nowhere:
    """A root type that ignores writes."""

    def insert(self, index: int, item: Stored) -> None: ...

    def __setitem__(self, name: str, item: Stored) -> None: ...

    def __delitem__(self, place: str | slice) -> None: ...


def trial_editor(rule: Rule, value: Any) -> Editor:
    """Create an editor of a value outside of any room."""
    document: Doc[Any] = Doc()
    shared = document.get("trial", type=rule.kind)
    rule.edit(shared, rule.empty, Edit(None, value, document.client_id))
    content = str(shared) if isinstance(shared, Text) else shared.to_py()
    return new_editor(rule, content, rule.container_tag(value), document.client_id, lambda: shared)
