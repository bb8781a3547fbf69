"""What a tab has not acknowledged yet: updates by version, in bounded memory."""

from __future__ import annotations

from collections import deque

from pycrdt import merge_updates

MAX_LOG_BYTES = 1024 * 1024
MAX_LOG_UPDATES = 512
"""A log longer than this is dropped; the tab then gets a diff of the whole document instead."""


def merged(updates: list[bytes]) -> bytes:
    """Return one update with the content of several, b"" for none."""
    if not updates:
        return b""
    return updates[0] if len(updates) == 1 else bytes(merge_updates(*updates))


class UpdateLog:
    """Updates in the order in which they were made. `version` grows by one with each. Not thread-safe."""

    def __init__(self) -> None:
        self.version = 0
        self._updates: deque[tuple[int, bytes]] = deque()
        self._bytes = 0
        self._floor = 0

    def append(self, update: bytes) -> None:
        self.version += 1
        self._updates.append((self.version, update))
        self._bytes += len(update)
        if self._bytes > MAX_LOG_BYTES or len(self._updates) > MAX_LOG_UPDATES:
            self._drop()

    def since(self, version: int) -> bytes | None:
        """Return one update of all changes after `version`, b"" if there are none, None if the log begins
        later."""
        if version >= self.version:
            return b""
        if version < self._floor:
            return None
        return merged([update for number, update in self._updates if number > version])

    def acknowledge(self, version: int) -> None:
        """Drop what the tab has."""
        while self._updates and self._updates[0][0] <= version:
            self._floor, update = self._updates.popleft()
            self._bytes -= len(update)

    def forget(self) -> None:
        """Begin anew, as for a tab that may lack anything."""
        self.version += 1
        self._drop()

    def _drop(self) -> None:
        self._updates.clear()
        self._bytes = 0
        self._floor = self.version
