"""Small updates that cost a document much: what somebody would send who wants the process to stand still."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from streamlit_crdt_server.yjs.lib0 import encode_varuint

Unit = tuple[int, int]
NULL, ARRAY = (8, b"\1\x7e"), (7, b"\0")
"""Contents: one that is joined with its neighbour, and one that is not."""


def struct(content: tuple[int, bytes], left: Unit | None = None, right: Unit | None = None) -> bytes:
    """One struct; without neighbours, at the beginning of the list "t"."""
    kind, body = content
    neighbours = b"".join(encode_varuint(part) for unit in (left, right) if unit for part in unit)
    information = kind | (0x80 if left else 0) | (0x40 if right else 0)
    return bytes([information]) + (neighbours or b"\1\1t") + body


def encode(blocks: Iterable[tuple[int, Sequence[bytes]]], deletions: bytes = b"\0") -> bytes:
    """An update with the structs of each replica, from clock 0."""
    parts = [
        encode_varuint(len(structs)) + encode_varuint(replica) + b"\0" + b"".join(structs)
        for replica, structs in blocks
    ]
    return encode_varuint(len(parts)) + b"".join(parts) + deletions


def row(count: int, content: tuple[int, bytes] = NULL, replica: int = 1) -> tuple[int, list[bytes]]:
    """So many structs, each after the one before."""
    return replica, [struct(content, (replica, clock - 1) if clock else None) for clock in range(count)]


def row_and_crowd(count: int) -> bytes:
    """A row, and as many others that all begin where it does."""
    return encode([row(count), *((replica, [struct(NULL)]) for replica in range(2, count + 2))])


def contest(count: int) -> bytes:
    """A row, and as many others that begin where it does and end before its last ones."""
    others = ((clock, [struct(ARRAY, right=(1, count - clock))]) for clock in range(2, count))
    return encode([row(count, ARRAY), *others])
