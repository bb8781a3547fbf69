"""What of the updates that were applied a document really holds.

An update whose predecessor is missing (a client lost a frame, a tab brings half of its history) is accepted by
`apply_update` and kept aside inside the document until the missing part comes. Until then pycrdt 0.14.13
tells no observer, and leaves it out of `get_update`: such an edit would be confirmed, and stored nowhere. So
the room watches for it, stores it as it came, and keeps it when the log is replaced by the state (S3, S5).

Updates that wait inside a document for what is missing, and how many may.

Whoever sends what can never be completed would otherwise fill the memory and the log, and slow everybody down:
with pycrdt 0.14.13 each further update of this kind costs as much as those that wait already, 10 s of the loop
for 20 000 of 20 bytes.

Giving a document again what waited inside it, after one of those updates proved to be false.

Whether a struct lies in a shared type is known only when what it lies in is there. One that waits may have
claimed what is not so; then pycrdt 0.14.13 fails on the update that brings the truth, and drops all that waits. So
all of it is given again: at first together, and what fails in halves, down to the struct that no document takes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from pycrdt import Doc, get_update, merge_updates

from streamlit_crdt_server.errors import UpdateRefusedError
from streamlit_crdt_server.room.batch import QueuedUpdate
from streamlit_crdt_server.room.peers import Peer
from streamlit_crdt_server.yjs.lib0 import EMPTY_UPDATE, encode_varuint
from streamlit_crdt_server.yjs.safe_apply import MisplacedError, apply_update, read_vector
from streamlit_crdt_server.yjs.structs import SliceKey, StructSlices, slice_structs
from streamlit_crdt_server.yjs.update_decoder import check_update, decode_state_vector, read_update_meta

_CHUNK = 64
"""Merging many updates at once costs the square of their number: 0.8 s for 10 000."""

_NO_DELETIONS, _SKIPPED = b"\0", b"\n"
"""How an update ends that deletes nothing; and a byte without which it has no gap."""

MAX_REFUSED_BYTES = 16 * 1024 * 1024
_OVERHEAD_BYTES = 4096
"""What was refused stays inside the document, which gives nothing back; above this it is worth loading it again.
A small update costs there as much as this overhead says."""


class AppliedTracker:
    """How far a document reaches for each replica, and the updates that wait for what is missing.

    Attributes:
        is_unsettled: Whether the document is to be given again what waits, which it may have lost: see `settling`.
        settling: How far that has come; None before it begins.
        has_brought_more: Whether the last batch completed something that waited, so that its change holds that as well.
    """

    def __init__(self) -> None:
        self.is_unsettled = False
        self.settling: PendingReplay | None = None
        self.has_brought_more = False
        self._has_just_lost = False
        self._clocks: dict[int, int] = {}
        self._premature = PendingUpdates()
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
        self._clocks = decode_state_vector(vector)
        self._premature = PendingUpdates()
        self._refused_bytes = 0
        self.is_unsettled, self.settling = not is_settled, None
        for start in range(0, len(updates), _CHUNK):
            beyond = get_update(merge_updates(*updates[start : start + _CHUNK]), vector)
            reach = check_update(beyond)
            if self.is_unsettled or not self._covers(reach):
                self._premature.add(PendingUpdate(beyond, reach))
        self.is_unsettled |= bool(self._premature)  # in another order it may take more of it

    def unsettle(self) -> None:
        """Note that the document lost what waits while it was given a batch, which is to be taken in."""
        self.is_unsettled, self.settling = True, None
        self._has_just_lost = True

    def throw_out(self, places: Collection[SliceKey]) -> list[PendingUpdate]:
        """Have the structs at some places wait no longer, and return the updates that they were in. Any thread."""
        self._premature, changed = without(self._premature, places)
        return changed

    def settle(self) -> None:
        """Note that the document was given all that waits."""
        self.is_unsettled, self.settling = False, None
        self._premature.release(self._covers, self._vector)

    def take_in(
        self, entries: Sequence[QueuedUpdate], change: bytes | None
    ) -> tuple[list[QueuedUpdate], list[bytes]]:
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
        accepted: list[QueuedUpdate] = []
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
                self._premature.add(PendingUpdate(entry.update, entry.reach, entry.peer))
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
        clocks = (encode_varuint(replica) + encode_varuint(clock) for replica, clock in self._clocks.items())
        return encode_varuint(len(self._clocks)) + b"".join(clocks)

    def _note(self, change: bytes, entries: Iterable[QueuedUpdate]) -> bool:
        """Note what a change brought, and return whether that is more than what was applied.

        pycrdt 0.14.13 may then have missed that another part, which waits, is complete: where a gap was filled, it goes
        by the end of what lies beyond. Whatever was written last would be shown only when its writer goes on.
        """
        reach = None
        if change.endswith(_NO_DELETIONS) and _SKIPPED not in change:
            reach = next((entry.reach for entry in entries if entry.update == change), None)
        is_other, brings_more = reach is None, False
        for replica, clock in (
            read_update_meta(change).contiguous_ends() if reach is None else reach
        ).items():
            if clock > self._clocks.get(replica, 0):
                self._clocks[replica] = clock
                brings_more |= is_other and all(clock > entry.reach.get(replica, 0) for entry in entries)
        return brings_more

    def _covers(self, reach: Mapping[int, int]) -> bool:
        return all(clock <= self._clocks.get(replica, 0) for replica, clock in reach.items())


MAX_UPDATES = 1024
MAX_BYTES = 4 * 1024 * 1024
"""More than this need not be kept: what is missing is mostly on its way, and who sent it is told to start over."""

SMALL_BYTES = 64 * 1024
"""As much as people write ahead of what is on its way; a document takes 5 ms for it, and 200 ms for what may wait."""


@dataclass(frozen=True, slots=True)
class PendingUpdate:
    """An update that waits.

    Attributes:
        reach: How far it reaches, as `check_update` says.
        peer: Who sent it; None if it comes from the log.
    """

    update: bytes
    reach: Mapping[int, int]
    peer: Peer | None = None


class PendingUpdates:
    """The updates that wait, and the same as few."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, PendingUpdate] = {}
        self._parts: list[bytes] = []
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[PendingUpdate]:
        return iter(self._waiting.values())

    @property
    def parts(self) -> tuple[bytes, ...]:
        """What waits; to be merged by whoever needs it."""
        return tuple(self._parts)

    @property
    def is_small(self) -> bool:
        """Whether giving all of it to the document once more costs little."""
        return self._bytes <= SMALL_BYTES

    def holds(self, update: bytes) -> bool:
        """Whether this very update waits already."""
        return _digest(update) in self._waiting

    def has_space(self, update: bytes) -> bool:
        """Whether `update` may wait as well; a single one may be as large as a frame."""
        return not self._waiting or (
            len(self._waiting) < MAX_UPDATES and self._bytes + len(update) <= MAX_BYTES
        )

    def add(self, waiting: PendingUpdate) -> None:
        """Have an update wait."""
        self._waiting[_digest(waiting.update)] = waiting
        self._parts.append(waiting.update)
        self._bytes += len(waiting.update)
        if len(self._parts) > _CHUNK:
            self._parts = [merge_updates(*self._parts)]
            self._bytes = len(self._parts[0])

    def release(self, covers: Callable[[Mapping[int, int]], bool], vector: Callable[[], bytes]) -> None:
        """Forget what has become part of the document.

        Args:
            covers: Whether the document reaches so far.
            vector: Encodes the document's state vector; asked for only if there is something to forget.
        """
        left = {digest: waiting for digest, waiting in self._waiting.items() if not covers(waiting.reach)}
        if len(left) == len(self._waiting):
            return
        self._waiting = left
        self._parts = [get_update(merge_updates(*self._parts), vector())] if left else []
        self._bytes = sum(map(len, self._parts))


def without(
    premature: PendingUpdates, places: Collection[SliceKey]
) -> tuple[PendingUpdates, list[PendingUpdate]]:
    """Leave out the structs at some places. Any thread.

    Of an update that somebody sent, all that the same replica wrote later goes with them: nobody would ever see it.
    What the log holds may be merged from the updates of several people.

    Returns:
        What still waits; and those updates which had such structs.
    """
    left, changed = PendingUpdates(), list[PendingUpdate]()
    replicas = {replica for replica, _, _ in places}
    for waiting in premature:
        rest = None
        if not replicas.isdisjoint(waiting.reach):
            rest = slice_structs(waiting.update).without(places, and_after=waiting.peer is not None)
        if rest is not None:
            changed.append(waiting)
        if rest != EMPTY_UPDATE:
            left.add(waiting if rest is None else PendingUpdate(rest, check_update(rest), waiting.peer))
    return left, changed


def _digest(update: bytes) -> bytes:
    return blake2b(update, digest_size=16).digest()


TRIES = 64
PIECES = 4096
"""So many tries at a time, or so many pieces: whoever has made much wait that is false keeps one room busy, and no
other."""

Part = tuple[int, int]
"""The first of some pieces, and one past the last."""


class PendingReplay:
    """One pass through what waits.

    Attributes:
        places: Where the structs are that the document does not take.
        is_clean: Whether all was taken at once, so that the document holds it as if nothing had happened.
    """

    def __init__(self, pieces: StructSlices) -> None:
        """Begin a pass."""
        self.places: set[SliceKey] = set()
        self.is_clean = True
        self._pieces = pieces
        self._left: list[Part] = [(0, len(pieces))]
        self._inside: list[Part] = []

    @property
    def is_over(self) -> bool:
        """Whether everything was given."""
        return not self._left

    def culprits(self) -> bytes:
        """Return the structs that the document does not take, as one update."""
        return self._pieces.only(self.places)

    def go_on(self, ydoc: Doc[Any]) -> None:
        """Give the next parts to the document.

        Raises:
            DocumentDamagedError: The document panicked.
        """
        tries = pieces = 0
        while self._left and tries < TRIES and pieces < PIECES:
            first, end = self._left.pop()
            self._give(ydoc, (first, end))
            tries, pieces = tries + 1, pieces + end - first

    def _give(self, ydoc: Doc[Any], part: Part) -> None:
        first, end = part
        try:
            keeps_others = apply_update(ydoc, self._pieces.encode(first, end))
        except MisplacedError:
            self.is_clean = False
            if end - first == 1:
                self._throw_out(first)
            else:
                middle = (first + end) // 2
                self._left += ((middle, end), (first, middle))
            return
        if not keeps_others:
            self.is_clean = False
            self._left += reversed(self._inside)
            self._inside.clear()
        self._inside.append(part)

    def _throw_out(self, culprit: int) -> None:
        """Leave a piece out, and in this pass what the same replica wrote later: nobody sees what is beyond a gap."""
        self.places.add(self._pieces.key(culprit))
        end = self._pieces.end_of_replica(culprit)
        parts = [
            part
            for first, last in self._left
            for part in ((max(first, end), last), (first, min(last, culprit)))
        ]
        self._left = [(first, last) for first, last in parts if first < last]
