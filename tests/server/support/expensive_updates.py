"""Small updates that are expensive to apply, as an attacker would send them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from streamlit_crdt_server.yjs.lib0 import encode_varuint

Unit = tuple[int, int]
NULL, ARRAY = (8, b"\1\x7e"), (7, b"\0")
"""Contents of structs: pycrdt merges the first kind with its neighbor, and not the second kind."""


def struct(content: tuple[int, bytes], left: Unit | None = None, right: Unit | None = None) -> bytes:
    """Encode one struct. Without neighbors it is at the beginning of the list "t"."""
    kind, body = content
    neighbors = b"".join(encode_varuint(part) for unit in (left, right) if unit for part in unit)
    information = kind | (0x80 if left else 0) | (0x40 if right else 0)
    return bytes([information]) + (neighbors or b"\1\1t") + body


def encode(blocks: Iterable[tuple[int, Sequence[bytes]]], deletions: bytes = b"\0") -> bytes:
    """Encode an update with the structs of each replica, from clock 0."""
    parts = [
        encode_varuint(len(structs)) + encode_varuint(replica) + b"\0" + b"".join(structs)
        for replica, structs in blocks
    ]
    return encode_varuint(len(parts)) + b"".join(parts) + deletions


def row(count: int, content: tuple[int, bytes] = NULL, replica: int = 1) -> tuple[int, list[bytes]]:
    """Return `count` structs, each behind the previous one."""
    return replica, [struct(content, (replica, clock - 1) if clock else None) for clock in range(count)]


def row_and_competitors(count: int) -> bytes:
    """Encode a row, and as many structs that all begin at its start."""
    return encode([row(count), *((replica, [struct(NULL)]) for replica in range(2, count + 2))])


def competing_structs(count: int) -> bytes:
    """Encode a row, and as many structs that begin at its start and end before one of its last structs."""
    others = ((clock, [struct(ARRAY, right=(1, count - clock))]) for clock in range(2, count))
    return encode([row(count, ARRAY), *others])
