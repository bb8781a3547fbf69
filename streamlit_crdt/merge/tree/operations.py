"""Operations on a tree: the entries that one change of a nested value sets and deletes.

An operation reads the tree around the place that it changes, and returns changes of entries. It costs what it changes,
not what the tree contains. The caller applies the changes to the shared map with `write`, and to the tree with
`Tree.apply`::

    tree = Tree(content, is_list=True)
    write(shared, tree, append_item(tree.root_place(), encode(value), Author(replica_id)))

A place is found from the root: `tree.root_place()`, then `field_at(place, part_of_key(key))` in a dict and
`item_at(place, part)` in a list. `order_of(place.node)` and `items_at(place)` name the parts of a list's items.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pycrdt import Map

from streamlit_crdt.codec.equality import MAX_DEPTH
from streamlit_crdt.codec.scalars import Stored
from streamlit_crdt.merge.item_keys import item_key, token
from streamlit_crdt.merge.tree import positions
from streamlit_crdt.merge.tree.containers import (
    ABSENT,
    digest,
    field_of,
    fields_of,
    kind_of,
    members_of,
)
from streamlit_crdt.merge.tree.names import (
    BASE_ITEM,
    ITEM,
    MEMBER,
    MOVED_ITEM,
    POSITION,
    REMOVAL,
    escape,
    join,
    name_of_item,
    split,
)
from streamlit_crdt.merge.tree.tree import (
    Change,
    Item,
    Node,
    Place,
    Tree,
    field_at,
    is_visible,
    items_at,
    kind_at,
    member_parts,
    members_at,
    order_of,
    own_value,
)

MAX_ENTRIES: Final = 100
"""Limit of the items of a new list, or the members of a new set, that get an entry each. If two people create such a
list at one place at the same moment, their items are all kept. A longer one is stored whole, until it is edited."""


@dataclass(frozen=True, slots=True)
class Author:
    """Author of an operation, for the ids of added items and members.

    Attributes:
        replica_id: the replica id of a person; None if every session may compute the same operation. Ids then depend on
            the content only, so that equal operations on an equal tree are one (R9).
        id_field: the field that identifies an item.
        is_seed: the operation writes a first value. The ids of items do not depend on their neighbors.
    """

    replica_id: int | None = None
    id_field: str = "id"
    is_seed: bool = False


# -- writing -----------------------------------------------------------------------------------------------------


def write(shared: Map[Any], tree: Tree, changes: Iterable[Change]) -> list[Change]:
    """Apply changes to the shared map and to its tree. Return the changes of entries that this made.

    An entry with an equal value is not written again, and the entry of an existing item is never replaced.
    """
    made = list[Change]()
    for name, stored in _with_orphans(tree, changes):
        if stored is not ABSENT and _is_written(tree, name, stored):
            continue
        for former in tree.names_of(name):
            if former != name or stored is ABSENT:
                del shared[former]
                tree.set(former, ABSENT)
                made.append((former, ABSENT))
        if stored is not ABSENT:
            shared[name] = stored
            tree.set(name, stored)
            made.append((name, stored))
    return made


def _with_orphans(tree: Tree, changes: Iterable[Change]) -> Iterator[Change]:
    """Yield the changes, and the deletion of the entries below a deleted item, also of those of other replicas."""
    for name, stored in changes:
        path, part = split(name)
        if stored is ABSENT and part.startswith(MOVED_ITEM):
            for twin in tree.twins_of(part):
                yield from list(_delete_below(Place(twin, tree.find(twin), ABSENT)))
                yield twin, ABSENT
        elif stored is ABSENT and part.startswith(ITEM):
            yield from list(_delete_below(Place(name, tree.find(name), ABSENT)))
        elif stored is not ABSENT and part.startswith(REMOVAL + BASE_ITEM):
            item = join(path, part[len(REMOVAL) :])
            yield from list(_delete_below(Place(item, tree.find(item), ABSENT)))
        yield name, stored


def _is_written(tree: Tree, name: str, stored: Stored) -> bool:
    if name not in tree.content:
        return False
    return split(name)[1].startswith(ITEM) or token(tree.content[name]) == token(stored)


# -- any place ---------------------------------------------------------------------------------------------------


def replace(place: Place, stored: Stored, author: Author) -> Iterator[Change]:
    """Set a place to a whole value, which replaces the entries below it."""
    yield from _delete_below(place)
    if place.base is not ABSENT:
        yield place.name, stored
        return
    if place.node is not None and place.node.stored is not ABSENT:
        yield place.name, ABSENT
    yield from create(place.name, place.depth, stored, author)


def create(path: str, depth: int, stored: Stored, author: Author) -> Iterator[Change]:
    """Set the entries of a new value. Fields of dicts, and items and members of short containers, get one each."""
    kind = kind_of(stored) if depth < MAX_DEPTH else "leaf"
    if kind == "dict" and (fields := fields_of(stored)):
        for part, each in fields.items():
            yield from create(join(path, part), depth + 1, each.value, author)
    elif kind == "list" and 0 < len(stored) <= MAX_ENTRIES:
        yield path, []
        yield from add_items(Place(path, None, []), stored, None, None, author)
    elif kind == "set" and 0 < len(members := members_of(stored)) <= MAX_ENTRIES:
        yield path, {"$set": []}
        for member, item in members.items():
            yield _member_name(path, member, author), item
    else:
        yield path, stored


def remove(place: Place) -> Iterator[Change]:
    """Delete the field or item at a place."""
    yield from _delete_below(place)
    if place.node is not None and place.node.stored is not ABSENT:
        yield place.name, ABSENT
    parent, part = split(place.name)
    if place.base is not ABSENT and not part.startswith(ITEM):
        yield join(parent, REMOVAL + part), True


def _delete_below(place: Place) -> Iterator[Change]:
    if place.node is not None:
        yield from _entries_below(place.path, place.node)


def _entries_below(path: str | None, node: Node) -> Iterator[Change]:
    for part in node.members:
        yield join(path, part), ABSENT
    for part in node.marks:
        yield join(path, REMOVAL + part), ABSENT
    if node.position is not ABSENT:
        yield join(path, POSITION), ABSENT
    for part, inner in (*node.fields.items(), *node.items.items()):
        inner_path = join(path, part)
        yield from _entries_below(inner_path, inner)
        if inner.stored is not ABSENT:
            yield inner_path, ABSENT


# -- dicts -------------------------------------------------------------------------------------------------------


def set_field(place: Place, part: str, stored: Stored, author: Author) -> Iterator[Change]:
    """Set a field of the dict at a place to a whole value."""
    yield from replace(field_at(place, part), stored, author)


def remove_field(place: Place, part: str) -> Iterator[Change]:
    """Delete a field of the dict at a place. The dict stays, also an empty one."""
    inner = field_at(place, part)
    yield from remove(inner)
    yield from keep_container(place, {part})


def keep_container(place: Place, removed: Container[str]) -> Iterator[Change]:
    """Set the entry of a container that loses its last entry and would not exist any more."""
    node = place.node
    if node is None or place.path is None or kind_of(own_value(place)) == "dict":
        return
    if kind_at(place) == "dict" and not any(
        part not in removed and is_visible(each) for part, each in node.fields.items()
    ):
        yield place.name, {}


# -- lists -------------------------------------------------------------------------------------------------------


def add_items(
    place: Place, stored: Sequence[Stored], left: Item | None, right: Item | None, author: Author
) -> Iterator[Change]:
    """Add items to the list at a place, between two neighbors. None is an end of the list."""
    names = item_parts(place, stored, left, right, author, set())
    lower, upper = (None if item is None else item.position for item in (left, right))
    found = positions.run(lower, upper, len(stored), positions.salt(names[0])) if stored else []
    for part, position, value in zip(names, found, stored, strict=True):
        yield join(place.path, part), [position, value]


def append_item(place: Place, stored: Stored, author: Author) -> Iterator[Change]:
    """Add an item at the end of the list at a place."""
    yield from add_items(place, [stored], last_item(place), None, author)


def last_item(place: Place) -> Item | None:
    """Return the last item of a list, in constant time unless the list is stored whole."""
    if own_value(place) in ([], ABSENT):
        order = [] if place.node is None else order_of(place.node)
        if not order or place.node is None:
            return None
        position, part = order[-1]
        node = place.node.items[part]
        return Item(position, part, Place(join(place.path, part), node, node.stored[1]))
    items = items_at(place)
    return items[-1] if items else None


def move_item(item: Item, left: Item | None, right: Item | None) -> Iterator[Change]:
    """Move an item of a list between two neighbors. The same move by two people is one."""
    lower, upper = (None if each is None else each.position for each in (left, right))
    neighbors = ("" if each is None else each.part for each in (left, right))
    (position,) = positions.run(lower, upper, 1, positions.salt(digest(item.part, *neighbors)))
    yield join(item.place.path, POSITION), position


def item_parts(
    place: Place,
    stored: Sequence[Stored],
    left: Item | None,
    right: Item | None,
    author: Author,
    used: set[str],
) -> list[str]:
    """Return parts for new items.

    Equal items with an `id` field have the same part in every session. Items with equal ids and different content have
    different parts: two people who number their items alike lose none.

    Args:
        used: names of the items that the edit has added. The new ones are added to it.
    """
    node_items = {} if place.node is None else place.node.items
    neighbors = ["" if item is None or author.is_seed else item.part for item in (left, right)]
    parts = list[str]()
    for value in stored:
        source, occurrence = _item_source(value, neighbors, author), 0
        while (part := ITEM + digest(*source, str(occurrence))) in node_items or join(
            place.path, part
        ) in used:
            occurrence += 1
        used.add(join(place.path, part))
        parts.append(part)
    return parts


def moved_part(part: str) -> str:
    """Return the part of an item in another list, to which it is moved."""
    return part if part.startswith(MOVED_ITEM) else MOVED_ITEM + digest(part)


def id_of(stored: Stored, id_field: str) -> str | None:
    """Return the text of an item's id. None if it has none, or its id is no plain value."""
    value = field_of(stored, id_field) if isinstance(stored, dict) else ABSENT
    if value is ABSENT or value is None or (isinstance(value, list | dict) and kind_of(value) != "leaf"):
        return None
    return name_of_item(value)


def _item_source(value: Stored, neighbors: Sequence[str], author: Author) -> tuple[str, ...]:
    if id_of(value, author.id_field) is not None:
        return ("", "", "", item_key(value))
    replica = "" if author.replica_id is None else str(author.replica_id)
    return (replica, *neighbors, item_key(value))


# -- sets --------------------------------------------------------------------------------------------------------


def add_members(place: Place, added: Mapping[str, Stored], author: Author) -> Iterator[Change]:
    """Add members, by canonical item key, to the set at a place."""
    members = members_at(place)
    for member in sorted(added.keys() - members.keys()):
        yield _member_name(place.path, member, author), added[member]


def remove_members(place: Place, removed: Collection[str]) -> Iterator[Change]:
    """Remove members, by canonical item key, from the set at a place."""
    for part in member_parts(place, removed):
        yield join(place.path, part), ABSENT
    for member in sorted(members_of(own_value(place)).keys() & set(removed)):
        yield join(place.path, REMOVAL + MEMBER + escape(member)), True


def _member_name(path: str | None, member: str, author: Author) -> str:
    replica = "" if author.replica_id is None else author.replica_id
    return join(path, f"{MEMBER}{replica}:{escape(member)}")
