"""Trials of hostile room files and snapshots: each is loaded as a whole, or refused and changes nothing (rule N2).

A file is an export of a room with every type of value, of which some parts are replaced, repeated, moved or damaged.
`python -m tests.support.hostile_trials files SEED FIRST COUNT` runs trials, see there.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

from pycrdt import Doc, Map

from streamlit_crdt import CrdtError, Room, RoomFileError
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.document.stored_snapshots import StoredSnapshot
from streamlit_crdt.merge import RULES
from streamlit_crdt.room.session_membership import DetachedMembership
from tests.codec.test_values import SAMPLES
from tests.support.hostile_documents import RandomDocument

MAX_MUTATIONS = 4

TEXTS = (
    "",
    "$int",
    "$rule",
    "text",
    "counter",
    "9" * 400,
    "\ud800",
    "a\0b",
    "2026-01-02T03:04:05+00:00",
    "k" * 3000,
)
LEAVES: tuple[Any, ...] = (None, True, -0.0, 10**30, -1, 2**53, 1e300, 0.5, [], {}, *TEXTS)
PAYLOADS: tuple[Any, ...] = (*LEAVES, [1, 2], ["<f8", [10**9], {"$bytes": ""}], [[1, 2]], {"$bytes": "AAAA"})


@dataclass(frozen=True, slots=True)
class File:
    """A file to load, or the stored form of a snapshot to restore."""

    name: str
    data: str | bytes
    is_snapshot: bool = False


def replica_of(room: Room) -> Replica:
    replica = room._membership.replica
    assert isinstance(replica, Replica)
    return replica


def new_room() -> Room:
    return Room("planning", DetachedMembership())


@cache
def exports() -> tuple[str, bytes, str]:
    """Return a room with each type of value: as JSON, as a Yjs document, and as the text of a snapshot."""
    room = new_room()
    for number, value in enumerate(SAMPLES):
        room.state[f"v{number}"] = value
    replica = replica_of(room)
    for rule, value in {
        "list": [1, (2,)],
        "text": "a👍é",
        "map": {"b": {1: 2}},
        "set": {1, "1"},
        "counter": 3,
    }.items():
        replica.edit(rule, None, value, RULES[rule])
    room.snapshots.save("first")
    stored = replica.snapshot("first")
    assert stored is not None
    as_json, as_update = room.export(), room.export("yjs")
    assert isinstance(as_json, str) and isinstance(as_update, bytes)
    return as_json, as_update, stored.text()


class Mutator:
    """Random changes of JSON, of texts and of bytes."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def json(self, text: str) -> str:
        """Return JSON text with some nodes replaced, removed, renamed, repeated or moved."""
        tree = json.loads(text)
        for _ in range(self._random.randint(1, MAX_MUTATIONS)):
            self._change(self._random.choice([tree, *containers(tree)]))
        return json.dumps(tree, ensure_ascii=self._random.random() < 0.5)

    def _change(self, node: Any) -> None:
        random = self._random
        if not node:
            return
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = random.choice(keys)
        match random.randrange(6):
            case 0:
                del node[key]
            case 1 if isinstance(node, dict):
                node[random.choice([*TEXTS, *map(str, keys)])] = node.pop(key)
            case 2:
                node[key] = node[random.choice(keys)]
            case 3:
                node[key] = [node[key]] * random.choice((1, 2, 50))
            case 4:
                node[key] = self._deep(random.choice((3, 64, 66, 400)))
            case _:
                name = random.choice(
                    ("$int", "$float", "$tuple", "$set", "$dict", "$bytes", "$rule", "$nonsense")
                )
                node[key] = random.choice((random.choice(LEAVES), {name: random.choice(PAYLOADS)}))

    def _deep(self, depth: int) -> Any:
        value: Any = 1
        for _ in range(depth):
            value = [value] if self._random.random() < 0.5 else {"a": value}
        return value

    def bytes(self, content: bytes) -> bytes:
        """Return bytes of which some are changed, removed, repeated, or replaced by others of the same content."""
        damaged = bytearray(content)
        for _ in range(self._random.randint(1, MAX_MUTATIONS)):
            at, size = self._random.randrange(len(damaged)), self._random.choice((1, 1, 4, 100))
            start = self._random.randrange(len(damaged))
            part = (self._random.randbytes(size), b"", bytes(damaged[start : start + size]), b"\xff" * size)
            damaged[at : at + self._random.choice((0, size))] = self._random.choice(part)
            damaged = damaged or bytearray(b"\0")
        return bytes(damaged)

    def packed(self, text: str) -> bytes:
        """Return a compressed text: changed before or after the compression, or one that expands without end."""
        match self._random.randrange(5):
            case 0:
                return self.bytes(zlib.compress(text.encode()))
            case 1:
                return zlib.compress(self.bytes(text.encode()))
            case 2:
                return zlib.compress(b'{"a":"' + b"x" * 2**25 + b'"}')
            case _:
                return zlib.compress(self.json(text).encode("utf-8", "surrogatepass"))


def random_files(seed: int, first: int, count: int) -> Iterator[File]:
    """Yield random files. The number of a file determines it."""
    for number in range(first, first + count):
        yield _random_file(f"seed {seed}, file {number}")


def _random_file(name: str) -> File:
    as_json, as_update, snapshot = exports()
    random = Random(name)
    mutator = Mutator(random)
    match random.randrange(5):
        case 0:
            return File(name, mutator.json(as_json))
        case 1:
            return File(name, mutator.bytes(as_json.encode()))
        case 2:
            return File(name, mutator.bytes(as_update))
        case 3:
            return File(name, _with_structs(as_update, random))
        case _:
            return File(name, mutator.packed(snapshot), is_snapshot=True)


def _with_structs(update: bytes, random: Random) -> bytes:
    """Return a room with the structs of a hostile document, and with snapshots of odd types."""
    document: Doc[Any] = Doc()
    document.apply_update(update)
    for part in RandomDocument(random, in_order=True).updates():
        with suppress(Exception):
            document.apply_update(part)
    stored = {
        "when": random.choice(TEXTS[-2:]),
        "who": random.choice(("", 1)),
        "state": random.choice((b"", 1)),
    }
    document.get("snapshots", type=Map)[random.choice(("s", "first"))] = stored
    return document.get_update()


def use_file(file: File) -> None:
    """Load a file, or restore a snapshot. Then save, export, load and restore everything in the room."""
    room = new_room()
    room.state["mine"] = 7
    room.snapshots.save("mine")
    if file.is_snapshot:
        assert isinstance(file.data, bytes)
        replica_of(room).set_snapshot("odd", StoredSnapshot("2026-01-02T03:04:05+00:00", "Eve", file.data))
    before, names = dict(room.state), set(room.snapshots)
    try:
        room.snapshots.restore("odd") if file.is_snapshot else room.load(file.data)
    except CrdtError as error:
        assert file.is_snapshot or isinstance(error, RoomFileError)
        assert dict(room.state) == before and set(room.snapshots) == names, error
        assert len(str(error)) < 1000
    for format in ("json", "yjs"):
        copy = new_room()
        copy.load(room.export(format))  # type: ignore[arg-type]
        assert copy.state.keys() == room.state.keys()
        for snapshot in list(copy.snapshots):
            with suppress(CrdtError):
                copy.snapshots.restore(snapshot)
    room.state["mine"] = 8
    room.snapshots.restore("mine")
    assert dict(room.state) == {"mine": 7}


def containers(tree: Any) -> Iterator[Any]:
    """Yield every list and dict in a tree, with those that are far from the root."""
    for child in tree.values() if isinstance(tree, dict) else tree:
        if isinstance(child, list | dict):
            yield child
            yield from containers(child)
