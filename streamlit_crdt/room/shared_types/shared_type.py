"""The base class of shared types, and the protocol of write access to a room."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from streamlit_crdt.document.replica import Replica
from streamlit_crdt.errors import SharedTypeError, ValueNotShareableError
from streamlit_crdt.merge import Rule

Value = TypeVar("Value")
Returned = TypeVar("Returned")


class Writer(Protocol):
    """Write access to a room, for example the membership of a session."""

    @property
    def replica(self) -> Replica: ...

    def rule(self, key: str, value: Any) -> Rule | None:
        """Return the rule by which the app merges `value` under `key`. None if the last writer wins."""
        ...

    def operate(self, key: str, rule: Rule, empty: Any, operation: Callable[[Any], Returned]) -> Returned:
        """Make one operation on the value of `key`, in time that depends on what it changes. Return its result.

        Args:
            key: the key.
            rule: merge rule of the key.
            empty: the value if the room has none.
            operation: called with the editor of the value, see `Replica.operate`.

        Raises:
            ValueNotShareableError: the new value cannot be shared, or the key is private (P8).
            ViewOnlyError: the role is viewer (A1).
        """
        ...

    def change(self, key: str, rule: Rule | None, empty: Any, change: Callable[[Any], Any]) -> None:
        """Replace the present value of `key` by the result of `change`, which is called with a copy of it.

        Raises as `operate` does.
        """
        ...


class SharedType(Generic[Value]):
    """View of one key as a value of one merge rule. Created by `room.text(key)` and the similar methods."""

    def __init__(self, writer: Writer, key: str, rule: Rule, empty: Callable[[], Value]) -> None:
        """Create a view.

        Args:
            writer: access to the room.
            key: the key.
            rule: merge rule of the key.
            empty: returns the value that the view shows while the room has none.
        """
        self.key = key
        self._writer = writer
        self._rule = rule
        self._empty = empty

    def _read(self) -> Value:
        """Return a copy of the shared value."""
        value: Value = self._checked(self._writer.replica.get(self.key, self._empty()))
        return value

    def _inspect(self, read: Callable[[Any], Returned]) -> Returned:
        """Return the result of `read`, which is called with the editor of the value and must not change it."""
        return self._writer.replica.inspect(self.key, self._rule, self._empty(), read)

    def _operate(self, operation: Callable[[Any], Returned]) -> Returned:
        """Make an operation with the editor of the value. Return its result."""
        return self._writer.operate(self.key, self._rule, self._empty(), operation)

    def _change(self, rule: Rule, change: Callable[[Value], Value]) -> None:
        """Replace the value by the result of `change`. Only the difference is written."""

        def checked(value: Any) -> Value:
            after = change(self._checked(value))
            if not rule.accepts(after):
                raise ValueNotShareableError(
                    type(after).__name__, f"it is not a value for a {rule.name}", key=self.key
                )
            return after

        self._writer.change(self.key, rule, self._empty(), checked)

    def _checked(self, value: Any) -> Any:
        if not self._rule.accepts(value):
            raise SharedTypeError(self.key, self._rule.name, type(value).__name__)
        return value

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.key!r}, {self._read()!r})"
