"""The rule "text": characters, where all insertions are kept."""

from __future__ import annotations

from typing import Any

from pycrdt import Text

from streamlit_crdt.codec.scalars import Stored
from streamlit_crdt.merge.sequence_diff import rebase, size_of
from streamlit_crdt.merge.text_diff import text_diff


class TextRule:
    """Merges by character. pycrdt counts a text's places in UTF-8 bytes, Yjs in UTF-16 units; they are counted here."""

    name = "text"
    kind = Text

    def takes(self, value: object) -> bool:
        return type(value) is str and _is_unicode(value)

    def form(self, value: str) -> str:
        return "str"

    def edit(self, shared: Text, before: str | None, after: str, author: int) -> None:
        current = str(shared)
        embeds = _embeds(shared, current)
        for step in rebase(before or "", after, current, text_diff, follows=True):
            at = _bytes(current[: step.at])
            if step.end > step.at:
                end = _bytes(current[: step.end])
                first = at + sum(embed <= at for embed in embeds)
                del shared[first : end + sum(embed < end for embed in embeds)]
            if step.stop > step.start:
                shared.insert(at + sum(embed < at for embed in embeds), after[step.start : step.stop])

    def distance(self, before: str, after: str) -> float:
        return size_of(text_diff(before, after))

    def read(self, shared: Text) -> Stored:
        text = str(shared)
        if len(shared) != _bytes(text) + len(_embeds(shared, text)):
            raise TypeError("not a text")
        return text

    def value(self, content: Stored, form: str) -> Any:
        if type(content) is not str:
            raise TypeError("not a text")
        return content


def _embeds(shared: Text, current: str) -> list[int]:
    """Return before which byte of the text each thing stands that is none, such as an image; each takes a place."""
    if len(shared) == _bytes(current):
        return []
    places, at = list[int](), 0
    for part, _ in shared.diff():
        if isinstance(part, str):
            at += _bytes(part)
        else:
            places.append(at)
    return places


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
