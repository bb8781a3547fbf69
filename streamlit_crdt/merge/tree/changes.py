"""Difference of a tree and a new value, as changes of entries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    Author,
    add_member,
    create,
    item_parts,
    keep_container,
    last_item,
    remove,
    remove_member,
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
    return list(_Difference(present, author).change(seen.root_place(), after))


def changes_at(tree: Tree, place: Place, after: Stored, author: Author) -> list[Change]:
    """Return the changes of entries that turn the value at a place of `tree` into `after`."""
    return list(_Difference(tree, author).change(place, after))


class _Difference:
    def __init__(self, present: Tree, author: Author) -> None:
        self._present = present
        self._author = author
        self._added: set[str] = set()

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
            yield from remove(places[part])
        for part, each in fields.items():
            inner = places.get(part)
            if inner is None:
                yield from create(join(place.path, part), place.depth + 1, each.value, self._author)
            else:
                yield from self.change(inner, each.value)
        if removed and not fields:
            yield from keep_container(place, removed)

    def _change_set(self, place: Place, new: Stored) -> Iterator[Change]:
        old, members = members_at(place), members_of(new)
        for member in sorted(old.keys() - members.keys()):
            yield from remove_member(place, member)
        for member in sorted(members.keys() - old.keys()):
            yield from add_member(place, members[member], self._author)

    def _change_list(self, place: Place, new: Sequence[Stored]) -> Iterator[Change]:
        old = items_at(place)
        matches = match([value_at(item.place) for item in old], new, self._author.id_field)
        kept = {index for index in matches if index is not None}
        if not isinstance(own_value(place), list) and place.path is not None:
            yield place.name, []
        for index, item in enumerate(old):
            if index not in kept:
                yield from remove(item.place)
        for found, value in zip(matches, new, strict=True):
            if found is not None:
                yield from self.change(old[found].place, value)
        yield from self._place_items(place, old, matches, new)

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
        values = [value for item, value in run if item is None]
        added = iter(item_parts(place, values, left, right, self._author, self._added))
        lower, upper = (None if each is None else each.position for each in (left, right))
        if right is None and self._author.replica_id is not None:
            lower = self._last_position(place, lower)
        parts = [next(added) if item is None else item.part for item, _ in run]
        salt = positions.salt("/".join(parts))
        for part, position, (item, value) in zip(
            parts, positions.run(lower, upper, len(run), salt), run, strict=True
        ):
            if item is None:
                yield join(place.path, part), [position, value]
            else:
                yield join(item.place.path, POSITION), position

    def _last_position(self, place: Place, lower: str | None) -> str | None:
        """Return the last position of the list in the present tree."""
        node = self._present.find(place.path)
        last = None if node is None else last_item(Place(place.path, node, place.base))
        return lower if last is None else max(lower or last.position, last.position)


def _item(old: list[Item], index: int | None) -> Item | None:
    return None if index is None else old[index]


def _index(index: Any) -> int:
    return int(index)
