"""How large a document may become. It is measured seldom, because measuring costs as much as it is large."""

from __future__ import annotations

STEPS = 64
"""A document that is worth watching is measured anew whenever it may have grown by such a part of the limit."""


class DocumentSize:
    """The size of a document, as an upper bound between two measurements.

    Attributes:
        at_most_bytes: It is not larger than this.
        is_large: Whether it exceeded the size that is worth a word in the log when it was last measured.
        is_full: Whether it had reached the limit then, so that nothing more is taken in.
    """

    def __init__(self, warn_bytes: int, max_bytes: int) -> None:
        self.at_most_bytes = 0
        self.is_large = False
        self.is_full = False
        self._warn_bytes = warn_bytes
        self._max_bytes = max_bytes
        self._measure_over_bytes = min(warn_bytes, max_bytes)

    @property
    def is_due(self) -> bool:
        """Whether it may have passed a limit: encode the document and tell `measured` how long that is."""
        return self.at_most_bytes > self._measure_over_bytes

    def grow(self, update_bytes: int) -> None:
        """Note an update. What it overwrites is not subtracted, hence "at most"."""
        self.at_most_bytes += update_bytes

    def measured(self, state_bytes: int) -> None:
        """Note the length of the document's state."""
        self.at_most_bytes = state_bytes
        self.is_large = state_bytes > self._warn_bytes
        self.is_full = state_bytes > self._max_bytes
        step = max(1, self._max_bytes // STEPS)
        self._measure_over_bytes = max(min(self._warn_bytes, self._max_bytes), state_bytes + step)
