"""Differences of two texts by word and line, rather than by letters that agree by chance."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import accumulate
from typing import Final

from streamlit_crdt.merge import sequence_diff
from streamlit_crdt.merge.sequence_diff import Opcode, common_prefix_length

_MAX_PAIRS: Final = 4_000_000
"""Limit of a comparison by letter, in pairs of letters: a page or two. A longer difference is found by word first."""

_WORD: Final = re.compile(r"[^\W\u0e00-\U0010ffff]+|.", re.DOTALL)
"""A word; or one character outside a word, or of a script without spaces."""


def text_diff(before: str, after: str) -> list[Opcode]:
    """Return the difference of two texts by code point, in order.

    Short text between two insertions, or between two deletions, counts as kept. So a word stays recognized after other
    replicas inserted much text around it.
    """
    opcodes = list[Opcode]()
    for opcode in _aligned(list(_by_letter(before, after)), before, after):
        _append(opcodes, opcode, before)
    return opcodes


def _by_letter(before: str, after: str) -> Iterator[Opcode]:
    prefix = common_prefix_length(before, after)
    suffix = common_prefix_length(before[prefix:][::-1], after[prefix:][::-1])
    is_long = (len(before) - prefix - suffix) * (len(after) - prefix - suffix) > _MAX_PAIRS
    for i1, i2, j1, j2 in _by_word(before, after) if is_long else [(0, len(before), 0, len(after))]:
        for k1, k2, l1, l2 in sequence_diff.diff(before[i1:i2], after[j1:j2]):
            yield i1 + k1, i1 + k2, j1 + l1, j1 + l2


def _by_word(before: str, after: str) -> Iterator[Opcode]:
    old, new = _WORD.findall(before), _WORD.findall(after)
    at, to = ([0, *accumulate(map(len, words))] for words in (old, new))
    for i1, i2, j1, j2 in sequence_diff.diff(old, new):
        yield at[i1], at[i2], to[j1], to[j2]


def _aligned(opcodes: list[Opcode], before: str, after: str) -> Iterator[Opcode]:
    """Yield the same difference with pure insertions and deletions shifted to the edges of words or lines."""
    low = 0
    for number, (i1, i2, j1, j2) in enumerate(opcodes, start=1):
        high = opcodes[number][0] - 1 if number < len(opcodes) else len(before)
        by = 0
        if i1 == i2 or j1 == j2:
            text, start, end = (before, i1, i2) if i1 < i2 else (after, j1, j2)
            by = _best_shift(text, start, end, i1 - low, high - i2)
        yield i1 + by, i2 + by, j1 + by, j2 + by
        low = i2 + by + 1


def _best_shift(text: str, start: int, end: int, left: int, right: int) -> int:
    """Return the shift of a part that leaves the text the same and has the best edges."""
    first = last = 0
    while -first < left and text[start + first - 1] == text[end + first - 1]:
        first -= 1
    while last < right and text[start + last] == text[end + last]:
        last += 1
    if first == last:
        return 0
    return max(range(first, last + 1), key=lambda by: (_edge(text, start + by) + _edge(text, end + by), by))


def _edge(text: str, at: int) -> int:
    """Return a rank of position `at` as an edge: 6 at the ends of the text, 0 inside a word."""
    if at in (0, len(text)):
        return 6
    left, right = text[at - 1], text[at]
    if "\n" in (left, right):
        return 5 if text[at - 2 : at] == "\n\n" or text[at : at + 2] == "\n\n" else 4
    if right.isspace() and not left.isalnum() and not left.isspace():
        return 3
    if left.isspace() or right.isspace():
        return 2
    return 0 if left.isalnum() and right.isalnum() else 1


def _append(opcodes: list[Opcode], new: Opcode, before: str) -> None:
    """Append an opcode. Join it with the preceding opcodes that belong to the same replacement."""
    while opcodes and _is_one_replacement(opcodes[-1], new, before):
        i1, _, j1, _ = opcodes.pop()
        new = (i1, new[1], j1, new[3])
    opcodes.append(new)


def _is_one_replacement(left: Opcode, right: Opcode, before: str) -> bool:
    """Return whether two opcodes are one replacement: adjacent, or with letters between them that agree by chance."""
    between = before[left[1] : right[0]]
    if not between or len(between) > min(_size(left), _size(right)):
        return not between
    kinds = {(i2 > i1, j2 > j1) for i1, i2, j1, j2 in (left, right)}
    return kinds == {(True, True)} or (len(kinds) > 1 and between.isalnum())


def _size(opcode: Opcode) -> int:
    i1, i2, j1, j2 = opcode
    return max(i2 - i1, j2 - j1)
