"""Operations on the root type of a set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from streamlit_crdt.codec.scalars import Stored
from streamlit_crdt.codec.values import decode
from streamlit_crdt.merge.editors.editor import Editor, Step
from streamlit_crdt.merge.item_keys import as_read, encode
from streamlit_crdt.merge.rule import Shared
from streamlit_crdt.merge.tree.names import name_of_item


class SetEditor(Editor):
    """Editor of a set. It has an index of the entries, because each replica that adds an item has an own entry."""

    def __init__(
        self, content: dict[str, Stored], container_tag: str, author: int, open_shared: Callable[[], Shared]
    ) -> None:
        super().__init__(content, container_tag, author, open_shared)
        self._entries = dict[str, list[str]]()
        self._keys = dict[str, str]()
        for name in content:
            self._add(name)

    def adapt(self, entry: str | None) -> None:
        if entry is not None:
            self._drop(entry)
            if entry in self.content:
                self._add(entry)

    def _add(self, name: str) -> None:
        key = self._keys[name] = name_of_item(self.content[name])
        self._entries.setdefault(key, []).append(name)

    def _drop(self, name: str) -> None:
        key = self._keys.pop(name, None)
        if key is not None:
            self._entries[key].remove(name)
            if not self._entries[key]:
                del self._entries[key]

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, item: object) -> bool:
        return name_of_item(encode(item)) in self._entries

    def items(self) -> Iterator[Any]:
        """Yield the items in a stable order."""
        return (decode(self.content[self._entries[key][0]]) for key in sorted(self._entries))

    def add(self, item: Any) -> None:
        """Add an item. One that the set has is not written again (R1)."""
        stored = encode(item)
        key = name_of_item(stored)
        if key not in self._entries:
            name = f"{self._author}:{key}"
            self.steps.append(("add", item))
            self._open()[name] = stored
            self.content[name] = as_read(stored)
            self._add(name)

    def discard(self, item: Any) -> bool:
        """Remove an item. Return whether the set had it."""
        names = list(self._entries.get(name_of_item(encode(item)), ()))
        for name in names:
            del self._open()[name]
            del self.content[name]
            self._drop(name)
        if names:
            self.steps.append(("discard", item))
        return bool(names)

    def repeat(self, steps: Iterable[Step]) -> None:
        for name, item in steps:
            if name == "add":
                self.add(item)
            else:
                self.discard(item)
