"""Surrogate pairs of a document, and the repair of updates that would split one.

Characters beyond U+FFFF (emoji among them) are two UTF-16 units. Yjs counts texts in such units and accepts
`text.delete(1, 1)`, which deletes half an emoji and turns the other half into U+FFFD. pycrdt 0.14.13 loses the other
half, and with it a unit of that client's clock: later edits of the client never appear, and the state of the document
does not load as the same document. A room therefore keeps the positions of the low surrogates. The deletion of half
a pair becomes a deletion of the whole pair, which the sender receives as all other peers do. An insertion between the
halves cannot be repaired and is refused.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping, Sequence

from pycrdt import merge_updates

from streamlit_crdt_server.errors import UpdateRefusedError
from streamlit_crdt_server.yjs.lib0 import encode_varuint
from streamlit_crdt_server.yjs.update_decoder import Unit, UpdateMeta, read_update_meta

_FOUR_BYTES = re.compile(rb"[\xf0-\xf4][\x80-\xbf]{3}")
"""UTF-8 encoding of a surrogate pair. Other bytes of an update may match as well."""


class SurrogatePairs:
    """Clocks of the low surrogates (second halves of surrogate pairs) in the document of one room."""

    def __init__(self) -> None:
        self._clocks: dict[int, array[int]] = {}

    def reset(self, updates: Sequence[bytes]) -> list[bytes]:
        """Restart with a readable log, and return the log with its updates repaired.

        Earlier versions stored updates without a check. Such an update stays as it is if it cannot be repaired.
        """
        self._clocks = {}
        for update in updates:
            self.add(update)
        return [self._repair_or_keep(update) for update in updates]

    def add(self, update: bytes) -> None:
        """Add the surrogate pairs of an update that the document applied. Without such bytes it is one search."""
        if _FOUR_BYTES.search(update) is None:
            return
        for replica, clocks in read_update_meta(update).surrogates.items():
            known = self._clocks.setdefault(replica, array("q"))
            for clock in clocks:
                if not known or clock > known[-1]:
                    known.append(clock)
                elif known[bisect_left(known, clock)] != clock:
                    insort(known, clock)

    def may_split(self, update: bytes) -> bool:
        """Return whether `update` may split a surrogate pair, so that it must be passed to `repair`."""
        return bool(self._clocks) or _FOUR_BYTES.search(update) is not None

    def repair(
        self,
        update: bytes,
        clocks: Mapping[int, int] | None = None,
        earlier: Sequence[Mapping[int, Iterable[int]]] = (),
    ) -> tuple[bytes, UpdateMeta]:
        """Return an update that splits no surrogate pair, and its metadata.

        Args:
            update: A well-formed update.
            clocks: State vector of the document, which cuts off the part of a text that the document has.
            earlier: `UpdateMeta.surrogates` of updates that are applied before this one and are not added yet.

        Raises:
            UpdateRefusedError: It inserts between the halves of a pair.
        """
        meta = read_update_meta(update)
        is_low_surrogate = self._finder([*earlier, meta.surrogates])
        for replica, surrogates in meta.surrogates.items():
            if (clocks or {}).get(replica, 0) in surrogates:
                raise UpdateRefusedError("it contradicts the content that the room already has")
        if any(is_low_surrogate(unit) for unit in meta.split_points()):
            raise UpdateRefusedError("it inserts something inside a character")
        split = [(replica, clock) for replica, clock in _edges(meta) if is_low_surrogate((replica, clock))]
        if not split:
            return update, meta
        repaired = merge_updates(update, *map(_pair_deletion, split))
        return repaired, read_update_meta(repaired)

    def _finder(self, others: Sequence[Mapping[int, Iterable[int]]]) -> Callable[[Unit], bool]:
        more = {(replica, clock) for clocks in others for replica in clocks for clock in clocks[replica]}

        def is_low_surrogate(unit: Unit) -> bool:
            if unit in more:
                return True
            known = self._clocks.get(unit[0])
            if known is None:
                return False
            index = bisect_left(known, unit[1])
            return index < len(known) and known[index] == unit[1]

        return is_low_surrogate

    def _repair_or_keep(self, update: bytes) -> bytes:
        if not self.may_split(update):
            return update
        try:
            return self.repair(update)[0]
        except UpdateRefusedError:
            return update


def _edges(meta: UpdateMeta) -> Iterable[Unit]:
    """Yield the units before which a deletion begins or ends."""
    for index in range(0, len(meta.deletions), 3):
        replica, start, end = meta.deletions[index : index + 3]
        yield replica, start
        yield replica, end


def _pair_deletion(low_surrogate: Unit) -> bytes:
    """Encode an update that deletes the pair of a low surrogate."""
    replica, clock = low_surrogate
    return b"\0\1" + encode_varuint(replica) + b"\1" + encode_varuint(clock - 1) + b"\2"
