"""Moving the difference between two sequences to a third one, which others have made of the first meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from streamlit_crdt.merge.alike import common_runs

Opcode = tuple[int, int, int, int]
"""`before[i1:i2]` was replaced by `after[j1:j2]`."""

Differ = Callable[[Any, Any], list[Opcode]]


@dataclass(frozen=True, slots=True)
class Step:
    """Delete `current[at:end]`, then put `after[start:stop]` there."""

    at: int
    end: int
    start: int
    stop: int


def rebase(before: Any, after: Any, current: Any, differ: Differ, *, follows: bool) -> list[Step]:
    """Return what makes of `current` what `after` is of `before`, the last place first.

    What others have put in stays, and what they have taken out is not taken out again.

    Args:
        follows: what is put in stays behind the item that it was put behind, as the next letter of a word; otherwise
            it comes before the item that it was put before, so that what is appended comes last.
    """
    mine = differ(before, after)
    if not mine:
        return []
    same = _same_blocks(differ(before, current), len(before), len(current))
    place = _place_after if follows else _place_before
    steps = list[Step]()
    for i1, i2, j1, j2 in mine:
        if j2 > j1:
            at = place(i1 if follows else i2, same, len(current))
            steps.append(Step(at, at, j1, j2))
        steps += [Step(at, end, 0, 0) for at, end in _survivors(i1, i2, same)]
    order = sorted(enumerate(steps), key=lambda numbered: (-numbered[1].at, -numbered[1].end, -numbered[0]))
    return [step for _, step in order]


def difference(before: Sequence[Any], after: Sequence[Any]) -> list[Opcode]:
    """Return what differs between two sequences of hashable items, in order."""
    opcodes, i, j = list[Opcode](), 0, 0
    for i2, j2, size in [*common_runs(before, after), (len(before), len(after), 0)]:
        if i2 > i or j2 > j:
            opcodes.append((i, i2, j, j2))
        i, j = i2 + size, j2 + size
    return joined(opcodes, before, after)


def joined(opcodes: list[Opcode], before: Sequence[Any], after: Sequence[Any]) -> list[Opcode]:
    """Return the same difference with parts made one that can be moved to each other, so that what is kept hangs
    together: "ab" is kept in "1a2ab3" as it is, and not the first "a" and the "b"."""
    result = list[Opcode]()
    for i1, i2, j1, j2 in opcodes:
        if result:
            k1, k2, l1, _ = result[-1]
            gap = i1 - k2
            if _can_move((i1, i2, j1, j2), -gap, before, after):
                result[-1] = (k1, i2 - gap, l1, j2 - gap)
                continue
            if _can_move(result[-1], gap, before, after):
                result[-1] = (k1 + gap, i2, l1 + gap, j2)
                continue
        result.append((i1, i2, j1, j2))
    return result


def _can_move(opcode: Opcode, by: int, before: Sequence[Any], after: Sequence[Any]) -> bool:
    """Say whether what is only put in, or only taken out, is the same as what stands `by` places further."""
    i1, i2, j1, j2 = opcode
    if i1 < i2 and j1 < j2:
        return False
    source, start, end = (before, i1, i2) if i1 < i2 else (after, j1, j2)
    low, high = min(by, 0), max(by, 0)
    return bool(source[start + low : start + high] == source[end + low : end + high])


def size_of(opcodes: list[Opcode]) -> int:
    """Return how many items a difference takes out and puts in."""
    return sum(i2 - i1 + j2 - j1 for i1, i2, j1, j2 in opcodes)


def _same_blocks(theirs: list[Opcode], length: int, other: int) -> list[tuple[int, int, int]]:
    """Return what both sequences have: where it begins in each, and how long it is."""
    blocks, i, j = list[tuple[int, int, int]](), 0, 0
    for i1, i2, _, j2 in [*theirs, (length, length, other, other)]:
        if i1 > i:
            blocks.append((i, j, i1 - i))
        i, j = i2, j2
    return blocks


def _place_before(index: int, same: list[tuple[int, int, int]], other: int) -> int:
    """Return where in the other sequence item `index` is, or else the next one that is left of those behind it."""
    for start, at, size in same:
        if index < start + size:
            return at + max(index - start, 0)
    return other


def _place_after(index: int, same: list[tuple[int, int, int]], other: int) -> int:
    """Return where in the other sequence the item before `index` ends, or else the last one left of those before it."""
    place = 0
    for start, at, size in same:
        if start >= index:
            break
        place = at + min(index - start, size)
    return place


def _survivors(i1: int, i2: int, same: list[tuple[int, int, int]]) -> list[tuple[int, int]]:
    """Return where in the other sequence the items from `i1` to `i2` are, as far as they are still there."""
    found = []
    for start, at, size in same:
        low, high = max(i1, start), min(i2, start + size)
        if low < high:
            found.append((at + low - start, at + high - start))
    return found
