"""Difference of a tree and a new value, as changes of entries."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from streamlit_crdt.codec.equality import MAX_DEPTH
from streamlit_crdt.codec.scalars import Stored
from streamlit_crdt.merge.item_keys import token
from streamlit_crdt.merge.tree import positions
from streamlit_crdt.merge.tree.containers import ABSENT, fields_of, kind_of, members_of
from streamlit_crdt.merge.tree.matching import longest_increasing, match
from streamlit_crdt.merge.tree.names import POSITION, join
from streamlit_crdt.merge.tree.operations import (
    MAX_ENTRIES,
    Author,
    add_members,
    create,
    item_parts,
    keep_container,
    last_item,
    moved_part,
    remove,
    remove_members,
    replace,
)
from streamlit_crdt.merge.tree.tree import (
    Change,
    Item,
    Place,
    Tree,
    fields_at,
    items_at,
    kind_at,
    members_at,
    own_value,
    value_at,
)


def changes(seen: Tree, present: Tree, after: Stored, author: Author) -> list[Change]:
    """Return the changes of entries that turn the value of `seen` into `after`.

    Args:
        seen: the tree that the author of the edit saw.
        present: the present tree. What a person appends comes last in it.
        after: the new encoded value.
    """
    return _changes(present, seen.root_place(), after, author)


def changes_at(tree: Tree, place: Place, after: Stored, author: Author) -> list[Change]:
    """Return the changes of entries that turn the value at a place of `tree` into `after`."""
    return _changes(tree, place, after, author)


def _changes(present: Tree, place: Place, after: Stored, author: Author) -> list[Change]:
    difference = _Difference(present, author, {})
    made = list(difference.change(place, after))
    moved = difference.moved()
    if moved:
        made = list(_Difference(present, author, moved).change(place, after))
    # Deletions come first: an item that moves on from a list has the same part in the next one.
    return sorted(made, key=lambda change: change[1] is not ABSENT)


class _Difference:
    """One difference.

    Args:
        moved: the parts of items that are removed from one list and added to another one, by their value.
    """

    def __init__(self, present: Tree, author: Author, moved: Mapping[Hashable, list[str]]) -> None:
        self._present = present
        self._author = author
        self._moved = {value: list(parts) for value, parts in moved.items()}
        self._names: set[str] = set()
        self._removed: dict[Hashable, list[str]] = {}
        self._added: set[Hashable] = set()

    def moved(self) -> dict[Hashable, list[str]]:
        """Return the parts of the removed items whose values were also added."""
        return {value: parts for value, parts in self._removed.items() if value in self._added}

    def change(self, place: Place, new: Stored) -> Iterator[Change]:
        kind = kind_of(new)
        if kind == kind_at(place) and (place.depth < MAX_DEPTH or place.path is None):
            if kind == "dict":
                yield from self._change_dict(place, new)
                return
            if kind == "list":
                yield from self._change_list(place, new)
                return
            if kind == "set":
                yield from self._change_set(place, new)
                return
        old = value_at(place)
        if old is ABSENT or token(old) != token(new):
            yield from replace(place, new, self._author)

    def _change_dict(self, place: Place, new: Stored) -> Iterator[Change]:
        fields, places = fields_of(new), fields_at(place)
        removed = [part for part in places if part not in fields]
        for part in removed:
            for item in items_at(places[part]) if kind_at(places[part]) == "list" else ():
                self._note_removed(item)
            yield from remove(places[part])
        for part, each in fields.items():
            inner = places.get(part)
            if inner is None:
                yield from self._create(Place(join(place.path, part), None, ABSENT), each.value)
            else:
                yield from self.change(inner, each.value)
        if removed and not fields:
            yield from keep_container(place, removed)

    def _create(self, place: Place, new: Stored) -> Iterator[Change]:
        """Add a field. The items of a new list may come from another list."""
        if kind_of(new) == "list" and place.depth < MAX_DEPTH and 0 < len(new) <= MAX_ENTRIES:
            yield place.name, []
            yield from self._place_items(Place(place.path, None, []), [], [None] * len(new), new)
        else:
            yield from create(place.name, place.depth, new, self._author)

    def _change_set(self, place: Place, new: Stored) -> Iterator[Change]:
        old, members = members_at(place), members_of(new)
        yield from remove_members(place, old.keys() - members.keys())
        yield from add_members(place, members, self._author)

    def _change_list(self, place: Place, new: Sequence[Stored]) -> Iterator[Change]:
        old = items_at(place)
        matches = match([value_at(item.place) for item in old], new, self._author.id_field)
        kept = {index for index in matches if index is not None}
        if not isinstance(own_value(place), list) and place.path is not None:
            yield place.name, []
        for index, item in enumerate(old):
            if index not in kept:
                self._note_removed(item)
                yield from remove(item.place)
        for found, value in zip(matches, new, strict=True):
            if found is not None:
                yield from self.change(old[found].place, value)
        yield from self._place_items(place, old, matches, new)

    def _note_removed(self, item: Item) -> None:
        self._removed.setdefault(token(value_at(item.place)), []).append(item.part)

    def _place_items(
        self, place: Place, old: list[Item], matches: Sequence[int | None], new: Sequence[Stored]
    ) -> Iterator[Change]:
        """Add new items, and move as few of the kept ones as possible."""
        fixed = longest_increasing([index for index in matches if index is not None])
        left: Item | None = None
        runs = groupby(range(len(new)), key=lambda j: matches[j] in fixed)
        for is_fixed, group in runs:
            run = list(group)
            if is_fixed:
                left = old[_index(matches[run[-1]])]
                continue
            end = run[-1] + 1
            right = old[_index(matches[end])] if end < len(new) else None
            yield from self._fill_gap(place, left, right, [(_item(old, matches[j]), new[j]) for j in run])

    def _fill_gap(
        self, place: Place, left: Item | None, right: Item | None, run: list[tuple[Item | None, Stored]]
    ) -> Iterator[Change]:
        """Add or move a run of items between two neighbors that stay."""
        lower, upper = (None if each is None else each.position for each in (left, right))
        if right is None and self._author.replica_id is not None:
            lower = self._last_position(place, lower)
        parts = [
            self._new_part(place, value, left, right) if item is None else item.part for item, value in run
        ]
        salt = positions.salt("/".join(parts))
        for part, position, (item, value) in zip(
            parts, positions.run(lower, upper, len(run), salt), run, strict=True
        ):
            if item is None:
                yield join(place.path, part), [position, value]
            else:
                yield join(item.place.path, POSITION), position

    def _new_part(self, place: Place, value: Stored, left: Item | None, right: Item | None) -> str:
        if not self._author.is_seed:
            self._added.add(token(value))
        origins = self._moved.get(token(value)) if self._moved else None
        if origins:
            part = moved_part(origins.pop(0))
            if join(place.path, part) not in self._names:
                self._names.add(join(place.path, part))
                return part
        return item_parts(place, [value], left, right, self._author, self._names)[0]

    def _last_position(self, place: Place, lower: str | None) -> str | None:
        """Return the last position of the list in the present tree."""
        node = self._present.find(place.path)
        last = None if node is None else last_item(Place(place.path, node, place.base))
        return lower if last is None else max(lower or last.position, last.position)


def _item(old: list[Item], index: int | None) -> Item | None:
    return None if index is None else old[index]


def _index(index: Any) -> int:
    return int(index)
