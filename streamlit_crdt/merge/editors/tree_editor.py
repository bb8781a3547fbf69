"""Operations on the root type of a tree: common part of dicts and records."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from streamlit_crdt.codec.scalars import Stored
from streamlit_crdt.merge.editors.editor import Editor, Step
from streamlit_crdt.merge.item_keys import as_read
from streamlit_crdt.merge.rule import Shared
from streamlit_crdt.merge.tree.changes import changes_at
from streamlit_crdt.merge.tree.containers import ABSENT
from streamlit_crdt.merge.tree.operations import Author, write
from streamlit_crdt.merge.tree.tree import Change, Place, Tree


class TreeEditor(Editor):
    """Editor of a tree.

    Attributes:
        tree: the index of the entries.
        id_field: the field that identifies an item of a list.
    """

    content: dict[str, Stored]

    def __init__(
        self,
        content: dict[str, Stored],
        container_tag: str,
        author: int,
        open_shared: Callable[[], Shared],
    ) -> None:
        self.tree: Final = Tree(content, is_list=container_tag == "list")
        self.id_field = "id"
        self._root: Final = self.tree.root_place()
        super().__init__(self.tree.content, container_tag, author, open_shared)

    def use_id_field(self, name: str) -> None:
        """Identify the items of a list by another field."""
        self.id_field = name

    def adapt(self, entry: str | None) -> None:
        if entry in self.content:
            self.tree.set(entry, self.content[entry])
        elif entry is not None:
            self.content[entry] = None  # `Tree.set` deletes only what is there
            self.tree.set(entry, ABSENT)

    def repeat(self, steps: Iterable[Step]) -> None:
        for _, made in steps:
            self._write(made)

    @property
    def _person(self) -> Author:
        return Author(self._author, self.id_field)

    def _change(self, place: Place, stored: Stored) -> None:
        """Write the difference between the value at a place and a new one."""
        self._write(changes_at(self.tree, place, stored, self._person))

    def _write(self, changes: Iterable[Change]) -> list[Change]:
        """Write changes of entries. Return those that made a difference."""
        made = write(_Entries(self._open), self.tree, list(changes))  # type: ignore[arg-type]
        for name, stored in made:
            if stored is not ABSENT:
                self.tree.set(name, as_read(stored))
        if made:
            self.steps.append(("write", made))
        return made


class _Entries:
    """The shared map. It is opened at the first write."""

    def __init__(self, open_shared: Callable[[], Any]) -> None:
        self._open_shared = open_shared

    def __setitem__(self, name: str, stored: Stored) -> None:
        self._open_shared()[name] = stored

    def __delitem__(self, name: str) -> None:
        del self._open_shared()[name]
