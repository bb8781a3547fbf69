"""Updates that nest shared types, as another Yjs program would send them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from streamlit_crdt_server.yjs.lib0 import encode_varuint
from tests.server.support.expensive_updates import ARRAY, NULL, Unit, struct
from tests.server.support.hostile_updates import blocks, child

REPLICA = 7

DELETE_OUTERMOST = blocks(deletions=[(REPLICA, 0)])
"""Deletes the outermost type of `chain`."""


def chain(depth: int, replica: int = REPLICA, start: int = 0, parent: Unit | None = None) -> bytes:
    """Encode arrays inside of each other, the outermost in the list "t" or in `parent`."""
    return blocks((replica, start, list(_links(depth, replica, start, parent))))


def links(depth: int, replica: int = REPLICA) -> list[bytes]:
    """Encode the arrays of `chain`, each as an update of its own."""
    return [blocks((replica, clock, [each])) for clock, each in enumerate(_links(depth, replica, 0, None))]


def _links(depth: int, replica: int, start: int, parent: Unit | None) -> Iterator[bytes]:
    yield struct(ARRAY) if parent is None else child(parent, ARRAY)
    for clock in range(start, start + depth - 1):
        yield child((replica, clock), ARRAY)


def behind_neighbors(depth: int) -> bytes:
    """Encode arrays inside of each other, each behind a value: only the value names its parent."""
    structs: list[bytes] = [struct(NULL), struct(ARRAY, (REPLICA, 0))]
    for level in range(1, depth):
        structs += [child((REPLICA, 2 * level - 1)), struct(ARRAY, (REPLICA, 2 * level))]
    return blocks((REPLICA, 0, structs))


def with_two_replicas(depth: int) -> bytes:
    """Encode arrays inside of each other, by two replicas in turn."""
    by_replica: dict[int, list[bytes]] = {1: [], 2: []}
    for level in range(depth):
        parent = None if level == 0 else (1 + (level - 1) % 2, (level - 1) // 2)
        by_replica[1 + level % 2].append(struct(ARRAY) if parent is None else child(parent, ARRAY))
    return blocks(*((replica, 0, structs) for replica, structs in by_replica.items() if structs))


def merged(*updates: bytes, deletions: Sequence[Unit] = ()) -> bytes:
    """Append deletions of single units to an update without deletions."""
    (update,) = updates
    encoded = b"".join(
        encode_varuint(replica) + b"\1" + encode_varuint(clock) + b"\1" for replica, clock in deletions
    )
    return update[:-1] + encode_varuint(len(deletions)) + encoded
