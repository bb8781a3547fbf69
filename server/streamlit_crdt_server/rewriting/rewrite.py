"""A fresh document with the visible content of another one.

The content keeps its bytes. All of it has one replica id, and nothing that was deleted or overwritten is in it.
"""

from __future__ import annotations

import json
import math
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from struct import Struct, unpack
from typing import Any

from anyio import to_thread
from pycrdt import Array, Doc, Map, Text

from streamlit_crdt_server.rewriting.visible_items import (
    ANY,
    STRING,
    TYPE,
    Branch,
    Item,
    NotCopyableError,
    read_visible,
)
from streamlit_crdt_server.yjs.lib0 import Decoder, encode_bytes, encode_varuint
from streamlit_crdt_server.yjs.pacing import PAUSE_EVERY, Pacer, WorkEndedError, paced, pause
from streamlit_crdt_server.yjs.update_decoder import Unit

_HAS_LEFT, _HAS_KEY = 0x80, 0x20
_COUNTER = "counter:"
"""Prefix of the root maps of Streamlit sessions that have a sum for each replica id. Their total counts only."""

_MAX_SUM = 2**53 - 1
_INTEGER, _FLOAT32, _FLOAT64 = 125, 124, 123
_DOUBLE = Struct(">d")
_TURNS = threading.Lock()


async def rewrite_off_loop(state: bytes, *, is_over: Callable[[], bool]) -> bytes | None:
    """Call `rewrite_state` in a thread that works in short turns. Return None if `is_over()` became true.

    Raises:
        NotCopyableError: See `rewrite_state`.
    """
    pacer = Pacer(_TURNS, math.inf, is_over)

    def work() -> bytes:
        with paced(pacer):
            return rewrite_state(state)

    try:
        return await to_thread.run_sync(work)
    except WorkEndedError:
        return None


def rewrite_state(state: bytes) -> bytes:
    """Return a fresh document with the visible content of `state`. Takes about 10 us per struct; any thread.

    Raises:
        NotCopyableError: Some of the content cannot be copied faithfully.
        ValueError: The state is not well formed.
    """
    branches = read_visible(state)
    writer = _Writer(branches, secrets.randbits(53) | 1 << 52)
    names = sorted(name for name in branches if isinstance(name, str))
    for name in names:
        writer.write_branch(name)
    fresh = writer.encode()
    _check_equal(state, fresh, branches)
    return fresh


class _Writer:
    """The structs of the fresh document, all of one replica id."""

    def __init__(self, branches: Mapping[Unit | str, Branch], replica: int) -> None:
        self._branches = branches
        self._replica = replica
        self._parts: list[bytes] = []
        self._structs = 0
        self._clock = 0

    def encode(self) -> bytes:
        if not self._structs:
            return b"\0\0"
        head = (1, self._structs, self._replica, 0)
        return b"".join((*map(encode_varuint, head), *self._parts, b"\0"))

    def write_branch(self, name: str) -> None:
        """Write a root type with everything in it."""
        waiting: list[tuple[Unit | str, bytes]] = [(name, b"\1" + encode_bytes(name.encode()))]
        while waiting:
            parent, encoded = waiting.pop()
            branch = self._branches.get(parent, Branch())
            total = _total(branch) if isinstance(parent, str) and parent.startswith(_COUNTER) else None
            if total is not None:
                key = encode_bytes(str(self._replica).encode())
                self._add(ANY | _HAS_KEY, encoded + key, encode_varuint(1) + total, 1)
                continue
            for key_text, item in sorted(branch.entries.items()):
                place = encoded + encode_bytes(key_text.encode())
                self._add_type_of(item, waiting)
                self._add(item.kind | _HAS_KEY, place, _encode_content([item]), 1)
            self._write_sequence(branch.items, encoded, waiting)

    def _write_sequence(
        self, items: Sequence[Item], parent: bytes, waiting: list[tuple[Unit | str, bytes]]
    ) -> None:
        at = 0
        while at < len(items):
            end = at + 1
            while end < len(items) and items[at].kind == items[end].kind and items[at].kind in (STRING, ANY):
                end += 1
            self._add_type_of(items[at], waiting)
            length = sum(item.end - item.clock for item in items[at:end])
            left = self._last_unit() if at else b""
            self._add(
                items[at].kind | (_HAS_LEFT if at else 0),
                left or parent,
                _encode_content(items[at:end]),
                length,
            )
            at = end

    def _last_unit(self) -> bytes:
        return encode_varuint(self._replica) + encode_varuint(self._clock - 1)

    def _add_type_of(self, item: Item, waiting: list[tuple[Unit | str, bytes]]) -> None:
        """Schedule the content of the shared type that the next struct is."""
        if item.kind == TYPE:
            encoded = b"\0" + encode_varuint(self._replica) + encode_varuint(self._clock)
            waiting.append((item.unit, encoded))

    def _add(self, information: int, place: bytes, content: bytes, length: int) -> None:
        self._parts += (bytes((information,)), place, content)
        self._structs += 1
        self._clock += length
        if not self._structs % PAUSE_EVERY:
            pause()


def _encode_content(items: Sequence[Item]) -> bytes:
    kind = items[0].kind
    if kind == STRING:
        return encode_bytes(_text_of(items))
    if kind == ANY:
        count = sum(item.end - item.clock for item in items)
        return encode_varuint(count) + b"".join(map(_values_of, items))
    return items[0].content


def _text_of(items: Sequence[Item]) -> bytes:
    """Return the text of items as UTF-8. A unit is a UTF-16 code unit."""
    parts = []
    for item in items:
        encoded = item.content.decode().encode("utf-16-le")
        parts.append(encoded[2 * item.skip : 2 * (item.skip + item.end - item.clock)])
    try:
        return b"".join(parts).decode("utf-16-le").encode()
    except UnicodeDecodeError:
        raise NotCopyableError("half a surrogate pair") from None


def _values_of(item: Item) -> bytes:
    cursor = Decoder(item.content)
    for _ in range(item.skip):
        cursor.skip_any()
    start = cursor.position
    for index in range(item.end - item.clock):
        cursor.skip_any()
        if not index % PAUSE_EVERY:
            pause()
    return item.content[start : cursor.position]


def _total(branch: Branch) -> bytes | None:
    """Return the encoded sum of a counter, or None if it has less than two entries or entries other than numbers.

    The entries are added in the order of `CounterRule.value`, so that a sum of floats stays the same to its last digit.
    """
    if branch.items or len(branch.entries) < 2:
        return None
    numbers = dict[str, float]()
    for name, item in sorted(branch.entries.items()):
        number = _number_of(item)
        if number is None:
            return None
        numbers[name] = number
    total = _sum_after_resets(numbers)
    if isinstance(total, int):
        return bytes((_INTEGER,)) + _encode_signed(total) if abs(total) <= _MAX_SUM else None
    return None if total.is_integer() or total - total else bytes((_FLOAT64,)) + _DOUBLE.pack(total)


def _sum_after_resets(numbers: Mapping[str, float]) -> float:
    """Return the value of a counter. An entry `-NAME:SUM` is what a reset takes off the entry NAME."""
    taken = dict[str, float]()
    for name, number in numbers.items():
        if name.startswith("-"):
            entry = name[1:].rpartition(":")[0]
            taken[entry] = max(taken.get(entry, 0), -number, key=abs)
    total: float = 0
    for name, number in numbers.items():
        if not name.startswith("-"):
            total += number - taken.get(name, 0) if abs(number) > abs(taken.get(name, 0)) else 0
    return total


def _number_of(item: Item) -> float | None:
    """Return the number of an entry, None if it has none. pycrdt encodes ints as floats: an integral one is an int."""
    content = item.content
    if item.kind != ANY or item.skip or not content:
        return None
    if content[0] == _INTEGER:
        return _decode_signed(content[1:])
    if content[0] not in (_FLOAT32, _FLOAT64):
        return None
    number: float = unpack(">f" if content[0] == _FLOAT32 else ">d", content[1:])[0]
    return int(number) if number.is_integer() else number


def _decode_signed(content: bytes) -> int:
    """Decode lib0's integers: a sign bit and six bits in the first byte, seven bits in each other one."""
    number, shift = content[0] & 0x3F, 6
    for byte in content[1:]:
        number |= (byte & 0x7F) << shift
        shift += 7
    return -number if content[0] & 0x40 else number


def _encode_signed(number: int) -> bytes:
    rest = abs(number)
    encoded = bytearray((rest & 0x3F | (0x40 if number < 0 else 0) | (0x80 if rest > 0x3F else 0),))
    rest >>= 6
    while rest:
        encoded.append(rest & 0x7F | (0x80 if rest > 0x7F else 0))
        rest >>= 7
    return bytes(encoded)


def _check_equal(state: bytes, fresh: bytes, branches: Mapping[Unit | str, Branch]) -> None:
    """Raise NotCopyableError unless pycrdt reads the same content from both documents.

    The order of concurrent insertions is computed in this package and in pycrdt; a difference must not reach a room.
    """
    before, after = Doc[Any](), Doc[Any]()
    before.apply_update(state)
    after.apply_update(fresh)
    for name, branch in branches.items():
        if isinstance(name, str) and not (name.startswith(_COUNTER) and _total(branch) is not None):
            pause()
            if _read(before, name, branch) != _read(after, name, branch):
                raise NotCopyableError(f"the root type {name!r}")


def _read(doc: Doc[Any], name: str, branch: Branch) -> Any:
    """Return the content of a root type in a comparable form. `read_visible` excludes what pycrdt cannot read."""
    if branch.is_text:
        text = doc.get(name, type=Text)
        return str(text), [(type(part), attributes) for part, attributes in text.diff()]
    shared = doc.get(name, type=Map if branch.entries else Array)
    with doc.transaction() as transaction:
        return json.loads(shared.integrated.to_json(transaction._txn))
