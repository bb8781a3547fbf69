"""The clocks that a document has applied, and the changes that follow from an update alone.

Reading a state vector takes time in proportion to the replica ids in a document, and each page load that edits adds
an id. With yrs 0.28, an observed transaction encodes it as well: 7 ms at 10 000 ids, 130 ms at 120 000. A transaction
that no observer sees takes 10 us. A document therefore records which clocks it has. An update whose dependencies it
has, and whose structs are all new, is the change that it makes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass

from streamlit_crdt_server.yjs.update_decoder import UpdateMeta, decode_state_vector

MAX_STRUCTS = 4096
"""Structs of an update whose dependencies are read. A larger one is observed: it takes longer anyway."""

OBSERVED_REPLICAS = 256
"""Replica ids up to which a document finds exactly whether a deletion changes it. An observed transaction takes
0.02 ms there."""

MAX_DELETIONS = 16
"""Limit of the deleted ranges in a small deletion. A larger one is probably the whole delete set of a document."""

MAX_SEEN_DELETIONS = 64
"""Limit of the deletions that are recognized when they come again. Many arrive on two paths."""


@dataclass(frozen=True, slots=True)
class UpdateStep:
    """The clocks that an update needs and gives, per replica id.

    Attributes:
        starts: Clock of the first struct.
        ends: Clock after the last struct.
        needs: `UpdateMeta.needed_clocks()`.
    """

    starts: Mapping[int, int]
    ends: Mapping[int, int]
    needs: Mapping[int, int]

    def is_next(self, clocks: Mapping[int, int]) -> bool:
        """Return whether a document at `clocks` applies the update completely, and each of its structs is new.

        False without structs: deletions do not advance a clock, so it is unknown whether they are new.
        """
        if not self.starts:
            return False
        return all(clocks.get(replica, 0) == clock for replica, clock in self.starts.items()) and all(
            clock <= clocks.get(replica, 0) for replica, clock in self.needs.items()
        )


def step_of(meta: UpdateMeta) -> UpdateStep | None:
    """Return the step of an update, or None if it is long."""
    if meta.structs > MAX_STRUCTS:
        return None
    starts = {replica: block.start for replica, block in meta.blocks.items()}
    return UpdateStep(starts, meta.ends(), meta.needed_clocks())


def is_small_deletion(meta: UpdateMeta) -> bool:
    """Return whether an update only deletes, and little."""
    return not meta.blocks and len(meta.deletions) <= 3 * MAX_DELETIONS


class AppliedClocks(Mapping[int, int]):
    """The end clock of the applied structs per replica id. Not thread-safe."""

    def __init__(self, state_vector: bytes = b"\x00") -> None:
        self._clocks: MutableMapping[int, int] = decode_state_vector(state_vector)

    def __len__(self) -> int:
        return len(self._clocks)

    def __iter__(self) -> Iterator[int]:
        return iter(self._clocks)

    def __getitem__(self, replica: int) -> int:
        return self._clocks[replica]

    def reset(self, state_vector: bytes) -> None:
        """Read the clocks of a document again."""
        self._clocks = decode_state_vector(state_vector)

    def has(self, reach: Mapping[int, int]) -> bool:
        """Return whether every clock of `reach` is applied."""
        clocks = self._clocks
        return all(clock <= clocks.get(replica, 0) for replica, clock in reach.items())

    def advance(self, ends: Mapping[int, int]) -> None:
        """Note that the document applied the structs up to `ends`."""
        for replica, end in ends.items():
            if end > self._clocks.get(replica, 0):
                self._clocks[replica] = end


class SeenDeletions:
    """The last small deletions of a document. An equal one that comes again changes nothing."""

    def __init__(self) -> None:
        self._updates: dict[bytes, None] = {}

    def add(self, update: bytes) -> bool:
        """Add a deletion. Return whether it is new."""
        is_new = update not in self._updates
        self._updates[update] = None
        if len(self._updates) > MAX_SEEN_DELETIONS:
            del self._updates[next(iter(self._updates))]
        return is_new
