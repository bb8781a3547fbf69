"""What the views of shared types have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from streamlit_crdt.document.replica import Replica
from streamlit_crdt.errors import SharedTypeError, ValueNotShareableError
from streamlit_crdt.merge import RULES, Rule

Value = TypeVar("Value")
Returned = TypeVar("Returned")


class Writer(Protocol):
    """Who may write into a room, such as a session that is in it."""

    @property
    def replica(self) -> Replica: ...

    def change(self, key: str, rule: Rule, empty: Any, change: Callable[[Any], Any]) -> None:
        """Edit the value of `key` as it is now; `change` gets it, `empty` if there is none.

        Raises:
            ValueNotShareableError: the outcome has no shared form, or the key is private (P8).
            ViewOnlyError: the writer may only look (A1).
        """
        ...


class View(Generic[Value]):
    """One key of a room, as a value of one rule. Made by `room.text(key)` and its like."""

    _rule_name: ClassVar[str]

    def __init__(self, writer: Writer, key: str) -> None:
        self.key = key
        self._writer = writer
        self._rule = RULES[self._rule_name]

    def _empty(self) -> Value:
        raise NotImplementedError

    def _read(self) -> Value:
        """Return a copy of what everybody has."""
        value: Value = self._checked(self._writer.replica.get(self.key, self._empty()))
        return value

    def _change(self, change: Callable[[Value], Value]) -> None:
        def checked(value: Any) -> Value:
            after = self._plain(change(self._checked(value)))
            if not self._rule.takes(after):
                raise ValueNotShareableError(
                    type(after).__name__, f"it is no value for a {self._rule_name}", key=self.key
                )
            return after

        self._writer.change(self.key, self._rule, self._empty(), checked)

    def _mutate(self, change: Callable[[Value], Returned]) -> Returned:
        """Have `change` alter the value in place, as one edit, and return what it returns."""
        returned: list[Returned] = []

        def alter(value: Value) -> Value:
            returned.append(change(value))
            return value

        self._change(alter)
        return returned[0]

    def _plain(self, value: Value) -> Value:
        """Return a value of a kind that stands for one of Python's own as the latter."""
        return value

    def _checked(self, value: Any) -> Any:
        if not self._rule.takes(value):
            raise SharedTypeError(self.key, self._rule_name, type(value).__name__)
        return value

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.key!r}, {self._read()!r})"
