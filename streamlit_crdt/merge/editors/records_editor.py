"""Operations on the root type of a list of records."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from streamlit_crdt.codec.values import decode, equal
from streamlit_crdt.merge.editors.editor import Step
from streamlit_crdt.merge.editors.tree_editor import TreeEditor
from streamlit_crdt.merge.item_keys import encode
from streamlit_crdt.merge.tree.containers import kind_of
from streamlit_crdt.merge.tree.names import ITEM
from streamlit_crdt.merge.tree.operations import add_items, id_of, move_item, remove
from streamlit_crdt.merge.tree.tree import Change, Item, item_at, order_of, value_at


class RecordsEditor(TreeEditor):
    """Editor of a list whose items have an identity. It has the operations of `ListEditor`, and others by id."""

    _ids: dict[str, str] | None = None
    _id_of_part: dict[str, str]
    _repeated_ids: set[str]

    # -- as a list -----------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._order)

    def item(self, index: int) -> Any:
        """Return a copy of an item. Raises IndexError as a list does."""
        return decode(value_at(self._item(self._order[index][1]).place))

    def items(self) -> Iterator[Any]:
        """Yield a copy of each item."""
        return (decode(value_at(self._item(part).place)) for _, part in self._order)

    def parts(self) -> list[str]:
        """Return what identifies each item, for `locate`."""
        return [part for _, part in self._order]

    def part(self, index: int) -> str:
        """Return what identifies an item."""
        return self._order[index][1]

    def locate(self, part: str | None, value: Any, index: int) -> int:
        """Return the index of an item. Raises LookupError.

        Args:
            part: identifies the item. None if it was no record before.
            value: the value by which it is found otherwise, next to an index.
        """
        if part is not None:
            item = item_at(self._root, part)
            if item is None:
                raise LookupError(part)
            return bisect_left(self._order, (item.position, part))
        found = [each for each, item in enumerate(self.items()) if equal(item, value)]
        if not found:
            raise LookupError(value)
        return min(found, key=lambda each: abs(each - index))

    def change_item(self, index: int, value: Any) -> None:
        """Set an item to another version of itself. It keeps its identity."""
        self._change(self._item(self._order[index][1]).place, encode(value))

    def find(self, value: Any) -> int:
        """Return the index of the first item that equals `value`. Raises ValueError if there is none."""
        for index, item in enumerate(self.items()):
            if item == value:
                return index
        raise ValueError(f"{value!r:.200} is not in list")

    def insert(self, index: int, values: Iterable[Any]) -> list[str]:
        """Insert items before an index, as in a list. Return their ids."""
        stored, length = [encode(value) for value in values], len(self)
        place = min(max(index + length if index < 0 else index, 0), length)
        made = self._write(add_items(self._root, stored, *self._neighbors(place), self._person))
        return [self.id_at(name) for name, _ in made]

    def set_item(self, index: int, value: Any) -> None:
        """Replace an item. Raises IndexError as a list does.

        A dict in place of a dict stays the same record, unless their id fields differ.
        """
        place = range(len(self))[index]
        item, stored = self._item(self._order[place][1]), encode(value)
        old = value_at(item.place)
        is_same = id_of(old, self.id_field) == id_of(stored, self.id_field)
        if kind_of(old) == kind_of(stored) == "dict" and is_same:
            self._change(item.place, stored)
        elif decode(old) != value or type(decode(old)) is not type(value):
            left, right = self._neighbors(place)[0], self._neighbors(place + 1)[1]
            self._write([*remove(item.place), *add_items(self._root, [stored], left, right, self._person)])

    def delete(self, indexes: range) -> None:
        """Delete the items at ascending indexes, which must exist."""
        items = [self._item(self._order[index][1]) for index in indexes]
        self._write([change for item in items for change in remove(item.place)])

    # -- by id ---------------------------------------------------------------------------------------------------

    def ids(self) -> list[Any]:
        """Return the ids of the items in their order."""
        return [self.id_at(part) for _, part in self._order]

    def id_at(self, part: str) -> Any:
        """Return the id of an item: the value of its id field if no earlier item has it, else its hidden id."""
        text = self._index()[1].get(part)
        hidden = part[len(ITEM) :]
        return hidden if text is None or self._index()[0][text] != part else self._id_value(part)

    def index_of(self, record_id: Any) -> int:
        """Return the index of the item with an id. Raises KeyError."""
        part = self.part_of(record_id)
        return self.locate(part, None, 0)

    def move(self, record_id: Any, index: int) -> None:
        """Move the item with an id, so that it stands at an index. Raises KeyError."""
        present, length = self.index_of(record_id), len(self)
        target = min(max(index + length if index < 0 else index, 0), length - 1)
        if target != present:
            item = self._item(self._order[present][1])
            place = target + (target > present)
            self._write(move_item(item, *self._neighbors(place)))

    def use_id_field(self, name: str) -> None:
        if name != self.id_field:
            self.id_field, self._ids = name, None

    def adapt(self, entry: str | None) -> None:
        super().adapt(entry)
        if entry is not None:
            self._update_id(entry.partition("/")[0])

    def repeat(self, steps: Iterable[Step]) -> None:
        super().repeat(steps)
        self._ids = None

    # -- inside --------------------------------------------------------------------------------------------------

    @property
    def _order(self) -> Sequence[tuple[str, str]]:
        return order_of(self.tree.root)

    def _item(self, part: str) -> Item:
        item = item_at(self._root, part)
        assert item is not None
        return item

    def _neighbors(self, place: int) -> tuple[Item | None, Item | None]:
        order = self._order
        left = self._item(order[place - 1][1]) if place else None
        return left, self._item(order[place][1]) if place < len(order) else None

    def part_of(self, record_id: Any) -> str:
        """Return the part of the item with an id."""
        hash(record_id)
        text = id_of({self.id_field: encode(record_id)}, self.id_field)
        part = self._index()[0].get(text or "")
        if part is None and isinstance(record_id, str) and item_at(self._root, ITEM + record_id) is not None:
            part = ITEM + record_id
        if part is None:
            raise KeyError(record_id)
        return part

    def _index(self) -> tuple[dict[str, str], dict[str, str]]:
        """Return the parts of the items by the text of their id, and the texts by part."""
        if self._ids is None:
            self._ids, self._id_of_part, self._repeated_ids = {}, {}, set()
            for _, part in self._order:
                self._add_id(part)
        return self._ids, self._id_of_part

    def _add_id(self, part: str) -> None:
        item = None if self._ids is None else item_at(self._root, part)
        text = None if item is None else id_of(value_at(item.place), self.id_field)
        if text is not None and self._ids is not None:
            self._id_of_part[part] = text
            if self._ids.setdefault(text, part) != part:
                self._repeated_ids.add(text)

    def _id_value(self, part: str) -> Any:
        value = decode(value_at(self._item(part).place))
        return value[self.id_field]

    def _write(self, changes: Iterable[Change]) -> list[Change]:
        made = super()._write(changes)
        for part in {name.partition("/")[0] for name, _ in made}:
            self._update_id(part)
        return made

    def _update_id(self, part: str) -> None:
        text = None if self._ids is None else self._id_of_part.pop(part, None)
        if text is not None and self._ids is not None and self._ids.get(text) == part:
            del self._ids[text]
            if text in self._repeated_ids:
                self._ids = None
        self._add_id(part)
