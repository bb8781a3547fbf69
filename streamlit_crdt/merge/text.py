"""The rule "text": characters, where all insertions are kept."""

from __future__ import annotations

from typing import Any

from diff_match_patch import diff_match_patch
from pycrdt import Text

from streamlit_crdt.merge.sequence import Opcode, rebase, size_of
from streamlit_crdt.scalars import Stored

_DIFF_TIMEOUT_S = 0.5
"""After this, the rest of a difference is one replacement. Texts of a few pages take milliseconds."""


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
        for step in rebase(before or "", after, current, difference, follows=True):
            at = _bytes(current[: step.at])
            if step.end > step.at:
                end = _bytes(current[: step.end])
                first = at + sum(embed <= at for embed in embeds)
                del shared[first : end + sum(embed < end for embed in embeds)]
            if step.stop > step.start:
                shared.insert(at + sum(embed < at for embed in embeds), after[step.start : step.stop])

    def distance(self, before: str, after: str) -> float:
        return size_of(difference(before, after))

    def read(self, shared: Text) -> Stored:
        text = str(shared)
        if len(shared) != _bytes(text) + len(_embeds(shared, text)):
            raise TypeError("not a text")
        return text

    def value(self, content: Stored, form: str) -> Any:
        if type(content) is not str:
            raise TypeError("not a text")
        return content


def difference(before: str, after: str) -> list[Opcode]:
    """Return what differs between two texts, by code point: whole words rather than letters that happen to agree.

    What stands between two insertions, or two deletions, does not happen to agree, however short it is: where the
    library's own clean-up takes it for replaced, a word to which others added much would not be found again.
    """
    if before == after:
        return []
    differ = diff_match_patch()
    differ.Diff_Timeout = _DIFF_TIMEOUT_S
    diffs = differ.diff_main(before, after)
    differ.diff_cleanupSemanticLossless(diffs)
    opcodes, i, j = list[Opcode](), 0, 0
    for operation, part in diffs:
        i2 = i if operation == differ.DIFF_INSERT else i + len(part)
        j2 = j if operation == differ.DIFF_DELETE else j + len(part)
        if operation != differ.DIFF_EQUAL:
            _add(opcodes, (i, i2, j, j2))
        i, j = i2, j2
    return opcodes


def _add(opcodes: list[Opcode], new: Opcode) -> None:
    """Append a part, as one with those before it from which little or nothing sets it apart."""
    while opcodes and _are_one(opcodes[-1], new):
        i1, _, j1, _ = opcodes.pop()
        new = (i1, new[1], j1, new[3])
    opcodes.append(new)


def _are_one(left: Opcode, right: Opcode) -> bool:
    gap = right[0] - left[1]
    replaced = [min(i2 - i1, j2 - j1) for i1, i2, j1, j2 in (left, right)]
    return gap == 0 or (min(replaced) > 0 and gap <= min(_size(left), _size(right)))


def _size(opcode: Opcode) -> int:
    i1, i2, j1, j2 = opcode
    return max(i2 - i1, j2 - j1)


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
