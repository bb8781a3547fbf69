"""Well-formed updates that no client creates, and updates in another order than they were written."""

from __future__ import annotations

from collections.abc import Sequence

from streamlit_crdt_server.yjs.lib0 import encode_varuint
from tests.server.support.expensive_updates import NULL, Unit, struct

TEXT = (4, b"\1a")
MAP = (7, b"\1")


def child(parent: Unit, content: tuple[int, bytes] = NULL) -> bytes:
    """Encode one struct whose parent is `parent`."""
    kind, body = content
    return bytes([kind, 0]) + encode_varuint(parent[0]) + encode_varuint(parent[1]) + body


def blocks(*of_replicas: tuple[int, int, Sequence[bytes]], deletions: Sequence[Unit] = ()) -> bytes:
    """Encode an update with the structs of each replica from a clock on, and deletions of single units."""
    parts = [
        encode_varuint(len(structs)) + encode_varuint(replica) + encode_varuint(clock) + b"".join(structs)
        for replica, clock, structs in of_replicas
    ]
    deleted = [
        encode_varuint(replica) + b"\1" + encode_varuint(clock) + b"\1" for replica, clock in deletions
    ]
    return encode_varuint(len(parts)) + b"".join(parts) + encode_varuint(len(deleted)) + b"".join(deleted)


VALUE = blocks((5, 0, [struct(TEXT)]))
"""A character, which is not a shared type and therefore cannot be a parent."""

MISPLACED = blocks((9, 0, [struct(NULL), child((5, 0)), struct(NULL, (9, 1))]))
"""One valid value, and one whose parent is the character."""
