"""Common part of the rules that store a value as a tree: "map" and "records"."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from pycrdt import Map

from streamlit_crdt.codec.scalars import Stored
from streamlit_crdt.codec.values import decode
from streamlit_crdt.merge.item_keys import encode
from streamlit_crdt.merge.rule import Edit
from streamlit_crdt.merge.tree.changes import changes
from streamlit_crdt.merge.tree.operations import Author, write
from streamlit_crdt.merge.tree.tree import Tree


class TreeRule:
    """Merge by path in one flat Yjs map, see `tree`.

    Attributes:
        is_list: the value is a list, not a dict.
        id_field: the field that identifies an item of a list.
    """

    kind = Map
    empty: Mapping[str, Stored] = MappingProxyType({})
    is_list: ClassVar[bool]
    id_field = "id"

    def accepts(self, value: object) -> bool:
        return type(value) is (list if self.is_list else dict)

    def container_tag(self, value: object) -> str:
        return "list" if self.is_list else "dict"

    def tree(self, content: Mapping[str, Stored]) -> Tree:
        return Tree(content, is_list=self.is_list)

    def edit(self, shared: Map[Any], content: Mapping[str, Stored], edit: Edit) -> None:
        author = self.author(edit)
        present = self.tree(content)
        seen = present if edit.before is None else self._seen(present, edit)
        made = changes(seen, present, encode(edit.after), author)
        if edit.seen is not None and seen is not present:
            seen.apply(made)
            edit.seen.note(seen.content)
        write(shared, present, made)
        if edit.seen is not None and seen is present:
            edit.seen.note(present.content)

    def author(self, edit: Edit) -> Author:
        is_seed = edit.before is None
        return Author(edit.author if edit.is_by_person and not is_seed else None, self.id_field, is_seed)

    def distance(self, before: Any, after: Any) -> float:
        tree, author = self.tree({}), Author(None, self.id_field, is_seed=True)
        tree.apply(changes(tree, tree, encode(before), author))
        return len(changes(tree, tree, encode(after), author))

    def value(self, content: Stored, container_tag: str) -> Any:
        return decode(self.tree(content).value())

    def _seen(self, present: Tree, edit: Edit) -> Tree:
        """Return the tree of the value that the author of an edit saw.

        If the value is not remembered, its items are matched with the present ones.
        """
        before = encode(edit.before)
        if present.value() == before:
            return present
        for content in edit.seen or ():
            tree = self.tree(content)
            if tree.value() == before:
                return tree
        tree = present.copy()
        tree.apply(changes(present, present, before, Author(None, self.id_field)))
        return tree
