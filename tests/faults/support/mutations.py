"""Frames that follow the protocol and are wrong in one respect: structs, delete sets, vectors, presences, tokens.

An update is built of structs as Yjs encodes them, with random kinds, positions, parents and clocks. Few of them would
come from a client; most are well formed. Random bytes would be rejected by the first check.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pycrdt import Array, Doc, Map, Text

from streamlit_crdt_server import protocol
from streamlit_crdt_server.yjs.lib0 import encode_bytes, encode_varuint
from tests.server.support.expensive_updates import competing_structs

ROOTS = (b"state", b"text:note", b"list:items", b"map:m", b"unknown")
KEYS = (b"count", b"name", b"", b"\xf0\x9f\x91\x8d", b"k" * 200)
NUMBERS = (0, 1, 2, 127, 128, 2**14, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53 - 1, 2**53, 2**63, 2**64 - 1)


@dataclass(slots=True)
class Writer:
    """A random writer of updates. Replica ids of its structs are its own, those of their positions may be anybody's.

    Attributes:
        randomness: The seeded source of all choices.
        replica: The replica id of the next structs.
        clock: Its clock.
        known: Replica ids and clocks of other clients, whose units the structs refer to.
        clients: Updates of a real client.
        equivocates: Whether two structs may have one id and different content.
        deletes_ahead: Whether deletions may name units that do not exist yet.
    """

    randomness: random.Random
    replica: int
    clock: int = 0
    known: list[tuple[int, int]] = field(default_factory=list)
    clients: list[bytes] = field(default_factory=list)
    equivocates: bool = False
    deletes_ahead: bool = False

    def client_update(self) -> bytes:
        """Return an update of a real client, of one that is replaced from time to time."""
        if not self.clients or self.randomness.random() < 0.05:
            self.clients = client_updates(self.randomness)
        return self.randomness.choice(self.clients)

    def unit(self) -> bytes:
        """Return the id of a unit: of this writer, of another client, or of no client."""
        choice = self.randomness.random()
        if choice < 0.4 and self.clock:
            replica, clock = self.replica, self.randomness.randrange(self.clock)
        elif choice < 0.85 and self.known:
            replica, last = self.randomness.choice(self.known)
            clock = self.randomness.randrange(max(last, 1))
        else:
            replica, clock = self.randomness.randrange(2**32), self.number()
        return encode_varuint(replica) + encode_varuint(clock)

    def number(self) -> int:
        if self.randomness.random() < 0.96:
            return self.randomness.randrange(20)
        return self.randomness.choice(NUMBERS)

    def struct(self) -> tuple[bytes, int]:
        """Return a struct and its length in units."""
        kind = self.randomness.choices(range(12), (1, 3, 1, 2, 10, 2, 2, 6, 14, 1, 1, 0.1))[0]
        content, length = self.content(kind)
        if kind in (0, 10):
            return bytes([kind]) + content, length
        flags, position = 0, b""
        if self.randomness.random() < 0.5:
            flags, position = flags | 0x80, position + self.unit()
        if self.randomness.random() < 0.3:
            flags, position = flags | 0x40, position + self.unit()
        has_key = self.randomness.random() < 0.5
        if has_key:
            flags |= 0x20
        if not flags & 0xC0:
            position += self.parent()
            if has_key:
                position += encode_bytes(self.randomness.choice(KEYS))
        return bytes([kind | flags]) + position + content, length

    def parent(self) -> bytes:
        if self.randomness.random() < 0.7:
            return b"\1" + encode_bytes(self.randomness.choice(ROOTS))
        return b"\0" + self.unit()

    def content(self, kind: int) -> tuple[bytes, int]:
        count = self.randomness.choice((1, 1, 1, 2, 5, 40))
        match kind:
            case 0 | 1 | 10:
                length = count if self.randomness.random() < 0.99 else self.number()
                return encode_varuint(length), length
            case 2:
                texts = [encode_bytes(self.json()) for _ in range(count)]
                return encode_varuint(count) + b"".join(texts), count
            case 3:
                return encode_bytes(self.randomness.randbytes(count)), 1
            case 4:
                text = self.randomness.choice(("a", "é", "👍", "\0")) * count
                return encode_bytes(text.encode()), len(text.encode("utf-16-le")) // 2
            case 5:
                return encode_bytes(self.json()), 1
            case 6:
                return encode_bytes(b"bold") + encode_bytes(self.json()), 1
            case 7:
                number = self.randomness.choice(
                    (0, 1, 2, 3, 4, 5, 6) if self.randomness.random() < 0.98 else (7, 15)
                )
                return encode_varuint(number) + (encode_bytes(b"p") if number in (3, 5) else b""), 1
            case 8:
                return encode_varuint(count) + b"".join(self.any() for _ in range(count)), count
            case 9:
                return encode_bytes(b"guid") + self.any(), 1
            case _:
                return self.randomness.randbytes(3), 1

    def any(self, depth: int = 0) -> bytes:
        kinds = (0x7F, 0x7E, 0x7D, 0x7C, 0x7B, 0x7A, 0x79, 0x78, 0x77, 0x74) + (
            (0x76, 0x75) if depth < 6 else ()
        )
        kind = self.randomness.choice(kinds)
        match kind:
            case 0x7D:
                body = encode_varuint(self.randomness.randrange(64))
            case 0x7C:
                body = self.randomness.randbytes(4)
            case 0x7B | 0x7A:
                body = self.randomness.randbytes(8)
            case 0x77:
                body = encode_bytes(self.randomness.choice((b"x", b"", "é👍".encode(), b"y" * 300)))
            case 0x74:
                body = encode_bytes(self.randomness.randbytes(5))
            case 0x76:
                count = self.randomness.randrange(4)
                body = encode_varuint(count) + b"".join(
                    encode_bytes(self.randomness.choice(KEYS)) + self.any(depth + 1) for _ in range(count)
                )
            case 0x75:
                count = self.randomness.randrange(4)
                body = encode_varuint(count) + b"".join(self.any(depth + 1) for _ in range(count))
            case _:
                body = b""
        return bytes([kind]) + body

    def json(self) -> bytes:
        return self.randomness.choice(
            (b"1", b'"x"', b"null", b"{}", b'{"a":[1]}', b"undefined", b"[" * 50 + b"]" * 50)
        )

    def update(self) -> bytes:
        """Return an update: one block of structs of this writer, at its clock or elsewhere, and deletions."""
        structs, length = [], 0
        for _ in range(self.randomness.choice((0, 1, 1, 2, 6, 20))):
            encoded, units = self.struct()
            structs.append(encoded)
            length += units
        jump = 0 if self.randomness.random() < 0.9 else self.number()
        block = b"\0"
        if structs:
            start = self.clock + jump
            block = encode_varuint(1) + encode_varuint(len(structs)) + encode_varuint(self.replica)
            block += encode_varuint(start) + b"".join(structs)
            if length + jump < 10_000 and not (jump and self.equivocates):
                self.clock = start + length
        return block + self.deletions()

    def deletions(self) -> bytes:
        if self.randomness.random() < 0.6:
            return b"\0"
        groups = []
        for _ in range(self.randomness.choice((1, 1, 3))):
            replica, last = self.randomness.choice(self.known or [(self.replica, self.clock)])
            if self.randomness.random() < 0.3:
                replica, last = self.replica, self.clock
            ranges = [self.range_of(last) for _ in range(self.randomness.choice((1, 1, 4)))]
            groups.append(encode_varuint(replica) + encode_varuint(len(ranges)) + b"".join(ranges))
        return encode_varuint(len(groups)) + b"".join(groups)

    def range_of(self, last: int) -> bytes:
        """Return a range of units below the clock `last`, or beyond it."""
        start = self.randomness.randrange(max(last, 1))
        length = self.randomness.choice((1, 1, 2, self.number()))
        if not self.deletes_ahead:
            length = max(0, min(length, last - start))
        return encode_varuint(start) + encode_varuint(length)


def client_updates(randomness: random.Random) -> list[bytes]:
    """Return updates of a real client: nested types, texts with formats, deletions."""
    ydoc: Doc[Any] = Doc()
    updates: list[bytes] = []
    ydoc.observe(lambda event: updates.append(event.update))
    ydoc["text:note"], ydoc["list:items"], ydoc["state"] = text, items, state = Text(), Array(), Map()
    text += "Greetings 👍"
    text.format(0, 3, {"bold": True})
    items.extend([1, 2.5, None, True, "x", b"bytes", {"a": [1, {"b": 2}]}])
    state["nested"] = Map({"k": Array([1, 2])})
    state["count"] = randomness.randrange(1000)
    del items[1:3]
    del text[1:4]
    return [*updates, ydoc.get_update()]


Make = Callable[[Writer], bytes]


def struct_update(writer: Writer) -> bytes:
    return protocol.sync_update(writer.update())


def struct_step2(writer: Writer) -> bytes:
    return protocol.sync_step2(writer.update())


def client_update(writer: Writer) -> bytes:
    return protocol.sync_update(writer.client_update())


def damaged_update(writer: Writer) -> bytes:
    """Return the update of a client with changed bytes, in a well-formed frame."""
    updates = writer.clients if writer.equivocates and writer.clients else client_updates(writer.randomness)
    update = bytearray(writer.randomness.choice(updates))
    for _ in range(writer.randomness.randint(1, 3)):
        update[writer.randomness.randrange(len(update))] = writer.randomness.randrange(256)
    return protocol.sync_update(bytes(update))


def expensive_update(writer: Writer) -> bytes:
    return protocol.sync_update(
        competing_structs(writer.randomness.randint(5, 120) if writer.equivocates else 60)
    )


def state_vector(writer: Writer) -> bytes:
    entries = [
        encode_varuint(writer.randomness.choice(writer.known)[0] if writer.known else 1)
        + encode_varuint(writer.number())
        for _ in range(writer.randomness.randrange(4))
    ]
    count = len(entries) if writer.randomness.random() < 0.9 else writer.number()
    return b"\0\0" + encode_bytes(encode_varuint(count) + b"".join(entries))


def presence(writer: Writer) -> bytes:
    states = (
        '{"name":"Eve"}',
        "null",
        "[]",
        "1e999",
        '{"a":' * 40 + "1" + "}" * 40,
        '"\\ud800"',
        "{",
        "x" * 500,
    )
    entries = [
        encode_varuint(writer.randomness.choice((writer.replica, 5, 2**53 - 1)))
        + encode_varuint(writer.number())
        + encode_bytes(writer.randomness.choice(states).encode())
        for _ in range(writer.randomness.choice((0, 1, 1, 3)))
    ]
    return b"\1" + encode_bytes(encode_varuint(len(entries)) + b"".join(entries))


def question(writer: Writer) -> bytes:
    return writer.randomness.choice(
        (
            protocol.query_awareness(),
            protocol.saved_query(writer.number()),
            protocol.renewal("a.b.c"),
            encode_varuint(writer.randomness.choice((2, 4, 50, 103, 105, 2**31))) + b"\1x",
        )
    )


def damaged_frame(writer: Writer) -> bytes:
    """Return a valid frame that is cut, extended, or whose lengths are wrong."""
    frame = bytearray(
        writer.randomness.choice((struct_update, client_update, presence, state_vector))(writer)
    )
    match writer.randomness.randrange(4):
        case 0:
            del frame[writer.randomness.randrange(len(frame)) :]
        case 1:
            frame += writer.randomness.randbytes(3)
        case 2:
            frame[2 : 3 if len(frame) > 2 else None] = encode_varuint(writer.randomness.choice(NUMBERS))
        case _:
            frame[writer.randomness.randrange(len(frame))] ^= 1 << writer.randomness.randrange(8)
    return bytes(frame)


MAKERS: Sequence[tuple[Make, float]] = (
    (struct_update, 50),
    (struct_step2, 8),
    (client_update, 10),
    (damaged_update, 8),
    (expensive_update, 0.3),
    (state_vector, 6),
    (presence, 8),
    (question, 6),
    (damaged_frame, 4),
)


def make_frame(writer: Writer) -> tuple[str, bytes]:
    """Return a random frame and the name of its kind."""
    makers, weights = zip(*MAKERS, strict=True)
    maker: Make = writer.randomness.choices(makers, weights)[0]
    return maker.__name__, maker(writer)
