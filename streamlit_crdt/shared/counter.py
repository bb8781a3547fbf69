"""`room.counter(key)`."""

from __future__ import annotations

from streamlit_crdt.shared.view import View


class SharedCounter(View[float]):
    """A number to which everybody's additions count."""

    _rule_name = "counter"

    def _empty(self) -> float:
        return 0

    @property
    def value(self) -> float:
        """The sum of all additions: an int unless somebody added a float."""
        return self._read()

    def increment(self, by: float = 1) -> None:
        """Add `by`, which may be negative."""
        self._change(lambda value: value + by)

    def __int__(self) -> int:
        return int(self._read())

    def __float__(self) -> float:
        return float(self._read())
