"""Protocol of merge rules, values stored by a rule, and the markers that name the rule of a key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import count
from typing import Any, Protocol

from pycrdt import Array, Map, Text

from streamlit_crdt.codec.scalars import Stored
from streamlit_crdt.merge.tree.versions import Versions

_ID_BYTES = 7

MAX_ID = 2**53 - 1
"""Largest replica id: Yjs reads an id as a JavaScript number."""

Shared = Text | Array[Any] | Map[Any]
"""A root type of a document."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """Placeholder of an item of another program that has no value, such as XML, a subdocument or a format.

    Attributes:
        kind: Its type, for messages.
    """

    kind: str


@dataclass(frozen=True, slots=True)
class Edit:
    """One edit of a value by a merge rule.

    Attributes:
        before: the value that the author of the edit saw, None if there was none.
        after: the new value.
        author: the author's replica id.
        is_by_person: a person adds what the edit adds. Equal additions of two people are both kept. Otherwise every
            session may compute the same edit, and equal edits of an equal value are one edit (R9).
        seen: the contents that the author may have seen, for rules whose items have an identity. The rule adds the
            content that the author has made. None if they are not remembered.
        root: name of the root type.
        clocks: number of operations of each replica in the document.
        derived: the replica ids that were derived from insertions of this transaction. An edit adds its own.
    """

    before: Any
    after: Any
    author: int
    is_by_person: bool = True
    seen: Versions | None = None
    root: str = ""
    clocks: Mapping[int, int] = field(default_factory=dict)
    derived: set[int] = field(default_factory=set)

    def derive(self, source: str, is_present: Callable[[int], bool] = lambda _author: False) -> int | None:
        """Return a new replica id that is derived from a computed insertion; None if the insertion is present.

        Content of a derived id that was deleted is deleted for good. The next id of the sequence is used then.

        Args:
            source: everything that defines the insertion.
            is_present: returns whether content of a derived id is in the document and not deleted.
        """
        for number in count():
            author = derived_id(f"{self.root}\0{source}\0{number}")
            if author not in self.clocks and author not in self.derived:
                self.derived.add(author)
                return author
            if is_present(author):
                return None
        raise AssertionError("unreachable")


class Rule(Protocol):
    """Merge rule of one kind of value. A rule has no state."""

    @property
    def name(self) -> str:
        """Name in `merge={key: name}`, and prefix of the root type's name before the colon."""
        ...

    @property
    def kind(self) -> type[Text] | type[Array[Any]] | type[Map[Any]]:
        """Class of the root type."""
        ...

    @property
    def empty(self) -> Stored:
        """Content of an empty root type."""
        ...

    def accepts(self, value: object) -> bool:
        """Return whether this rule can store `value`, which is shareable. Other values are stored as a whole."""
        ...

    def container_tag(self, value: Any) -> str:
        """Return the property of `value` that its content lacks, such as the type of the container."""
        ...

    def edit(self, shared: Any, content: Any, edit: Edit) -> None:
        """Apply the difference between two values to `shared`. Later changes of other replicas stay.

        Args:
            shared: the root type. A transaction of its document is open.
            content: its present content, see `MergedValue`.
            edit: the two values and their author.
        """
        ...

    def distance(self, before: Any, after: Any) -> float:
        """Return the size of the difference between two values.

        If several values may be the base of an edit, the nearest one is taken as its base.
        """
        ...

    def value(self, content: Stored, container_tag: str) -> Any:
        """Return the value of a content. May raise any exception if another program wrote the content."""
        ...


@dataclass(frozen=True, slots=True)
class MergedValue:
    """A value in a root type of its own.

    Attributes:
        rule: its rule.
        container_tag: the result of `Rule.container_tag`.
        content: its content in encoded form: str, list or dict. A list has `Foreign` for items without a value.
    """

    rule: Rule
    container_tag: str
    content: Stored

    def value(self) -> Any:
        return self.rule.value(self.content, self.container_tag)


def derived_id(source: str) -> int:
    """Return the replica id that is derived from a text."""
    digest = blake2b(source.encode(), digest_size=_ID_BYTES).digest()
    return int.from_bytes(digest, "big") & MAX_ID


MARKER = "$rule"
"""Tag in the map "state". It says that the key has a root type of its own, with this rule and container tag."""


def marker(rule: Rule, container_tag: str) -> Stored:
    return {MARKER: [rule.name, container_tag]}


def is_marker(stored: Stored) -> bool:
    return type(stored) is dict and len(stored) == 1 and MARKER in stored
