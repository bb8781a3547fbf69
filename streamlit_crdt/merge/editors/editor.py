"""The base class of editors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from streamlit_crdt.merge.rule import Shared

Step = tuple[Any, ...]
"""Name and arguments of one step of an operation."""


class Editor:
    """The root type of one key, open for operations.

    If another program or rule changes the root type, the editor is told or replaced. Not thread-safe.

    Attributes:
        content: the present content in encoded form, as pycrdt reads it.
        container_tag: see `MergedValue`.
        has_changed: whether an operation has changed the content since the attribute was reset.
        steps: the steps of the operations since the attribute was reset, for `repeat`.
        is_prepared: whether the root type contains nothing that pycrdt cannot edit around.
    """

    def __init__(
        self, content: Any, container_tag: str, author: int, open_shared: Callable[[], Shared]
    ) -> None:
        self.content = content
        self.container_tag = container_tag
        self.has_changed = False
        self.is_prepared = False
        self.steps: list[Step] = []
        self._author = author
        self._open_shared = open_shared

    def begin(self) -> None:
        """Begin an operation."""
        self.has_changed = False
        self.steps = []

    def adapt(self, entry: str | None) -> None:
        """Adapt to a change that another program or rule has made in `content`.

        Args:
            entry: name of the changed entry of a map. None for a list.
        """

    def repeat(self, steps: Iterable[Step]) -> None:
        """Make the steps of another editor, whose content may have been another one."""
        raise NotImplementedError

    def _open(self) -> Any:
        """Return the root type for a write."""
        self.has_changed = True
        return self._open_shared()
