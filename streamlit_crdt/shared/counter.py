"""`room.counter(key)`."""

from __future__ import annotations

from numbers import Integral, Real

from streamlit_crdt.errors import ValueNotShareableError
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
        """Add `by`, which may be negative, and any real number, such as numpy's.

        Raises:
            ValueNotShareableError: it is none, or the sum is not finite.
        """
        if not isinstance(by, Real):
            raise ValueNotShareableError(type(by).__name__, "it is no real number", key=self.key)
        number = int(by) if isinstance(by, Integral) else float(by)
        self._change(lambda value: value + number)

    def __int__(self) -> int:
        return int(self._read())

    def __float__(self) -> float:
        return float(self._read())
