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
        for step in rebase(before or "", after, current, difference, follows=True):
            at = _bytes(current[: step.at])
            if step.end > step.at:
                del shared[at : at + _bytes(current[step.at : step.end])]
            if step.stop > step.start:
                shared.insert(at, after[step.start : step.stop])

    def distance(self, before: str, after: str) -> float:
        return size_of(difference(before, after))

    def read(self, shared: Text) -> Stored:
        return str(shared)

    def value(self, content: Stored, form: str) -> Any:
        if type(content) is not str:
            raise TypeError("not a text")
        return content


def difference(before: str, after: str) -> list[Opcode]:
    """Return what differs between two texts, by code point: whole words rather than letters that happen to agree."""
    if before == after:
        return []
    differ = diff_match_patch()
    differ.Diff_Timeout = _DIFF_TIMEOUT_S
    diffs = differ.diff_main(before, after)
    differ.diff_cleanupSemantic(diffs)
    opcodes, i, j = list[Opcode](), 0, 0
    for operation, part in [*diffs, (differ.DIFF_EQUAL, "")]:
        if operation == differ.DIFF_DELETE:
            i2, j2 = i + len(part), j
        elif operation == differ.DIFF_INSERT:
            i2, j2 = i, j + len(part)
        else:
            i, j = i + len(part), j + len(part)
            continue
        if opcodes and opcodes[-1][1] == i and opcodes[-1][3] == j:
            i1, _, j1, _ = opcodes.pop()
            opcodes.append((i1, i2, j1, j2))
        else:
            opcodes.append((i, i2, j, j2))
        i, j = i2, j2
    return opcodes


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
