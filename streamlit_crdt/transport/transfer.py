"""Transfers of large updates between session and tab, in parts. No I/O.

Streamlit limits its messages: `server.maxWidgetStateSize` (25 MB) to the session, `server.maxMessageSize` (200 MB) to
the tab. A larger update is sent in parts, one in flight. The receiver reports the bytes that it has. A part that is
lost or repeated changes nothing: it counts only at the position that the receiver has reached. A receiver that
restarted reports no bytes, and the transfer begins again. The update counts as received when it is complete.
"""

from __future__ import annotations

from typing import Final

from streamlit_crdt.errors import FrameError

MAX_TOTAL_BYTES: Final = 256 * 1024 * 1024
"""Size limit in bytes of an update that arrives in parts, four times that of a room. A larger one is rejected."""


class OutgoingTransfer:
    """An update on its way to the tab.

    Attributes:
        since: version after which the update begins.
        version: version of the replica up to which it reaches.
        state_vector: state vector of the replica at `version`.
    """

    def __init__(self, since: int, version: int, state_vector: bytes, update: bytes) -> None:
        self.since = since
        self.version = version
        self.state_vector = state_vector
        self._update = update
        self._received = 0

    def next(self, max_bytes: int) -> tuple[tuple[int, int], bytes]:
        """Return the next part: its first byte and the bytes of the update, and its content."""
        start = self._received
        return (start, len(self._update)), self._update[start : start + max_bytes]

    def report(self, progress: tuple[int, int] | None) -> None:
        """Apply the tab's report: version and bytes of the update that it has in part, None if there is none."""
        version, received = progress or (self.version, 0)
        self._received = min(received, len(self._update)) if version == self.version else 0


class IncomingTransfer:
    """The parts of one update that have arrived from a tab."""

    def __init__(self) -> None:
        self._key: tuple[int, int, int] | None = None
        self._total = 0
        self._content = bytearray()

    def progress_of(self, sender: int | None) -> tuple[int, int] | None:
        """Return version and bytes of an incomplete update of `sender`, None if there is none."""
        if self._key is None or self._key[0] != sender:
            return None
        return self._key[1], len(self._content)

    def add(self, key: tuple[int, int, int], part: tuple[int, int], content: bytes) -> bytes | None:
        """Add a part. Return the whole update once it is complete.

        Args:
            key: sender, version and `since` of the frame.
            part: first byte of the part, and bytes of the update.
            content: the part.

        Raises:
            FrameError: the update is too large, or the part is not within it.
        """
        start, total = part
        if total > MAX_TOTAL_BYTES or start + len(content) > total:
            raise FrameError(f"its part [{start}, {total}] is not within {MAX_TOTAL_BYTES} bytes")
        if key != self._key or total != self._total:
            self._key, self._total, self._content = key, total, bytearray()
        if start != len(self._content):
            return None
        self._content += content
        if len(self._content) < total:
            return None
        update = bytes(self._content)
        self._key, self._content = None, bytearray()
        return update
