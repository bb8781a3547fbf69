"""The visible content of a document, read from its encoded state, with the original bytes.

pycrdt gives values, from which the content cannot be written again as it was: `null` and `undefined` are both None, a
number may have been one of three kinds, and some content cannot be read at all. This module therefore takes the bytes.
It finds the order of the items as Yjs does (`Item.integrate` in `src/structs/Item.js`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from streamlit_crdt_server.yjs.lib0 import Decoder
from streamlit_crdt_server.yjs.pacing import PAUSE_EVERY, pause
from streamlit_crdt_server.yjs.update_decoder import Parent, Unit, UpdateDecoder

COLLECTED, DELETED, BINARY, STRING, EMBED, FORMAT, TYPE, ANY, SKIPPED = 0, 1, 3, 4, 5, 6, 7, 8, 10
ARRAY_TYPE, MAP_TYPE, TEXT_TYPE = 0, 1, 2

_IN_TEXT, _IN_ARRAY = frozenset({STRING, EMBED, FORMAT}), frozenset({BINARY, ANY})
_COPYABLE = frozenset({COLLECTED, DELETED, BINARY, STRING, EMBED, FORMAT, TYPE, ANY})
_COPYABLE_TYPES = frozenset({ARRAY_TYPE, MAP_TYPE, TEXT_TYPE})


class NotCopyableError(Exception):
    """Raised for a document with content that cannot be copied faithfully. Its text names the content."""


@dataclass(slots=True, eq=False)
class Item:
    """A struct, or a part of one that an insertion split.

    Attributes:
        replica, clock, end: Its units: `end` is the clock after the last one.
        kind: The kind of its content.
        left, right: The neighbors at its insertion.
        parent: Name or id of its parent. None until it is found.
        key: Its key if it is an entry of a map.
        content: The bytes after its length, or all bytes of a content without a length.
        skip: Units of `content` before the first one of this item.
        next: The item behind it.
    """

    replica: int
    clock: int
    end: int
    kind: int
    left: Unit | None
    right: Unit | None
    parent: Unit | str | None
    key: str | None
    content: bytes
    skip: int = 0
    next: Item | None = None
    is_deleted: bool = False

    @property
    def unit(self) -> Unit:
        return self.replica, self.clock


@dataclass(slots=True)
class Branch:
    """The visible items of a shared type: of its sequence, in order, and of its map.

    Attributes:
        type_kind: Its kind, None for a root type whose content does not tell it.
    """

    items: list[Item] = field(default_factory=list)
    entries: dict[str, Item] = field(default_factory=dict)

    @property
    def is_text(self) -> bool:
        return any(item.kind in _IN_TEXT for item in self.items)


def read_visible(state: bytes) -> dict[Unit | str, Branch]:
    """Return the visible content of a document by the name of each root type, and the id of each nested one.

    Args:
        state: The whole state, as a document without pending structs encodes it.

    Raises:
        NotCopyableError: The document has XML, a subdocument, or other content that is not copied.
        ValueError: The state is not well formed.
    """
    decoder = _ItemDecoder(state)
    decoder.decode()
    _mark_deleted(decoder)
    return _Integration(decoder.items).branches()


class _ItemDecoder(UpdateDecoder):
    """A decoder that collects the items per replica id."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.items: dict[int, list[Item]] = {}
        self._parent: Parent | None = None
        self._type_kind = -1

    def read_struct(self) -> int:
        start = self._at
        information = self._bytes[start]
        kind = information & 0x1F
        self._parent = None
        length = super().read_struct()
        if information == SKIPPED or kind not in _COPYABLE:
            raise NotCopyableError("a gap" if information == SKIPPED else f"content of type {kind}")
        if kind == TYPE and self._bytes[self._content_at] not in _COPYABLE_TYPES:
            raise NotCopyableError("XML")
        left, right = self._neighbors(start, information)
        parent, key = self._parent or (None,), None
        if len(parent) == 2:
            key = str(parent[1])
        self.items.setdefault(self._replica, []).append(
            Item(
                self._replica,
                self._clock,
                self._clock + length,
                kind,
                left,
                right,
                parent[0],
                key,
                self._take_content(kind),
                is_deleted=kind in (COLLECTED, DELETED),
            )
        )
        return length

    def _neighbors(self, start: int, information: int) -> tuple[Unit | None, Unit | None]:
        cursor = Decoder(self._bytes, start + 1)
        left = (cursor.read_varuint(), cursor.read_varuint()) if information & 0x80 else None
        right = (cursor.read_varuint(), cursor.read_varuint()) if information & 0x40 else None
        return left, right

    def _take_content(self, kind: int) -> bytes:
        if kind in (COLLECTED, DELETED):
            return b""
        at = self._content_at
        if kind in (STRING, ANY):
            while self._bytes[at] & 0x80:
                at += 1
            at += 1
        return self._bytes[at : self._at]

    def _read_parent(self, has_key: bool) -> Parent:
        self._parent = super()._read_parent(has_key)
        return self._parent


def _mark_deleted(decoder: _ItemDecoder) -> None:
    """Mark the items of the delete set, which consists of whole items in an encoded state."""
    flat = decoder.meta.deletions
    by_replica: dict[int, list[tuple[int, int]]] = {}
    for replica, start, end in zip(flat[::3], flat[1::3], flat[2::3], strict=True):
        by_replica.setdefault(replica, []).append((start, end))
    for replica, ranges in by_replica.items():
        items = decoder.items.get(replica, [])
        at = 0
        for start, end in sorted(ranges):
            while at < len(items) and items[at].end <= start:
                at += 1
            while at < len(items) and items[at].clock < end:
                item = items[at]
                if item.clock < start or item.end > end:
                    if not item.is_deleted:
                        raise NotCopyableError("a struct that is deleted in part")
                    break
                item.is_deleted = True
                at += 1


class _Integration:
    """The items of all replica ids in the order of their shared types."""

    def __init__(self, items: dict[int, list[Item]]) -> None:
        self._queues = items
        self._positions = dict.fromkeys(items, 0)
        self._placed: dict[int, list[Item]] = {replica: [] for replica in items}
        self._starts: dict[Unit | str, Item] = {}
        self._entries: dict[tuple[Unit | str, str], Item] = {}
        self._types: set[Unit] = set()
        self._count = 0

    def branches(self) -> dict[Unit | str, Branch]:
        for replica in self._queues:
            self._place_all(replica)
        found: dict[Unit | str, Branch] = {}
        for parent, start in self._starts.items():
            branch = found.setdefault(parent, Branch())
            item: Item | None = start
            while item is not None:
                if not item.is_deleted:
                    branch.items.append(item)
                item = item.next
        for (parent, key), item in self._entries.items():
            found.setdefault(parent, Branch()).entries[key] = item
        return {parent: _checked(branch) for parent, branch in found.items() if self._is_visible(parent)}

    def _is_visible(self, parent: Unit | str) -> bool:
        return isinstance(parent, str) or parent in self._types

    def _place_all(self, replica: int) -> None:
        """Place the items of a replica, and before each the items that it depends on."""
        waiting = {replica: len(self._queues[replica])}
        while waiting:
            replica, target = next(reversed(waiting.items()))
            position = self._positions[replica]
            if position >= target:
                del waiting[replica]
                continue
            item = self._queues[replica][position]
            missing = self._find_missing(item)
            if missing is None:
                self._positions[replica] = position + 1
                self._place(item)
            elif missing[0] in waiting:
                raise NotCopyableError("structs that depend on each other in a circle")
            else:
                waiting[missing[0]] = self._position_of(missing) + 1

    def _find_missing(self, item: Item) -> Unit | None:
        parent = item.parent if isinstance(item.parent, tuple) else None
        for unit in (item.left, item.right, parent):
            if unit is not None and not self._is_placed(unit):
                return unit
        return None

    def _is_placed(self, unit: Unit) -> bool:
        placed = self._placed.get(unit[0])
        return bool(placed) and placed[-1].end > unit[1]  # type: ignore[index]

    def _position_of(self, unit: Unit) -> int:
        """Return the index of the struct with a unit in its queue."""
        queue = self._queues.get(unit[0], [])
        index = _find(queue, unit[1])
        if index is None:
            raise NotCopyableError("a struct that depends on a missing one")
        return index

    def _place(self, item: Item) -> None:
        self._count += 1
        if not self._count % PAUSE_EVERY:
            pause()
        left = None if item.left is None else self._item_ending_at(item.left)
        right = None if item.right is None else self._item_beginning_at(item.right)
        self._placed[item.replica].append(item)
        neighbors = [each for each in (left, right) if each is not None]
        if neighbors and all(each.parent is not None for each in neighbors):
            item.parent, item.key = neighbors[0].parent, neighbors[0].key
        elif neighbors:
            item.parent = None
        if item.parent is None:
            if not item.is_deleted:
                raise NotCopyableError("a struct whose parent is unknown")
            return
        if item.kind == TYPE and not item.is_deleted:
            self._types.add(item.unit)
        if item.key is None:
            self._insert(item, left, right)
        elif not item.is_deleted:
            if (item.parent, item.key) in self._entries:
                raise NotCopyableError("two values of one key")
            self._entries[item.parent, item.key] = item

    def _insert(self, item: Item, left: Item | None, right: Item | None) -> None:
        """Insert an item into its sequence, as Yjs does if several were inserted at one place."""
        assert item.parent is not None
        other = left.next if left is not None else self._starts.get(item.parent)
        if other is not right:
            conflicting: set[int] = set()
            before_origin: set[int] = set()
            while other is not None and other is not right:
                before_origin.add(id(other))
                conflicting.add(id(other))
                if item.left == other.left:
                    if other.replica < item.replica:
                        left = other
                        conflicting.clear()
                    elif item.right == other.right:
                        break
                elif (
                    other.left is not None and id(origin := self._item_ending_at(other.left)) in before_origin
                ):
                    if id(origin) not in conflicting:
                        left = other
                        conflicting.clear()
                else:
                    break
                other = other.next
        if left is None:
            item.next = self._starts.get(item.parent)
            self._starts[item.parent] = item
        else:
            item.next, left.next = left.next, item

    def _item_ending_at(self, unit: Unit) -> Item:
        """Return the item whose last unit is `unit`. An item that goes on behind it is split."""
        index, item = self._find_placed(unit)
        return item if item.end == unit[1] + 1 else self._split(index, item, unit[1] + 1)[0]

    def _item_beginning_at(self, unit: Unit) -> Item:
        index, item = self._find_placed(unit)
        return item if item.clock == unit[1] else self._split(index, item, unit[1])[1]

    def _find_placed(self, unit: Unit) -> tuple[int, Item]:
        placed = self._placed[unit[0]]
        index = _find(placed, unit[1])
        assert index is not None
        return index, placed[index]

    def _split(self, index: int, item: Item, clock: int) -> tuple[Item, Item]:
        if item.kind == COLLECTED:  # it has no place in a sequence
            return item, item
        rest = Item(
            item.replica,
            clock,
            item.end,
            item.kind,
            (item.replica, clock - 1),
            item.right,
            item.parent,
            item.key,
            item.content,
            item.skip + clock - item.clock,
            item.next,
            item.is_deleted,
        )
        item.end, item.next = clock, rest
        self._placed[item.replica].insert(index + 1, rest)
        return item, rest


def _find(items: Sequence[Item], clock: int) -> int | None:
    """Return the index of the item with a clock, by bisection."""
    low, high = 0, len(items)
    while low < high:
        middle = (low + high) // 2
        if items[middle].end <= clock:
            low = middle + 1
        else:
            high = middle
    return low if low < len(items) and items[low].clock <= clock else None


def _checked(branch: Branch) -> Branch:
    """Raise NotCopyableError if the content is that of no single type, such as characters among list items."""
    kinds = {item.kind for item in branch.items}
    if kinds & _IN_TEXT and kinds & _IN_ARRAY:
        raise NotCopyableError("characters among the items of a list")
    if branch.items and branch.entries:
        raise NotCopyableError("a sequence with attributes")
    return branch
