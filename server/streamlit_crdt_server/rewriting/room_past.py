"""The documents that a room had before it was rewritten.

A replica of an earlier document must not merge with the present one, because everything would be there twice. Clients
of this library state the epoch of their replica. Other clients are recognized by the replica ids in their documents.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from streamlit_crdt_server.yjs.lib0 import Decoder, encode_bytes, encode_varuint
from streamlit_crdt_server.yjs.update_decoder import decode_state_vector

MAX_EPOCHS = 1000
"""Epochs that a room keeps, the last ones. A client of an earlier one is told that the room was deleted."""

MAX_REPLICAS = 64 * 1024
"""Replica ids that a room keeps, the last ones, with about ten bytes each. A client that states no epoch is recognized
by one of them."""

_KEPT = re.compile(r"it has ([0-9]{1,10}) operations")


@dataclass(frozen=True, slots=True)
class RoomPast:
    """The epochs of a room before the present one, and the clocks of the replica ids that wrote in them.

    Attributes:
        epochs: The epochs, the last one at the end.
        clocks: Number of the operations per replica id.
    """

    epochs: tuple[str, ...] = ()
    clocks: Mapping[int, int] = field(default_factory=dict, repr=False)

    def extend(self, epoch: str, clocks: Mapping[int, int]) -> RoomPast:
        """Return the past after a rewrite of a document with this epoch and these clocks."""
        kept = {replica: clock for replica, clock in self.clocks.items() if replica not in clocks}
        merged = [*kept.items(), *clocks.items()]
        return RoomPast((*self.epochs, epoch)[-MAX_EPOCHS:], dict(merged[-MAX_REPLICAS:]))

    def has_any(self, replicas: Iterable[int]) -> bool:
        """Return whether one of these replica ids wrote in an earlier document."""
        return bool(self.clocks) and any(replica in self.clocks for replica in replicas)

    def encode(self) -> bytes:
        """Encode the past for the store."""
        parts = [encode_varuint(len(self.epochs)), *(encode_bytes(bytes.fromhex(e)) for e in self.epochs)]
        parts.append(encode_varuint(len(self.clocks)))
        parts += (encode_varuint(each) for entry in self.clocks.items() for each in entry)
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
        return cls(epochs, decode_state_vector(decoder.read_rest()))


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
