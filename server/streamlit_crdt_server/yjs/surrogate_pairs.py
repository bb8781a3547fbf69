"""SurrogatePairs of two units (emoji, and all else beyond U+FFFF), which an edit must not cut in two.

Yjs counts texts in UTF-16 units and lets `text.delete(1, 1)` take half an emoji; what is left becomes U+FFFD.
pycrdt 0.14.13 loses the other half, and with it a unit of that client's clock: what the client does afterwards
is never shown, and the document's own state does not load as the document that it was. So a room knows where
the second halves lie. A deletion of half a character is made one of the whole character, which its sender gets
back like everybody else. An insertion between two halves cannot be mended: it is refused.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping, Sequence

from pycrdt import merge_updates

from streamlit_crdt_server.errors import UpdateRefusedError
from streamlit_crdt_server.yjs.lib0 import varuint
from streamlit_crdt_server.yjs.update_decoder import Unit, UpdateMeta, read_update_meta

_FOUR_BYTES = re.compile(rb"[\xf0-\xf4][\x80-\xbf]{3}")
"""In UTF-8 a character of two UTF-16 units; other bytes may look like one."""


class SurrogatePairs:
    """Where the document of one room has characters of two units: the clocks of their second halves."""

    def __init__(self) -> None:
        """Begin with an empty document."""
        self._halves: dict[int, array[int]] = {}

    def reset(self, updates: Sequence[bytes]) -> list[bytes]:
        """Begin anew with a log that a document takes, and return it mended. An older version stored what it got."""
        self._halves = {}
        for update in updates:
            self.note(update)
        return [self._mended_or_as_it_is(update) for update in updates]

    def note(self, update: bytes) -> None:
        """Note what came into the document. Costs next to nothing for a text without such characters."""
        if _FOUR_BYTES.search(update) is None:
            return
        for replica, clocks in read_update_meta(update).halves.items():
            known = self._halves.setdefault(replica, array("q"))
            for clock in clocks:
                if not known or clock > known[-1]:
                    known.append(clock)
                elif known[bisect_left(known, clock)] != clock:
                    insort(known, clock)

    def concern(self, update: bytes) -> bool:
        """Whether `update` may cut a character, so that it is worth mending."""
        return bool(self._halves) or _FOUR_BYTES.search(update) is not None

    def mend(
        self,
        update: bytes,
        clocks: Mapping[int, int] | None = None,
        earlier: Sequence[Mapping[int, Iterable[int]]] = (),
    ) -> tuple[bytes, UpdateMeta]:
        """Return `update` such that it cuts no character, and its shape.

        Args:
            update: A well-formed update.
            clocks: The document's state vector: what it has of a text of this update is cut off.
            earlier: The `UpdateMeta.halves` of updates which go into the document before it, and are not noted yet.

        Raises:
            UpdateRefusedError: It inserts something between the halves of a character.
        """
        shape = read_update_meta(update)
        is_half = self._finder([*earlier, shape.halves])
        for replica, halves in shape.halves.items():
            if (clocks or {}).get(replica, 0) in halves:
                raise UpdateRefusedError("it is told otherwise what the room has already")
        if any(is_half(seam) for seam in shape.seams()):
            raise UpdateRefusedError("it inserts something inside a character")
        cut = [(replica, clock) for replica, clock in _edges(shape) if is_half((replica, clock))]
        if not cut:
            return update, shape
        mended = merge_updates(update, *map(_deletion, cut))
        return mended, read_update_meta(mended)

    def _finder(self, others: Sequence[Mapping[int, Iterable[int]]]) -> Callable[[Unit], bool]:
        more = {(replica, clock) for halves in others for replica in halves for clock in halves[replica]}

        def is_half(unit: Unit) -> bool:
            if unit in more:
                return True
            known = self._halves.get(unit[0])
            if known is None:
                return False
            index = bisect_left(known, unit[1])
            return index < len(known) and known[index] == unit[1]

        return is_half

    def _mended_or_as_it_is(self, update: bytes) -> bytes:
        if not self.concern(update):
            return update
        try:
            return self.mend(update)[0]
        except UpdateRefusedError:
            return update


def _edges(shape: UpdateMeta) -> Iterable[Unit]:
    """Return before which units its deletions begin and end."""
    for index in range(0, len(shape.deletions), 3):
        replica, start, end = shape.deletions[index : index + 3]
        yield replica, start
        yield replica, end


def _deletion(half: Unit) -> bytes:
    """Encode an update that deletes the character whose second half this is."""
    replica, clock = half
    return b"\0\1" + varuint(replica) + b"\1" + varuint(clock - 1) + b"\2"
