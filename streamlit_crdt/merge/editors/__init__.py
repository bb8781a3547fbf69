"""Editors of root types: operations that cost what they change, and not what the value contains.

A merge rule computes an edit from two whole values. An editor makes one operation, such as appending an item, in the
root type and in its content.

- `editor`: the base class.
- `list_editor`, `text_editor`, `set_editor`, `counter_editor`: the operations of one rule each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from pycrdt import Doc, Text

from streamlit_crdt.codec.scalars import Stored
from streamlit_crdt.merge.editors.counter_editor import CounterEditor
from streamlit_crdt.merge.editors.editor import Editor
from streamlit_crdt.merge.editors.list_editor import ListEditor
from streamlit_crdt.merge.editors.set_editor import SetEditor
from streamlit_crdt.merge.editors.text_editor import TextEditor
from streamlit_crdt.merge.rule import Edit, Rule, Shared

__all__ = [
    "EDITORS",
    "CounterEditor",
    "Editor",
    "ListEditor",
    "SetEditor",
    "TextEditor",
    "new_editor",
    "trial_editor",
]

EDITORS: Final[Mapping[str, type[Editor]]] = {
    "text": TextEditor, "list": ListEditor, "set": SetEditor, "counter": CounterEditor,
}  # fmt: skip
"""Editors by the name of their rule."""


def new_editor(
    rule: Rule, content: Stored, container_tag: str, author: int, open_shared: Callable[[], Shared]
) -> Editor:
    """Create an editor.

    Args:
        content: the present content of the root type. The editor changes it in place.
        author: the replica id of the author.
        open_shared: returns the root type for a write, in an open transaction.
    """
    return EDITORS[rule.name](content, container_tag, author, open_shared)


def trial_editor(rule: Rule, value: Any) -> Editor:
    """Create an editor of a value outside of any room."""
    document: Doc[Any] = Doc()
    shared = document.get("trial", type=rule.kind)
    rule.edit(shared, rule.empty, Edit(None, value, document.client_id))
    content = str(shared) if isinstance(shared, Text) else shared.to_py()
    return new_editor(rule, content, rule.container_tag(value), document.client_id, lambda: shared)
