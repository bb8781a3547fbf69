"""Operations on the root type of a counter."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from streamlit_crdt.codec.scalars import Stored
from streamlit_crdt.errors import ValueNotShareableError
from streamlit_crdt.merge.counter_rule import CounterRule, addition, reset
from streamlit_crdt.merge.editors.editor import Editor, Step
from streamlit_crdt.merge.item_keys import as_read

_COUNTER: Final = CounterRule()


class CounterEditor(Editor):
    """Editor of a counter."""

    content: dict[str, Stored]
    _value: float | None = None

    def adapt(self, entry: str | None) -> None:
        self._value = None

    @property
    def value(self) -> float:
        if self._value is None:
            self._value = _COUNTER.value(self.content, self.container_tag)
        return self._value

    def add(self, number: float) -> None:
        """Add a number.

        Raises:
            ValueNotShareableError: the sum is not a finite number.
        """
        after = self.value + number
        if not _COUNTER.accepts(after):
            raise ValueNotShareableError(type(after).__name__, "it is not a value for a counter")
        if number:
            self.steps.append(("add", number))
            self._write(*addition(self.content, number, self._author))
        self.container_tag = _COUNTER.container_tag(after)
        self._value = after if type(after) is int else None  # a sum of floats depends on the order

    def reset(self) -> None:
        """Set the value to 0. If two people reset one value at the same moment, it is reset once."""
        self.steps.append(("reset", 0))
        for name, stored in list(reset(self.content)):
            self._write(name, stored)
        self.container_tag, self._value = "int", None

    def repeat(self, steps: Iterable[Step]) -> None:
        for name, number in steps:
            if name == "add":
                self.add(number)
            else:
                self.reset()

    def _write(self, name: str, stored: Stored | None) -> None:
        shared = self._open()
        if stored is None:
            del shared[name]
            del self.content[name]
        else:
            shared[name] = stored
            self.content[name] = as_read(stored)
