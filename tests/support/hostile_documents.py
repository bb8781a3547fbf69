"""Content that no client writes: every kind of struct in every kind of container, and random documents.

`hostile_trials` applies, reads and edits them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from random import Random

from streamlit_crdt_server.yjs.lib0 import encode_bytes, encode_varuint
from streamlit_crdt_server.yjs.nesting import MAX_NESTING

Unit = tuple[int, int]
AUTHOR = 5


def text(value: str) -> bytes:
    return encode_bytes(value.encode())


@dataclass(frozen=True, slots=True)
class Content:
    """Content of a struct: its number in the encoding, its bytes, and its length in units."""

    number: int
    body: bytes
    units: int = 1


CONTENTS: Mapping[str, Content] = {
    "deleted": Content(1, b"\2", 2),
    "JSON": Content(2, b"\2" + text("1") + text('{"a":1}'), 2),
    "JSON undefined": Content(2, b"\1" + text("undefined")),
    "binary": Content(3, b"\2ab"),
    "ASCII text": Content(4, text("xy"), 2),
    "text": Content(4, text("éß"), 2),
    "astral text": Content(4, text("x😀y"), 4),
    "embed": Content(5, text('{"i":1}')),
    "deep embed": Content(5, text(100 * "[" + 100 * "]")),
    "embed null": Content(5, text("null")),
    "format": Content(6, text("bold") + text("true")),
    "value": Content(8, b"\1\x7d\7"),
    "undefined": Content(8, b"\2\x7f\x7d\1", 2),
    "bigint": Content(8, b"\1\x7a" + 8 * b"\x7f"),
    "huge integer": Content(8, b"\1\x7d\xbf" + 7 * b"\xff" + b"\1"),
    "NaN": Content(8, b"\1\x7b\x7f\xf8" + 6 * b"\0"),
    "map value": Content(8, b"\1\x76\1" + text("k") + b"\x7d\1"),
    "deep value": Content(8, b"\1" + 250 * b"\x75\1" + b"\x7d\1"),
    "subdocument": Content(9, text("guid") + b"\x76\0"),
    "array": Content(7, b"\0"),
    "map": Content(7, b"\1"),
    "nested text": Content(7, b"\2"),
    "XML element": Content(7, b"\3" + text("p")),
    "XML fragment": Content(7, b"\4"),
    "XML hook": Content(7, b"\5" + text("h")),
    "XML text": Content(7, b"\6"),
    "weak link": Content(7, b"\7\0\5\0"),
    "move": Content(11, b"\0\5\0\0"),
}
"""Each kind of content that an encoding can have, and those that pycrdt or Yjs read differently."""

UNSUPPORTED = ("JSON", "JSON undefined", "XML hook", "weak link", "move")
"""Contents that every update is refused for."""

SUPPORTED = [content for name, content in CONTENTS.items() if name not in UNSUPPORTED]
TYPES = [content for content in SUPPORTED if content.number == 7]
CONTAINERS: Mapping[str, str] = {
    "list:k": "array", "text:k": "text", "map:k": "map", "set:k": "map", "counter:k": "map", "state": "map",
    "events": "map", "snapshots": "map",
}  # fmt: skip
"""Kind of each root type that a replica reads."""


@dataclass(frozen=True, slots=True)
class Struct:
    """A struct with its position: neighbors, or a parent, and a key if it is an entry of a map."""

    content: Content
    parent: Unit | str | None = None
    left: Unit | None = None
    right: Unit | None = None
    key: str | None = None

    def encode(self) -> bytes:
        information = self.content.number | (0x80 if self.left else 0) | (0x40 if self.right else 0)
        parts = [bytes([information | (0x20 if self.key is not None else 0)])]
        parts += [encode_varuint(number) for unit in (self.left, self.right) if unit for number in unit]
        if not (self.left or self.right):
            if isinstance(self.parent, str):
                parts += [b"\1", text(self.parent)]
            else:
                parts += [b"\0", *map(encode_varuint, self.parent or (0, 0))]
            if self.key is not None:
                parts.append(text(self.key))
        return b"".join((*parts, self.content.body))


def encode(
    blocks: Sequence[tuple[int, int, Sequence[Struct]]], deletions: Sequence[tuple[int, int, int]] = ()
) -> bytes:
    """Encode an update: replica id, first clock and structs of each block, and deletions with their lengths."""
    parts = [encode_varuint(len(blocks))]
    for replica, clock, structs in blocks:
        parts += [encode_varuint(len(structs)), encode_varuint(replica), encode_varuint(clock)]
        parts += [struct.encode() for struct in structs]
    parts.append(encode_varuint(len(deletions)))
    for replica, clock, length in deletions:
        parts += [encode_varuint(replica), b"\1", encode_varuint(clock), encode_varuint(length)]
    return b"".join(parts)


def in_container(container: str, content: Content) -> bytes:
    """Encode a root type, or a nested type of `state["n"]`, with a usual item, `content`, and a usual item."""
    structs, parent, clock = list[Struct](), container, 0
    kind = CONTAINERS.get(container, container)
    if container not in CONTAINERS:
        structs.append(Struct(CONTENTS["nested text" if kind == "text" else kind], "state", key="n"))
        clock = 1
    owner: Unit | str = parent if container in CONTAINERS else (AUTHOR, 0)
    usual = CONTENTS["ASCII text" if kind in ("text", "XML text") else "value"]
    if kind == "map":
        return encode(
            [
                (
                    AUTHOR,
                    0,
                    [
                        *structs,
                        *(
                            Struct(c, owner, key=k)
                            for k, c in zip("abc", (usual, content, usual), strict=True)
                        ),
                    ],
                )
            ]
        )
    structs.append(Struct(usual, owner))
    clock += usual.units
    structs.append(Struct(content, left=(AUTHOR, clock - 1)))
    structs.append(Struct(usual, left=(AUTHOR, clock + content.units - 1)))
    return encode([(AUTHOR, 0, structs)])


NESTED_CONTAINERS = ("array", "map", "text", "XML element", "XML fragment", "XML text")


@dataclass(frozen=True, slots=True)
class Document:
    """Updates of one document.

    Attributes:
        converges: Whether replicas read it alike, in whatever order its updates are merged. They may not if the two
            neighbors of a struct are in different root types.
    """

    name: str
    updates: Sequence[bytes]
    converges: bool = True


def matrix() -> Iterator[Document]:
    """Yield each content in each container."""
    for container in (*CONTAINERS, *NESTED_CONTAINERS):
        for name, content in CONTENTS.items():
            yield Document(f"{name} in {container}", [in_container(container, content)])


class RandomDocument:
    """Random structs of three replicas, which refer to each other, in several updates in random order."""

    def __init__(self, random: Random, *, in_order: bool) -> None:
        """Create a document.

        Args:
            random: Determines the document.
            in_order: Whether an update follows those that it depends on, and each parent is a shared type.
        """
        self._in_order = in_order
        self._random = random
        self._contents = list(CONTENTS.values()) if random.random() < 0.05 else SUPPORTED
        self._structs: list[tuple[int, int, Struct]] = []
        self._clocks = dict.fromkeys((1, 2, AUTHOR), 0)
        self._units: list[Unit] = []
        self._types: list[Unit] = []

    @property
    def converges(self) -> bool:
        """See `Document.converges`."""
        return not any(struct.left and struct.right for _, _, struct in self._structs)

    def updates(self) -> list[bytes]:
        """Return the updates."""
        random = self._random
        if random.random() < 0.2:
            self._add_chain(random.randrange(1, 4 * MAX_NESTING))
        for _ in range(random.randrange(1, 30)):
            self._add(self._struct())
        updates = list[bytes]()
        groups = groupby(self._structs, lambda each: each[0])
        for replica, group in groups:
            structs = list(group)
            while structs:
                count = random.randrange(1, len(structs) + 1)
                part, structs = structs[:count], structs[count:]
                block = (replica, part[0][1], [each for _, _, each in part])
                updates.append(encode([block], self._deletions(0.2)))
        updates.append(encode([], self._deletions()))
        if not self._in_order and random.random() < 0.5:
            random.shuffle(updates)
        return [self._damaged(update) if random.random() < 0.03 else update for update in updates]

    def _add(self, struct: Struct) -> None:
        replica = self._random.choice(list(self._clocks))
        clock = self._clocks[replica]
        self._structs.append((replica, clock, struct))
        self._clocks[replica] = clock + struct.content.units
        self._units += [(replica, clock), (replica, clock + struct.content.units - 1)]
        if struct.content.number == 7:
            self._types.append((replica, clock))

    def _add_chain(self, depth: int) -> None:
        self._add(Struct(self._random.choice(TYPES), self._root(), key=self._key()))
        for _ in range(depth - 1):
            self._add(Struct(self._random.choice(TYPES), self._types[-1], key=self._key()))

    def _struct(self) -> Struct:
        random = self._random
        content = random.choice(self._contents)
        if self._units and random.random() < 0.4:
            right = random.choice(self._units) if random.random() < 0.2 else None
            return Struct(content, left=random.choice(self._units[-6:]), right=right)
        parent: Unit | str = self._root()
        if self._types and random.random() < 0.6:
            parent = random.choice(self._types)
        elif self._units and not self._in_order and random.random() < 0.05:
            parent = random.choice(self._units)
        return Struct(content, parent, key=self._key())

    def _root(self) -> str:
        return self._random.choice(list(CONTAINERS))

    def _key(self) -> str | None:
        return self._random.choice((None, "a", "b", "k"))

    def _deletions(self, share: float = 1.0) -> list[tuple[int, int, int]]:
        if not self._units or self._random.random() > share:
            return []
        chosen = self._random.sample(self._units, min(len(self._units), self._random.randrange(4)))
        return [(replica, clock, self._random.randrange(1, 4)) for replica, clock in chosen]

    def _damaged(self, update: bytes) -> bytes:
        damaged = bytearray(update)
        damaged[self._random.randrange(len(damaged))] = self._random.randrange(256)
        return bytes(damaged)


def random_documents(seed: int, first: int, count: int, in_order: int = 0) -> Iterator[Document]:
    """Yield random documents. The number of a document determines it."""
    for number in range(first, first + count):
        document = RandomDocument(Random(f"{seed} {number}"), in_order=bool(in_order))
        updates = document.updates()
        yield Document(f"seed {seed}, document {number}", updates, document.converges)
