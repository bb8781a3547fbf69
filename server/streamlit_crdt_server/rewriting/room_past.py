"""The documents that a room had before it was rewritten.

A replica of an earlier document must not merge with the present one, because everything would be there twice. Clients
of this library state the epoch of their replica. Other clients are recognized by the replica ids in their documents.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice

from streamlit_crdt_server.yjs.lib0 import DecodeError, Decoder, encode_bytes, encode_varuint

MAX_EPOCHS = 1000
"""Epochs that a room keeps, the last ones. A client of an earlier one is told that the room was deleted."""

MAX_REPLICAS = 256 * 1024
"""Replica ids that a room keeps, with 12 bytes each; those of its last document first. A client that states no epoch
is recognized by one of them."""

MAX_CHECKED = 1024
"""Replica ids of a client that are looked up, which takes some milliseconds. An earlier document consists of ids that
the room keeps, so that the first ones decide."""

_ID_BYTES, _ENTRY_BYTES = 8, 12

_KEPT = re.compile(r"it has ([0-9]{1,10}) operations")


@dataclass(frozen=True, slots=True)
class ReplicaClocks(Mapping[int, int]):
    """Number of the operations per replica id, in the form in which the store has it.

    An entry is found by bisection, so that a room with a long past is loaded as fast as any other.

    Attributes:
        entries: Id and clock of each replica id in big-endian order, sorted.
    """

    entries: bytes = field(default=b"", repr=False)

    @classmethod
    def of(cls, clocks: Mapping[int, int]) -> ReplicaClocks:
        """Encode the clocks."""
        entries = sorted(id_.to_bytes(_ID_BYTES) + clock.to_bytes(4) for id_, clock in clocks.items())
        return cls(b"".join(entries))

    def __getitem__(self, replica: int) -> int:
        index = bisect_left(range(len(self)), replica, key=self._id_at)
        if index == len(self) or self._id_at(index) != replica:
            raise KeyError(replica)
        at = index * _ENTRY_BYTES
        return int.from_bytes(self.entries[at + _ID_BYTES : at + _ENTRY_BYTES])

    def __len__(self) -> int:
        return len(self.entries) // _ENTRY_BYTES

    def __iter__(self) -> Iterator[int]:
        return map(self._id_at, range(len(self)))

    def _id_at(self, index: int) -> int:
        at = index * _ENTRY_BYTES
        return int.from_bytes(self.entries[at : at + _ID_BYTES])


@dataclass(frozen=True, slots=True)
class RoomPast:
    """The epochs of a room before the present one, and the clocks of the replica ids that wrote in them.

    Attributes:
        epochs: The epochs, the last one at the end.
        clocks: Number of the operations per replica id.
    """

    epochs: tuple[str, ...] = ()
    clocks: ReplicaClocks = field(default_factory=ReplicaClocks, repr=False)

    def extend(self, epoch: str, clocks: Mapping[int, int]) -> RoomPast:
        """Return the past after a rewrite of a document with this epoch and these clocks."""
        earlier = ((replica, clock) for replica, clock in self.clocks.items() if replica not in clocks)
        merged = dict(islice(chain(clocks.items(), earlier), MAX_REPLICAS))
        return RoomPast((*self.epochs, epoch)[-MAX_EPOCHS:], ReplicaClocks.of(merged))

    def has_any(self, replicas: Iterable[int]) -> bool:
        """Return whether one of these replica ids, of the first `MAX_CHECKED`, wrote in an earlier document."""
        checked = islice(replicas, MAX_CHECKED if self.clocks else 0)
        return any(replica in self.clocks for replica in checked)

    def encode(self) -> bytes:
        """Encode the past for the store."""
        parts = [encode_varuint(len(self.epochs)), *(encode_bytes(bytes.fromhex(e)) for e in self.epochs)]
        parts.append(self.clocks.entries)
        return b"".join(parts)

    @classmethod
    def decode(cls, content: bytes) -> RoomPast:
        """Decode the result of `encode`. Empty bytes are an empty past.

        Raises:
            DecodeError: The bytes are not a past.
        """
        if not content:
            return cls()
        decoder = Decoder(content)
        epochs = tuple(decoder.read_bytes().hex() for _ in range(decoder.read_count()))
        entries = decoder.read_rest()
        if len(entries) % _ENTRY_BYTES:
            raise DecodeError("an entry of a replica id is cut off")
        return cls(epochs, ReplicaClocks(entries))


def replicas_in(state_vector: bytes) -> Iterator[int]:
    """Yield the replica ids of a state vector that was checked before."""
    decoder = Decoder(state_vector)
    for _ in range(decoder.read_count(min_element_bytes=2)):
        yield decoder.read_varuint()
        decoder.read_varuint()


def rewritten_reason(kept: int) -> str:
    """Return the reason of a close with REWRITTEN.

    Args:
        kept: Number of the operations of the client's replica id that the new document contains by value.
    """
    return f"the room was rewritten; it has {kept} operations of this replica"


def kept_operations(reason: str) -> int:
    """Return the number in a reason, 0 if there is none."""
    found = _KEPT.search(reason)
    return 0 if found is None else int(found[1])
