"""Operations on the root type of a text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from streamlit_crdt.errors import ValueNotShareableError
from streamlit_crdt.merge.editors.editor import Editor, Step
from streamlit_crdt.merge.text_rule import byte_length, embed_positions, is_unicode

_CONTEXT: Final = 16
"""Characters before an insertion that locate it in another content."""


class TextEditor(Editor):
    """Editor of a text. Indexes count characters, as in `str`. pycrdt counts bytes of UTF-8 and embedded objects."""

    content: str

    def insert(self, index: int, text: str) -> None:
        """Insert a text before the character at an index from 0 to the length of the text."""
        if type(text) is not str or not is_unicode(text):
            raise ValueNotShareableError(type(text).__name__, "it is not a value for a text")
        if text:
            at_end = index == len(self.content)
            self.steps.append(
                ("insert", None if at_end else index, self.content[max(index - _CONTEXT, 0) : index], text)
            )
            shared = self._open()
            at = byte_length(self.content[:index])
            embeds = embed_positions(shared, self.content)
            shared.insert(at + sum(embed < at for embed in embeds), text)
            self.content = self.content[:index] + text + self.content[index:]

    def delete(self, start: int, end: int) -> None:
        """Delete the characters from `start` to `end`, which must be inside of the text."""
        if end > start:
            self.steps.append(("delete", start, self.content[start:end]))
            shared = self._open()
            first, last = byte_length(self.content[:start]), byte_length(self.content[:end])
            embeds = embed_positions(shared, self.content)
            del shared[
                first + sum(embed <= first for embed in embeds) : last + sum(embed < last for embed in embeds)
            ]
            self.content = self.content[:start] + self.content[end:]

    def repeat(self, steps: Iterable[Step]) -> None:
        """Repeat steps at the nearest equal text. Text that is missing is not deleted."""
        for name, index, part, *text in steps:
            found = None if index is None else self._nearest(index - len(part) * bool(text), part)
            if name == "insert":
                end = len(self.content) if index is None else min(index, len(self.content))
                self.insert(end if found is None else found + len(part), text[0])
            elif found is not None:
                self.delete(found, found + len(part))

    def _nearest(self, index: int, part: str) -> int | None:
        """Return the index of an occurrence of `part` that is nearest to `index`."""
        found = [
            self.content.find(part, max(index, 0)),
            self.content.rfind(part, 0, max(index, 0) + len(part)),
        ]
        return min((each for each in found if each >= 0), key=lambda each: abs(each - index), default=None)
