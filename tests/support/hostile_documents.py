"""Content that no client writes: every kind of struct in every kind of container, and random documents.

`python -m tests.support.hostile_documents matrix` and `... random SEED FIRST COUNT IN_ORDER` apply, read, edit and
encode such content in this process, and print the number of each trial before it. The process may crash or hang:
`watch` runs it as a child with a time limit.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from random import Random
from typing import Any

from pycrdt import Doc, Map

from streamlit_crdt.document.json_state import state_of
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.errors import CrdtError
from streamlit_crdt.merge import RULES
from streamlit_crdt_server.errors import ServerError
from streamlit_crdt_server.yjs.lib0 import encode_bytes, encode_varuint
from streamlit_crdt_server.yjs.nesting import MAX_NESTING, depths_of
from streamlit_crdt_server.yjs.safe_apply import apply_update, read_state, validate_update

Unit = tuple[int, int]
AUTHOR = 5

HANG_S = 60.0
"""Time limit of one trial in seconds. A trial takes milliseconds."""


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


def matrix() -> Iterator[tuple[str, list[bytes]]]:
    """Yield each content in each container."""
    for container in (*CONTAINERS, *NESTED_CONTAINERS):
        for name, content in CONTENTS.items():
            yield f"{name} in {container}", [in_container(container, content)]


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


def random_documents(
    seed: int, first: int, count: int, in_order: int = 0
) -> Iterator[tuple[str, list[bytes]]]:
    """Yield random documents. The number of a document determines it."""
    for number in range(first, first + count):
        document = RandomDocument(Random(f"{seed} {number}"), in_order=bool(in_order))
        yield f"seed {seed}, document {number}", document.updates()


def use(updates: Sequence[bytes]) -> None:
    """Apply updates to a room's document and to a replica; read, edit, undo, delete and encode everything."""
    _use_room_document(updates)
    replica = Replica()
    replica.set("other", 1)
    for update in updates:
        with suppress(CrdtError):
            replica.apply(update)
        _read(replica)
    assert "other" in replica and replica.get("other") == 1
    _edit(replica)
    replica.set("other", 2)
    peer = Replica()
    peer.apply(replica.diff())
    assert peer.get("other") == 2
    _read(peer)


def _use_room_document(updates: Sequence[bytes]) -> None:
    ydoc: Doc[Any] = Doc()
    depths_of(ydoc).max_nesting = MAX_NESTING
    for update in updates:
        with suppress(ServerError):
            apply_update(ydoc, validate_update(update).data)
        read_state(ydoc)
    copy: Doc[Any] = Doc()
    copy.apply_update(read_state(ydoc))
    for name in ("state", "map:k"):
        shared = copy.get(name, type=Map)
        with copy.transaction() as transaction:
            for key in shared.integrated.keys(transaction._txn):
                with suppress(KeyError):
                    shared.integrated.remove(transaction._txn, key)
    copy.get_update()


def _read(replica: Replica) -> None:
    dict(replica.items())
    dict(replica.events)
    for name in replica.snapshots():
        replica.snapshot(name)
    with suppress(CrdtError):
        state_of(replica.stored())


_EDITS: Mapping[type, tuple[str, Any]] = {
    list: ("list", lambda value: [*value, 5]),
    str: ("text", lambda value: value + "z"),
    dict: ("map", lambda value: {**value, "z": 1}),
    set: ("set", lambda value: value | {5}),
    int: ("counter", lambda value: value + 1),
}


def _edit(replica: Replica) -> None:
    for key in set(replica.keys()) - {"other"}:
        replica.begin_group()
        with suppress(CrdtError):
            value = replica.get(key)
            if type(value) in _EDITS:
                rule, change = _EDITS[type(value)]
                replica.edit(key, value, change(value), RULES[rule])
        replica.undo()
        replica.redo()
        replica.begin_group()
        replica.delete(key)
        replica.undo()
        _read(replica)
        replica.set(key, 3)
        replica.undo()
        replica.delete(key)
    _read(replica)


@dataclass(frozen=True, slots=True)
class Watched:
    """Result of a child: the number of finished trials, and the trial in which it ended or hung."""

    tried: int
    failures: Sequence[str]


def watch(arguments: Sequence[str]) -> Watched:
    """Run this module as a child. It ends itself if a trial takes longer than `HANG_S`."""
    child = subprocess.run([sys.executable, "-m", __name__, *arguments], capture_output=True, text=True)
    trials = child.stdout.splitlines()
    if child.returncode == 0:
        return Watched(len(trials), [])
    last = trials[-1] if trials else "start"
    return Watched(max(len(trials) - 1, 0), [f"{last}: exit code {child.returncode}\n{child.stderr[-3000:]}"])


def fuzz(seed: int, budget_s: float, max_documents: int, *, in_order: bool = False) -> Watched:
    """Try random documents until the time or their number is reached. A failed one is reported and skipped."""
    ends_at, tried, failures = time.monotonic() + budget_s, 0, list[str]()
    while tried < max_documents and time.monotonic() < ends_at:
        count = min(50, max_documents - tried)
        result = watch(["random", str(seed), str(tried), str(count), str(int(in_order))])
        failures += result.failures
        tried += result.tried + len(result.failures)
    return Watched(tried, failures)


def main(mode: str, *numbers: str) -> None:
    import faulthandler

    logging.disable()
    trials = matrix() if mode == "matrix" else random_documents(*map(int, numbers))
    for name, updates in trials:
        print(name, flush=True)
        faulthandler.dump_traceback_later(HANG_S, exit=True)
        use(updates)
    faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    main(*sys.argv[1:])
