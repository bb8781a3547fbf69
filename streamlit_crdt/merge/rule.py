"""What a merge rule is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from pycrdt import Array, Map, Text

from streamlit_crdt.codec.scalars import Stored

Shared = Text | Array[Any] | Map[Any]
"""A root type of a room's document."""


class Rule(Protocol):
    """How edits of one kind of value merge. Rules hold no state."""

    @property
    def name(self) -> str:
        """As in `merge={key: name}`, and before the colon in the name of the root type."""
        ...

    @property
    def kind(self) -> type[Text] | type[Array[Any]] | type[Map[Any]]:
        """What the root type is."""
        ...

    def takes(self, value: object) -> bool:
        """Say whether this rule can hold `value`, which is shareable; what it cannot is stored as a whole."""
        ...

    def form(self, value: Any) -> str:
        """Return a word for what is lost when `value` is stored, such as which container it was."""
        ...

    def edit(self, shared: Any, before: Any, after: Any, author: int) -> None:
        """Make of `shared` what `after` is of `before`; what others have changed since stays.

        Args:
            shared: the root type; a transaction of its document is open.
            before: what the author of the change saw, None if there was nothing.
            after: what the author made of it.
            author: the author's replica id.
        """
        ...

    def distance(self, before: Any, after: Any) -> float:
        """Return how much an edit from `before` to `after` changes: of what may have been seen, the nearest was."""
        ...

    def read(self, shared: Any) -> Stored:
        """Return the content of `shared` as it is stored."""
        ...

    def value(self, content: Stored, form: str) -> Any:
        """Return the value of such a content; may raise anything if another program wrote it."""
        ...


@dataclass(frozen=True, slots=True)
class MergedValue:
    """A value that a rule holds: the rule, the word of `Rule.form`, and what is stored."""

    rule: Rule
    form: str
    content: Stored

    def value(self) -> Any:
        return self.rule.value(self.content, self.form)


MARKER = "$rule"
"""The tag that stands in the map "state" for a value that lies in a root type of its own: the rule and the form."""


def marker(rule: Rule, form: str) -> Stored:
    return {MARKER: [rule.name, form]}


def is_marker(stored: Stored) -> bool:
    return type(stored) is dict and len(stored) == 1 and MARKER in stored
