"""What of the updates that were applied a document really holds.

An update whose predecessor is missing (a client lost a frame, a tab brings half of its history) is accepted by
`apply_update` and kept aside inside the document until the missing part comes. Until then pycrdt 0.14.13
tells no observer, and leaves it out of `get_update`: such an edit would be confirmed, and stored nowhere. So
the room watches for it, stores it as it came, and keeps it when the log is replaced by the state (S3, S5).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from pycrdt import Doc, get_update, merge_updates

from streamlit_crdt_server.batch import Entry
from streamlit_crdt_server.errors import UpdateRefusedError
from streamlit_crdt_server.premature import Premature, Waiting, without
from streamlit_crdt_server.protocol import EMPTY_UPDATE
from streamlit_crdt_server.settling import Settling
from streamlit_crdt_server.yjs.lib0 import varuint
from streamlit_crdt_server.yjs.safe_apply import read_vector
from streamlit_crdt_server.yjs.structs import Place
from streamlit_crdt_server.yjs.update_decoder import check_state_vector, check_update, read_update_meta

_CHUNK = 64
"""Merging many updates at once costs the square of their number: 0.8 s for 10 000."""

_NO_DELETIONS, _SKIPPED = b"\0", b"\n"
"""How an update ends that deletes nothing; and a byte without which it has no gap."""

MAX_REFUSED_BYTES = 16 * 1024 * 1024
_OVERHEAD_BYTES = 4096
"""What was refused stays inside the document, which gives nothing back; above this it is worth loading it again.
A small update costs there as much as this overhead says."""


class Holdings:
    """How far a document reaches for each replica, and the updates that wait for what is missing.

    Attributes:
        is_unsettled: Whether the document is to be given again what waits, which it may have lost: see `settling`.
        settling: How far that has come; None before it begins.
        has_brought_more: Whether the last batch completed something that waited, so that its change holds that as well.
    """

    def __init__(self) -> None:
        self.is_unsettled = False
        self.settling: Settling | None = None
        self.has_brought_more = False
        self._has_just_lost = False
        self._clocks: dict[int, int] = {}
        self._premature = Premature()
        self._refused_bytes = 0

    @property
    def is_overgrown(self) -> bool:
        """Whether so much was refused that the document, which still has it inside, is worth loading again."""
        return self._refused_bytes > MAX_REFUSED_BYTES

    @property
    def waiting(self) -> bytes:
        """All that waits, as one update."""
        return self.complete(EMPTY_UPDATE)

    def reset(self, ydoc: Doc[Any], updates: Sequence[bytes], is_settled: bool = True) -> None:
        """Begin with a document that was just loaded from `updates`.

        Args:
            ydoc: The document.
            updates: What it was given.
            is_settled: Whether it took all of that. Else all that it may lack waits, every deletion as well.

        Raises:
            DocumentDamagedError: The document panicked.
        """
        vector = read_vector(ydoc)
        self._clocks = check_state_vector(vector)
        self._premature = Premature()
        self._refused_bytes = 0
        self.is_unsettled, self.settling = not is_settled, None
        for start in range(0, len(updates), _CHUNK):
            beyond = get_update(merge_updates(*updates[start : start + _CHUNK]), vector)
            reach = check_update(beyond)
            if self.is_unsettled or not self._covers(reach):
                self._premature.add(Waiting(beyond, reach))
        self.is_unsettled |= bool(self._premature)  # in another order it may take more of it

    def unsettle(self) -> None:
        """Note that the document lost what waits while it was given a batch, which is to be taken in."""
        self.is_unsettled, self.settling = True, None
        self._has_just_lost = True

    def throw_out(self, places: Collection[Place]) -> list[Waiting]:
        """Have the structs at some places wait no longer, and return the updates that they were in. Any thread."""
        self._premature, changed = without(self._premature, places)
        return changed

    def settle(self) -> None:
        """Note that the document was given all that waits."""
        self.is_unsettled, self.settling = False, None
        self._premature.release(self._covers, self._vector)

    def take_in(self, entries: Sequence[Entry], change: bytes | None) -> tuple[list[Entry], list[bytes]]:
        """Note what a batch changed, and refuse what would have to wait although too much waits already.

        Args:
            entries: What was applied.
            change: The update that the document's observer saw, None if nothing was changed.

        Returns:
            What was not refused, and those updates that are not in the document yet: they are to be stored as
            they came.
        """
        waited = len(self._premature)
        self.has_brought_more = change is not None and self._note(change, entries)
        if change is not None and not self.is_unsettled:
            self._premature.release(self._covers, self._vector)
        if self.has_brought_more and self._premature and self._premature.is_small:
            self._settle_again()
        self.has_brought_more |= len(self._premature) < waited
        accepted: list[Entry] = []
        premature: list[bytes] = []
        for entry in entries:
            is_covered = self._covers(entry.reach)
            if not ((is_covered and not self._has_just_lost) or self._premature.holds(entry.update)):
                if not (is_covered or self._premature.has_space(entry.update)):
                    self._refused_bytes += len(entry.update) + _OVERHEAD_BYTES
                    entry.refuse(
                        UpdateRefusedError("it needs updates that are missing, as too many others do")
                    )
                    continue
                self._premature.add(Waiting(entry.update, entry.reach, entry.peer))
                premature.append(entry.update)
            accepted.append(entry)
        self._has_just_lost = False
        return accepted, premature

    def forget_refused(self) -> None:
        """Start to count again."""
        self._refused_bytes = 0

    def complete(self, state: bytes) -> bytes:
        """Return the document's own state with what waits inside it."""
        return merge_updates(state, *self._premature.parts) if self._premature else state

    def _settle_again(self) -> None:
        self.is_unsettled = True
        if self.settling is not None:
            self.settling.is_clean = False

    def _vector(self) -> bytes:
        clocks = (varuint(replica) + varuint(clock) for replica, clock in self._clocks.items())
        return varuint(len(self._clocks)) + b"".join(clocks)

    def _note(self, change: bytes, entries: Iterable[Entry]) -> bool:
        """Note what a change brought, and return whether that is more than what was applied.

        pycrdt 0.14.13 may then have missed that another part, which waits, is complete: where a gap was filled, it goes
        by the end of what lies beyond. Whatever was written last would be shown only when its writer goes on.
        """
        reach = None
        if change.endswith(_NO_DELETIONS) and _SKIPPED not in change:
            reach = next((entry.reach for entry in entries if entry.update == change), None)
        is_other, brings_more = reach is None, False
        for replica, clock in (read_update_meta(change).solid() if reach is None else reach).items():
            if clock > self._clocks.get(replica, 0):
                self._clocks[replica] = clock
                brings_more |= is_other and all(clock > entry.reach.get(replica, 0) for entry in entries)
        return brings_more

    def _covers(self, reach: Mapping[int, int]) -> bool:
        return all(clock <= self._clocks.get(replica, 0) for replica, clock in reach.items())
