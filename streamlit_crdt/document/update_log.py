"""The log of updates that the tab has not acknowledged."""

from __future__ import annotations

from collections import deque

from streamlit_crdt.document.document import merge_updates

MAX_LOG_BYTES = 1024 * 1024
"""Limit of the update log in bytes. Beyond it the log is dropped, and the tab gets a diff of the whole document."""

MAX_LOG_UPDATES = 512
"""Limit of the update log in updates, with the same consequence."""


class UpdateLog:
    """Unacknowledged updates in their order. `version` is incremented by each. Not thread-safe."""

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
        """Return one update with all changes after `version`: b"" if there are none, None if the log starts later."""
        if version >= self.version:
            return b""
        if version < self._floor:
            return None
        return merge_updates([update for number, update in self._updates if number > version])

    def acknowledge(self, version: int) -> None:
        """Drop the updates up to `version`, which the tab has applied."""
        while self._updates and self._updates[0][0] <= version:
            self._floor, update = self._updates.popleft()
            self._bytes -= len(update)

    def reset(self) -> None:
        """Drop all updates and increment the version: the tab needs a diff of the whole document."""
        self.version += 1
        self._drop()

    def _drop(self) -> None:
        self._updates.clear()
        self._bytes = 0
        self._floor = self.version
