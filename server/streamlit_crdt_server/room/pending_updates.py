"""Pending updates of a room: updates that a document received before the updates that they depend on.

`apply_update` accepts an update with missing dependencies and keeps its structs inside the document as pending
structs. With pycrdt 0.14.13 no observer sees them, and `get_update` omits them. Without the classes here such an edit
would be acknowledged and stored nowhere. The room therefore stores a pending update as it came, and adds it to the
state that replaces the log (rules S3, S5 and S6).

A struct may be misplaced: it lies in something that is no shared type. This shows only after its parent arrived.
pycrdt 0.14.13 then fails on the update that brings the parent, and drops all pending structs. They are applied again
by a `PendingReplay`: all together first, then by halves, down to the misplaced structs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from pycrdt import Doc, get_update, merge_updates

from streamlit_crdt_server.errors import UpdateRefusedError
from streamlit_crdt_server.yjs.lib0 import EMPTY_UPDATE, encode_varuint
from streamlit_crdt_server.yjs.safe_apply import MisplacedError, apply_update, read_vector
from streamlit_crdt_server.yjs.structs import SliceKey, StructSlices, slice_structs
from streamlit_crdt_server.yjs.update_decoder import check_update, decode_state_vector, read_update_meta

if TYPE_CHECKING:
    from streamlit_crdt_server.room.batch import QueuedUpdate
    from streamlit_crdt_server.room.peers import Peer

MAX_UPDATES = 1024
MAX_BYTES = 4 * 1024 * 1024
"""Limits of the pending updates of one room. A sender beyond them is disconnected and synchronizes again.

With pycrdt 0.14.13 a further pending update costs as much as all earlier ones: 20 000 updates of 20 bytes cost 10 s
of the event loop.
"""

SMALL_BYTES = 64 * 1024
"""Size up to which all pending updates are applied again at once: 5 ms. `MAX_BYTES` take 200 ms."""

MAX_REJECTED_BYTES = 16 * 1024 * 1024
"""Size of the rejected pending updates above which the document is loaded again.

Their structs remain inside the document, which never frees them.
"""
REJECTED_OVERHEAD_BYTES = 4096
"""Memory of a small rejected update inside the document, besides its own bytes."""

REPLAY_TRIES = 64
REPLAY_STRUCTS = 4096
"""Limits of one call of `PendingReplay.advance()`: tries, and structs. More would stall the other rooms."""

_MERGE_CHUNK = 64
"""Updates per merge. A merge costs the square of their number: 0.8 s for 10 000."""

Slice = tuple[int, int]
"""The index of the first struct of a slice, and the index after its last one."""


@dataclass(frozen=True, slots=True)
class PendingUpdate:
    """An update whose dependencies are missing.

    Attributes:
        reach: The clock per replica id up to which it inserts or deletes, see `check_update`.
        peer: The sender. None if the update comes from the log.
    """

    update: bytes
    reach: Mapping[int, int]
    peer: Peer | None = None


class PendingUpdates:
    """The pending updates of one document, and the same content merged into fewer updates."""

    def __init__(self) -> None:
        self._updates: dict[bytes, PendingUpdate] = {}
        self._parts: list[bytes] = []
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._updates)

    def __iter__(self) -> Iterator[PendingUpdate]:
        return iter(self._updates.values())

    @property
    def parts(self) -> tuple[bytes, ...]:
        """The content as few updates, which the caller merges."""
        return tuple(self._parts)

    @property
    def is_small(self) -> bool:
        """True if it is cheap to apply all pending updates again."""
        return self._bytes <= SMALL_BYTES

    def contains(self, update: bytes) -> bool:
        """Return whether exactly this update is pending."""
        return _digest(update) in self._updates

    def has_space(self, update: bytes) -> bool:
        """Return whether `update` may become pending. A single update may be as large as a frame."""
        return not self._updates or (
            len(self._updates) < MAX_UPDATES and self._bytes + len(update) <= MAX_BYTES
        )

    def add(self, pending: PendingUpdate) -> None:
        self._updates[_digest(pending.update)] = pending
        self._parts.append(pending.update)
        self._bytes += len(pending.update)
        if len(self._parts) > _MERGE_CHUNK:
            self._parts = [merge_updates(*self._parts)]
            self._bytes = len(self._parts[0])

    def remove_applied(
        self, is_applied: Callable[[Mapping[int, int]], bool], encode_vector: Callable[[], bytes]
    ) -> None:
        """Remove the updates that became part of the document.

        Args:
            is_applied: Whether the document has every clock of a reach.
            encode_vector: Encodes the state vector of the document. Called only if an update is removed.
        """
        left = {key: pending for key, pending in self._updates.items() if not is_applied(pending.reach)}
        if len(left) == len(self._updates):
            return
        self._updates = left
        self._parts = [get_update(merge_updates(*self._parts), encode_vector())] if left else []
        self._bytes = sum(map(len, self._parts))


def without(
    pending: PendingUpdates, places: Collection[SliceKey]
) -> tuple[PendingUpdates, list[PendingUpdate]]:
    """Return the pending updates without the structs at some places. Any thread.

    In an update of a peer, all later structs of the same replica are removed too: they depend on the removed one and
    would never be visible. An update from the log may be merged from several participants, so only the struct goes.

    Returns:
        The remaining pending updates, and the original updates that had such structs.
    """
    left, changed = PendingUpdates(), list[PendingUpdate]()
    replicas = {replica for replica, _, _ in places}
    for each in pending:
        rest = None
        if not replicas.isdisjoint(each.reach):
            rest = slice_structs(each.update).without(places, and_after=each.peer is not None)
        if rest is not None:
            changed.append(each)
        if rest != EMPTY_UPDATE:
            left.add(each if rest is None else PendingUpdate(rest, check_update(rest), each.peer))
    return left, changed


def _digest(update: bytes) -> bytes:
    return blake2b(update, digest_size=16).digest()


class PendingReplay:
    """One pass that applies pending structs to a document again and finds the misplaced ones.

    Attributes:
        places: The places of the misplaced structs.
        is_clean: Whether the document took everything at once, so that nothing more is to be found.
    """

    def __init__(self, structs: StructSlices) -> None:
        self.places: set[SliceKey] = set()
        self.is_clean = True
        self._structs = structs
        self._left: list[Slice] = [(0, len(structs))]
        self._applied: list[Slice] = []

    @property
    def is_over(self) -> bool:
        return not self._left

    def encode_misplaced(self) -> bytes:
        """Encode the misplaced structs as one update."""
        return self._structs.only(self.places)

    def advance(self, ydoc: Doc[Any]) -> None:
        """Apply the next slices, up to `REPLAY_TRIES` and `REPLAY_STRUCTS`.

        Raises:
            DocumentDamagedError: The document panicked.
        """
        tries = structs = 0
        while self._left and tries < REPLAY_TRIES and structs < REPLAY_STRUCTS:
            first, end = self._left.pop()
            self._apply(ydoc, (first, end))
            tries, structs = tries + 1, structs + end - first

    def _apply(self, ydoc: Doc[Any], part: Slice) -> None:
        first, end = part
        try:
            keeps_pending = apply_update(ydoc, self._structs.encode(first, end))
        except MisplacedError:
            self.is_clean = False
            if end - first == 1:
                self._exclude(first)
            else:
                middle = (first + end) // 2
                self._left += ((middle, end), (first, middle))
            return
        if not keeps_pending:
            self.is_clean = False
            self._left += reversed(self._applied)
            self._applied.clear()
        self._applied.append(part)

    def _exclude(self, misplaced: int) -> None:
        """Exclude a struct, and in this pass the later ones of its replica: they depend on it."""
        self.places.add(self._structs.key(misplaced))
        end = self._structs.end_of_replica(misplaced)
        parts = [
            part
            for first, last in self._left
            for part in ((max(first, end), last), (first, min(last, misplaced)))
        ]
        self._left = [(first, last) for first, last in parts if first < last]


class AppliedTracker:
    """The applied clocks of a document, and its pending updates.

    Attributes:
        pending: The pending updates.
        needs_replay: Whether the document may have dropped pending structs and must receive them again.
        replay: The current replay. None before it starts.
        has_completed_pending: Whether the last batch completed pending updates, so that its change contains them.
    """

    def __init__(self) -> None:
        self.pending = PendingUpdates()
        self.needs_replay = False
        self.replay: PendingReplay | None = None
        self.has_completed_pending = False
        self._has_just_dropped = False
        self._clocks: dict[int, int] = {}
        self._rejected_bytes = 0

    @property
    def has_waiting(self) -> bool:
        """True if structs inside the document may wait for others."""
        return bool(self.pending or self.needs_replay or self._rejected_bytes)

    @property
    def replica_count(self) -> int:
        """Number of replica ids in the document."""
        return len(self._clocks)

    @property
    def has_many_rejected(self) -> bool:
        """True if the rejected structs in the document exceed `MAX_REJECTED_BYTES`. A reload frees them."""
        return self._rejected_bytes > MAX_REJECTED_BYTES

    @property
    def pending_update(self) -> bytes:
        """All pending updates merged into one."""
        return self.add_pending(EMPTY_UPDATE)

    def add_pending(self, state: bytes) -> bytes:
        """Return an encoded state merged with the pending updates."""
        return merge_updates(state, *self.pending.parts) if self.pending else state

    def reset(self, ydoc: Doc[Any], updates: Sequence[bytes], is_complete: bool = True) -> None:
        """Start with a document that was just loaded.

        Args:
            ydoc: The document.
            updates: The updates that were applied to it.
            is_complete: Whether the document took all of them. If not, everything beyond its state vector becomes
                pending, every deletion too.

        Raises:
            DocumentDamagedError: The document panicked.
        """
        vector = read_vector(ydoc)
        self._clocks = decode_state_vector(vector)
        self.pending = PendingUpdates()
        self._rejected_bytes = 0
        self.needs_replay, self.replay = not is_complete, None
        for start in range(0, len(updates), _MERGE_CHUNK):
            beyond = get_update(merge_updates(*updates[start : start + _MERGE_CHUNK]), vector)
            reach = check_update(beyond)
            if self.needs_replay or not self._has(reach):
                self.pending.add(PendingUpdate(beyond, reach))
        self.needs_replay |= bool(self.pending)  # in another order the document may take more of it

    def require_replay(self) -> None:
        """Note that the document dropped its pending structs during a batch that is not recorded yet."""
        self.needs_replay, self.replay = True, None
        self._has_just_dropped = True

    def finish_replay(self) -> None:
        """Note that the document took all pending updates."""
        self.needs_replay, self.replay = False, None
        self.pending.remove_applied(self._has, self._encode_vector)

    def remove(self, places: Collection[SliceKey]) -> list[PendingUpdate]:
        """Remove the structs at some places, and return the pending updates that contained them. Any thread."""
        self.pending, changed = without(self.pending, places)
        return changed

    def record(
        self, entries: Sequence[QueuedUpdate], change: bytes | None
    ) -> tuple[list[QueuedUpdate], list[bytes]]:
        """Record an applied batch. Rejects an update that would become pending beyond the limits.

        Args:
            entries: The applied updates.
            change: The update that the document's observer received. None if the document did not change.

        Returns:
            The accepted updates, and the new pending updates, which must be stored as they came.
        """
        count = len(self.pending)
        self.has_completed_pending = change is not None and self._record_change(change, entries)
        if change is not None and not self.needs_replay:
            self.pending.remove_applied(self._has, self._encode_vector)
        if self.has_completed_pending and self.pending and self.pending.is_small:
            self._restart_replay()
        self.has_completed_pending |= len(self.pending) < count
        accepted: list[QueuedUpdate] = []
        pending: list[bytes] = []
        for entry in entries:
            update = entry.update
            is_applied = self._has(update.reach)
            if not ((is_applied and not self._has_just_dropped) or self.pending.contains(update.data)):
                if not (is_applied or self.pending.has_space(update.data)):
                    self._reject(entry)
                    continue
                self.pending.add(PendingUpdate(update.data, update.reach, entry.peer))
                pending.append(update.data)
            accepted.append(entry)
        self._has_just_dropped = False
        return accepted, pending

    def reset_rejected(self) -> None:
        """Reset the size of the rejected updates, before the document is loaded again."""
        self._rejected_bytes = 0

    def _reject(self, entry: QueuedUpdate) -> None:
        self._rejected_bytes += len(entry.update.data) + REJECTED_OVERHEAD_BYTES
        entry.reject(
            UpdateRefusedError("it depends on missing updates, and the room has too many pending updates")
        )

    def _restart_replay(self) -> None:
        self.needs_replay = True
        if self.replay is not None:
            self.replay.is_clean = False

    def _encode_vector(self) -> bytes:
        clocks = (encode_varuint(replica) + encode_varuint(clock) for replica, clock in self._clocks.items())
        return encode_varuint(len(self._clocks)) + b"".join(clocks)

    def _record_change(self, change: bytes, entries: Iterable[QueuedUpdate]) -> bool:
        """Advance the clocks by a change, and return whether it contains more than the applied updates.

        In that case pycrdt 0.14.13 may have missed that another pending update is complete: after a gap was filled, it
        compares with the end of the structs beyond the gap. The last of them would be visible only after the next
        edit of its replica.
        """
        for entry in entries:
            if entry.update.data == change:  # decoded already
                self._advance(entry.update.contiguous_ends)
                return False
        advanced = self._advance(read_update_meta(change).contiguous_ends())
        return any(
            all(clock > entry.update.reach.get(replica, 0) for entry in entries)
            for replica, clock in advanced.items()
        )

    def _advance(self, ends: Mapping[int, int]) -> dict[int, int]:
        """Advance the clocks, and return those that changed."""
        advanced = {replica: clock for replica, clock in ends.items() if clock > self._clocks.get(replica, 0)}
        self._clocks |= advanced
        return advanced

    def _has(self, reach: Mapping[int, int]) -> bool:
        """Return whether the document has every clock of a reach."""
        return all(clock <= self._clocks.get(replica, 0) for replica, clock in reach.items())
