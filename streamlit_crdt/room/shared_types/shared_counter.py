"""A shared counter."""

from __future__ import annotations

from numbers import Integral, Real

from streamlit_crdt.errors import ValueNotShareableError
from streamlit_crdt.merge import RULES
from streamlit_crdt.room.shared_types.shared_type import SharedType, Writer


class SharedCounter(SharedType[float]):
    """A number to which concurrent additions all count."""

    def __init__(self, writer: Writer, key: str) -> None:
        super().__init__(writer, key, RULES["counter"], int)

    @property
    def value(self) -> float:
        """The sum of all additions: an int unless one of them was a float."""
        value: float = self._inspect(lambda editor: editor.value)
        return value

    def increment(self, by: float = 1) -> None:
        """Add `by`.

        Args:
            by: any real number, also negative, and also of numpy.

        Raises:
            ValueNotShareableError: `by` is not a real number, or the sum is not finite.
        """
        number = self._number(by)
        self._operate(lambda editor: editor.add(number))

    def decrement(self, by: float = 1) -> None:
        """Subtract `by`. Arguments and errors are those of `increment`."""
        number = self._number(by)
        self._operate(lambda editor: editor.add(-number))

    def reset(self) -> None:
        """Set the value to 0.

        If several people reset the counter at the same moment, it is reset once. Increments that the author of the
        reset has not seen yet still count.
        """
        self._operate(lambda editor: editor.reset())

    def _number(self, by: float) -> float:
        if not isinstance(by, Real):
            raise ValueNotShareableError(type(by).__name__, "it is not a real number", key=self.key)
        return int(by) if isinstance(by, Integral) else float(by)

    def __int__(self) -> int:
        return int(self.value)

    def __float__(self) -> float:
        return float(self.value)
