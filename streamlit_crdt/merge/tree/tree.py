"""A tree of values in the entries of one flat Yjs map: dicts, lists and sets, nested in one another.

Nested Yjs maps would lose data: if two sessions create one under the same key at the same time, the content of one side
is lost. The name of an entry is the path of a node (see `names`). An entry contains a whole value. The entries below it
override parts of that value:

- A field of a dict is an entry `PATH/key`. A removal mark hides a field that a whole value contains.
- An item of a list is one entry that is written once and contains its first value. Its later fields are entries below
  it, its later position is `PATH/~i…/~p`. Without the entry of the item, entries below it are invisible. A deletion
  therefore wins over concurrent edits of the item, and its undo shows them again.
- An item that moves to another list gets a part that is derived from its former one. If two people move it to two
  lists, both entries have this part, and one of them is visible.
- Items of a list that is stored whole have derived ids. They are removed by removal marks.
- A member of a set is one entry for each replica that added it. A concurrent addition wins over a removal.

If entries of several kinds are below one path, a dict wins over a list, and a list over a set.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Mapping
from typing import Final, Literal, NamedTuple

from streamlit_crdt.codec.equality import MAX_DEPTH
from streamlit_crdt.codec.scalars import Stored
from streamlit_crdt.merge.item_keys import item_key
from streamlit_crdt.merge.tree import positions
from streamlit_crdt.merge.tree.containers import (
    ABSENT,
    Field,
    Kind,
    dict_of,
    digest,
    fields_of,
    kind_of,
    members_of,
    set_of,
)
from streamlit_crdt.merge.tree.names import (
    BASE_ITEM,
    ITEM,
    MEMBER,
    MOVED_ITEM,
    POSITION,
    REMOVAL,
    canonical_name,
    escape,
    join,
    key_of_part,
    name_of_item,
)

Change = tuple[str, Stored]
"""Name of an entry and its new value, `ABSENT` to delete it."""


class Node:
    """A node with an entry of its own, entries below it, or both.

    Attributes:
        is_item: it is an item of a list. Its entry contains its first position and its first value.
        is_hidden: the item was moved to several lists at once, and another list shows it.
        stored: the entry's value, `ABSENT` if there is none.
        fields: nodes of dict keys, by part.
        items: nodes of list items, by part.
        members: entries of a set's members.
        marks: removal marks, by the part that they hide.
        position: the position of a moved item.
        order: position and part of the items with an entry, sorted. None if it is not computed.
    """

    __slots__ = ("fields", "is_hidden", "is_item", "items", "marks", "members", "order", "position", "stored")

    def __init__(self, stored: Stored = ABSENT, *, is_item: bool = False) -> None:
        self.stored = stored
        self.is_item = is_item
        self.is_hidden = False
        self.fields: dict[str, Node] = {}
        self.items: dict[str, Node] = {}
        self.members: dict[str, Stored] = {}
        self.marks: dict[str, Stored] = {}
        self.position: Stored = ABSENT
        self.order: list[tuple[str, str]] | None = None

    @property
    def is_disposable(self) -> bool:
        return (
            self.stored is ABSENT
            and self.position is ABSENT
            and not (self.fields or self.items or self.members or self.marks)
        )


class Place(NamedTuple):
    """A place in a tree.

    Attributes:
        path: name of its entry, None for the root.
        node: its node, None if no entry exists there or below.
        base: the value that an entry above contains for it.
    """

    path: str | None
    node: Node | None
    base: Stored

    @property
    def depth(self) -> int:
        return 0 if self.path is None else self.path.count("/") + 1

    @property
    def name(self) -> str:
        """Name of the entry. The root has none."""
        return self.path or ""


class Item(NamedTuple):
    """An item of a list.

    Attributes:
        position: its present position.
        part: its part of the path.
        place: its place.
    """

    position: str
    part: str
    place: Place


class Tree:
    """Index of the entries of a map. It follows changes of single entries in time that does not grow with the map.

    Attributes:
        content: the entries by name. The caller must not change it.
    """

    def __init__(self, content: Mapping[str, Stored], *, is_list: bool) -> None:
        self.content: dict[str, Stored] = {}
        self.root: Final = Node([] if is_list else {})
        self._aliases: dict[str, list[str]] = {}
        self._too_deep: set[str] = set()
        self._moved: dict[str, dict[str, tuple[Node, Node]]] = {}
        self.apply(content.items())

    def copy(self) -> Tree:
        return Tree(self.content, is_list=isinstance(self.root.stored, list))

    def apply(self, changes: Iterable[Change]) -> None:
        for name, stored in changes:
            self.set(name, stored)

    def set(self, name: str, stored: Stored) -> None:
        """Set an entry. `ABSENT` deletes it."""
        if stored is ABSENT:
            if self.content.pop(name, ABSENT) is ABSENT:
                return
        else:
            self.content[name] = stored
        if name.count("/") >= MAX_DEPTH:  # a path of 1 MB would be half a million nodes
            (self._too_deep.discard if stored is ABSENT else self._too_deep.add)(name)
            return
        canonical = canonical_name(name)
        if canonical != name or canonical in self._aliases:
            stored = self._set_alias(canonical, name, stored)
        self._index(canonical.split("/"), stored)

    def names_of(self, canonical: str) -> list[str]:
        """Return the names of the entries with a canonical name. An older version may have written several."""
        own = [canonical] if canonical in self.content else []
        return own + self._aliases.get(canonical, [])

    def find(self, path: str | None) -> Node | None:
        """Return the node of a canonical path. None if no entry exists there or below."""
        node: Node | None = self.root
        for part in () if path is None else path.split("/"):
            if node is None:
                return None
            node = (node.items if part.startswith((ITEM, BASE_ITEM)) else node.fields).get(part)
        return node

    def _set_alias(self, canonical: str, name: str, stored: Stored) -> Stored:
        """Return the value for a canonical name, of which another name exists. The canonical one takes precedence."""
        aliases = self._aliases.setdefault(canonical, [])
        if canonical != name:
            index = bisect_left(aliases, name)
            is_known = index < len(aliases) and aliases[index] == name
            if stored is ABSENT and is_known:
                del aliases[index]
            elif stored is not ABSENT and not is_known:
                aliases.insert(index, name)
        first = canonical if canonical in self.content else next(iter(aliases), None)
        if not aliases:
            del self._aliases[canonical]
        return ABSENT if first is None else self.content[first]

    def _index(self, parts: list[str], stored: Stored) -> None:
        nodes, node, parent = [self.root], self.root, self.root
        *inner, last = parts
        for part in inner:
            parent, node = node, _child(node, part)
            nodes.append(node)
        if last.startswith(MEMBER):
            _put(node.members, last, stored)
        elif last.startswith(REMOVAL):
            _put(node.marks, last[len(REMOVAL) :], stored)
        elif last == POSITION:
            _set_in_order(parent, parts[-2] if inner else "", node, "position", stored)
        else:
            nodes.append(_child(node, last))
            _set_in_order(node, last, nodes[-1], "stored", stored)
            if last.startswith(MOVED_ITEM):
                self._hide_twins("/".join(parts), last, node, nodes[-1])
        if stored is ABSENT:
            _prune(nodes, parts)

    def twins_of(self, part: str) -> list[str]:
        """Return the paths of an item that people have moved to several lists at once, the visible one first."""
        return sorted(self._moved.get(part, ()))

    def _hide_twins(self, path: str, part: str, parent: Node, item: Node) -> None:
        twins = self._moved.setdefault(part, {})
        if item.stored is ABSENT:
            twins.pop(path, None)
        else:
            twins[path] = (parent, item)
        if not twins:
            del self._moved[part]
        for number, twin in enumerate(sorted(twins)):
            twin_parent, twin_item = twins[twin]
            if twin_item.is_hidden != (number > 0):
                twin_item.is_hidden = number > 0
                twin_parent.order = None

    # -- reading -------------------------------------------------------------------------------------------------

    def root_place(self) -> Place:
        return Place(None, self.root, ABSENT)

    def value(self) -> Stored:
        """Return the encoded value of the whole tree. May raise any exception if another program wrote the entries."""
        if self._too_deep:
            raise ValueError(f"an entry's path has more than {MAX_DEPTH} parts")
        return value_at(self.root_place())


def own_value(place: Place) -> Stored:
    """Return the whole value at a place, without the entries below it. An item's entry contains its value."""
    node = place.node
    if node is None or node.is_item or node.stored is ABSENT:
        return place.base
    return node.stored


def value_at(place: Place) -> Stored:
    """Return the encoded value at a place, `ABSENT` if there is none."""
    own, node = own_value(place), place.node
    if node is None or not (node.fields or node.items or node.members or node.marks):
        return own
    kind = kind_at(place)
    if kind == "dict":
        return dict_of(
            Field(key_of_part(part), value)
            for part, field in fields_at(place).items()
            if (value := value_at(field)) is not ABSENT
        )
    if kind == "list":
        return [value_at(item.place) for item in items_at(place)]
    if kind == "set":
        return set_of(members_at(place))
    return own


def kind_at(place: Place) -> Kind:
    """Return the kind of value at a place. Entries below a place win over its whole value, except that of the root."""
    own, node = own_value(place), place.node
    kind = kind_of(own)
    if node is None or kind == "dict" or place.path is None:
        return kind
    if any(map(is_visible, node.fields.values())):
        return "dict"
    if kind == "list" or any(map(_is_item, node.items.values())):
        return "list"
    return "set" if node.members else kind


def is_visible(node: Node) -> bool:
    """Return whether a field has a value by the entries at its node and below, without a whole value above."""
    return (
        node.stored is not ABSENT
        or bool(node.members)
        or any(map(_is_item, node.items.values()))
        or any(map(is_visible, node.fields.values()))
    )


def fields_at(place: Place) -> dict[str, Place]:
    """Return the places of a dict's fields by part: first those of the whole value, then others by name.

    A field may be absent: its place then has only entries that are invisible.
    """
    node, path = place.node, place.path
    base = fields_of(own_value(place))
    if node is None:
        return {part: Place(join(path, part), None, field.value) for part, field in base.items()}
    fields = {}
    for part in [*base, *sorted(node.fields.keys() - base.keys())]:
        whole = base[part].value if part in base and part not in node.marks else ABSENT
        inner = node.fields.get(part)
        if inner is not None or whole is not ABSENT:
            fields[part] = Place(join(path, part), inner, whole)
    return fields


def field_at(place: Place, part: str) -> Place:
    """Return the place of one field, which may be absent."""
    node = place.node
    base = fields_of(own_value(place)).get(part)
    is_hidden = base is None or (node is not None and part in node.marks)
    inner = None if node is None else node.fields.get(part)
    return Place(join(place.path, part), inner, ABSENT if base is None or is_hidden else base.value)


def items_at(place: Place) -> list[Item]:
    """Return the items of a list in their order."""
    node, path, own = place.node, place.path, own_value(place)
    whole = own if isinstance(own, list) else []
    items = list[Item]()
    if node is not None:
        items = [
            Item(position, part, Place(join(path, part), node.items[part], node.items[part].stored[1]))
            for position, part in order_of(node)
        ]
    if whole:
        items = sorted(items + _whole_items(place, whole), key=lambda item: item[:2])
    return items


def order_of(node: Node) -> list[tuple[str, str]]:
    """Return position and part of the items with an entry, sorted. The caller must not change it."""
    if node.order is None:
        node.order = sorted((_position(item), part) for part, item in node.items.items() if _is_item(item))
    return node.order


def item_at(place: Place, part: str) -> Item | None:
    """Return one item of a list, None if it does not exist."""
    node, own = place.node, own_value(place)
    if part.startswith(BASE_ITEM):
        whole = _whole_items(place, own) if isinstance(own, list) else []
        return next((item for item in whole if item.part == part), None)
    item = None if node is None else node.items.get(part)
    if item is None or not _is_item(item):
        return None
    return Item(_position(item), part, Place(join(place.path, part), item, item.stored[1]))


def members_at(place: Place) -> dict[str, Stored]:
    """Return the members of a set by canonical item key."""
    node = place.node
    members = members_of(own_value(place))
    if node is not None:
        for name in [name for name in members if MEMBER + escape(name) in node.marks]:
            del members[name]
        for item in node.members.values():
            members[name_of_item(item)] = item
    return members


def member_parts(place: Place, members: Collection[str]) -> list[str]:
    """Return the parts of the entries that add any of some members."""
    entries = {} if place.node is None else place.node.members
    return sorted(part for part, item in entries.items() if name_of_item(item) in members)


def _whole_items(place: Place, whole: list[Stored]) -> list[Item]:
    """Return the items of a list that is stored whole. Their ids depend on all items, and on nothing else."""
    node, source = place.node, digest(item_key(whole))
    items = []
    for index, value in enumerate(whole):
        part = f"{BASE_ITEM}{source}.{index}"
        if node is not None and part in node.marks:
            continue
        inner = None if node is None else node.items.get(part)
        moved = ABSENT if inner is None else inner.position
        position = moved if isinstance(moved, str) else positions.initial(index)
        items.append(Item(position, part, Place(join(place.path, part), inner, value)))
    return items


def _is_item(node: Node) -> bool:
    stored = node.stored
    return not node.is_hidden and isinstance(stored, list) and len(stored) == 2 and isinstance(stored[0], str)


def _position(item: Node) -> str:
    return item.position if isinstance(item.position, str) else str(item.stored[0])


def _child(node: Node, part: str) -> Node:
    is_item = part.startswith((ITEM, BASE_ITEM))
    children = node.items if is_item else node.fields
    if part not in children:
        children[part] = Node(is_item=is_item)
    return children[part]


def _put(entries: dict[str, Stored], part: str, stored: Stored) -> None:
    if stored is ABSENT:
        entries.pop(part, None)
    else:
        entries[part] = stored


def _set_in_order(
    parent: Node, part: str, node: Node, attribute: Literal["stored", "position"], value: Stored
) -> None:
    """Set the entry or the position of a node, and its place in the order of its parent's items."""
    order = parent.order if part.startswith(ITEM) else None
    if order is not None and _is_item(node):
        former = (_position(node), part)
        index = bisect_left(order, former)
        if index < len(order) and order[index] == former:
            del order[index]
    setattr(node, attribute, value)
    if order is not None and _is_item(node):
        insort(order, (_position(node), part))


def _prune(nodes: list[Node], parts: list[str]) -> None:
    for index in range(len(nodes) - 1, 0, -1):
        if not nodes[index].is_disposable:
            return
        parent, part = nodes[index - 1], parts[index - 1]
        parent.fields.pop(part, None)
        parent.items.pop(part, None)
