"""A shared text."""

from __future__ import annotations

from typing import Any, Self

from streamlit_crdt.merge import RULES
from streamlit_crdt.merge.editors import TextEditor
from streamlit_crdt.room.shared_types.shared_type import SharedType, Writer


class SharedText(SharedType[str]):
    """A text that merges by character. Positions count characters, as in `str`."""

    def __init__(self, writer: Writer, key: str) -> None:
        super().__init__(writer, key, RULES["text"], str)

    def __str__(self) -> str:
        return self._read()

    def __len__(self) -> int:
        return len(self._read())

    def __contains__(self, substring: object) -> bool:
        return isinstance(substring, str) and substring in self._read()

    def __getitem__(self, index: int | slice) -> str:
        return self._read()[index]

    def __eq__(self, other: object) -> bool:
        return self._read() == (other._read() if isinstance(other, SharedText) else other)

    __hash__ = None  # type: ignore[assignment]

    def __iadd__(self, text: str) -> Self:
        self.append(text)
        return self

    def append(self, text: str) -> None:
        """Append `text`. Texts that several people append are all kept."""
        added = _plain(text)
        self._operate(lambda editor: editor.insert(len(editor.content), added))

    def insert(self, place: int, text: str) -> None:
        """Insert `text` before the character at index `place`. An index out of range means the nearest end."""
        added = _plain(text)

        def insert(editor: TextEditor) -> None:
            editor.insert(slice(place, None).indices(len(editor.content))[0], added)

        self._operate(insert)

    def delete(self, start: int, stop: int | None = None) -> None:
        """Delete the characters of the slice `start:stop`."""

        def delete(editor: TextEditor) -> None:
            first, last, _ = slice(start, stop).indices(len(editor.content))
            editor.delete(first, last)

        self._operate(delete)

    def replace(self, old: str, new: str, count: int = -1) -> None:
        """Replace each occurrence of `old`, or the first `count`, as `str.replace` does."""
        self._change(self._rule, lambda value: value.replace(old, new, count))

    def set(self, text: str) -> None:
        """Replace the whole text. Only the difference is written, so concurrent edits of other parts stay."""
        self._change(self._rule, lambda value: _plain(text))


def _plain(text: Any) -> Any:
    """Convert a text of a subclass of `str`, for example of numpy. A value of another type is rejected later."""
    return str(text) if isinstance(text, str) else text
