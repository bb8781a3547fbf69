"""Updates that wait inside a document for what is missing, and how many may.

Whoever sends what can never be completed would otherwise fill the memory and the log, and slow everybody down:
with pycrdt 0.14.13 each further update of this kind costs as much as those that wait already, 10 s of the loop
for 20 000 of 20 bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b

from pycrdt import get_update, merge_updates

MAX_UPDATES = 1024
MAX_BYTES = 4 * 1024 * 1024
"""More than this need not be kept: what is missing is mostly on its way, and who sent it is told to start over."""

_CHUNK = 64
"""Merging many updates at once costs the square of their number: 0.8 s for 10 000."""


class Premature:
    """What waits, as few updates, and how far each of those that it was made of reaches."""

    def __init__(self) -> None:
        self._reaches: dict[bytes, Mapping[int, int]] = {}
        self._parts: list[bytes] = []
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._reaches)

    @property
    def parts(self) -> tuple[bytes, ...]:
        """What waits; to be merged by whoever needs it."""
        return tuple(self._parts)

    def holds(self, update: bytes) -> bool:
        """Whether this very update waits already."""
        return _digest(update) in self._reaches

    def has_space(self, update: bytes) -> bool:
        """Whether `update` may wait as well; a single one may be as large as a frame."""
        return not self._reaches or (
            len(self._reaches) < MAX_UPDATES and self._bytes + len(update) <= MAX_BYTES
        )

    def add(self, update: bytes, reach: Mapping[int, int]) -> None:
        """Have an update wait."""
        self._reaches[_digest(update)] = reach
        self._parts.append(update)
        self._bytes += len(update)
        if len(self._parts) > _CHUNK:
            self._parts = [merge_updates(*self._parts)]
            self._bytes = len(self._parts[0])

    def release(self, covers: Callable[[Mapping[int, int]], bool], vector: Callable[[], bytes]) -> None:
        """Forget what has become part of the document.

        Args:
            covers: Whether the document reaches so far.
            vector: Encodes the document's state vector; asked for only if there is something to forget.
        """
        left = {digest: reach for digest, reach in self._reaches.items() if not covers(reach)}
        if len(left) == len(self._reaches):
            return
        self._reaches = left
        self._parts = [get_update(merge_updates(*self._parts), vector())] if left else []
        self._bytes = sum(map(len, self._parts))


def _digest(update: bytes) -> bytes:
    return blake2b(update, digest_size=16).digest()
