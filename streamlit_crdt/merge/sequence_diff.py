"""What two sequences have in common, in order: as many items as there can be, and in the same time on every machine.

The longest common subsequence is found with long integers, a row of the table in a few operations (Crochemore et al.,
2001; Hyyrö, 2004), so that two lists of ten thousand items take hundredths of a second whatever is in them. Where the
table would be large, it is halved (Hirschberg, 1975); where it would be huge, items that both have once cut it first.

Moving the difference between two sequences to a third one, which others have made of the first meanwhile.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

_MAX_KEPT_PAIRS = 16_000_000
"""So many bits of a table are kept at a time: 2 MB."""
_MAX_PAIRS = 4_000_000_000
"""A table of this size takes about a second."""

Run = tuple[int, int, int]
"""Where it begins in each sequence, and how long it is."""
_Region = tuple[int, int, int, int]


def common_blocks(before: Sequence[Any], after: Sequence[Any]) -> list[Run]:
    """Return the runs of items that two sequences have in common, in order."""
    runs, regions = list[Run](), [(0, len(before), 0, len(after))]
    while regions:
        i1, i2, j1, j2 = regions.pop()
        old, new = before[i1:i2], after[j1:j2]
        head = common_head(old, new)
        tail = common_head(old[head:][::-1], new[head:][::-1])
        runs += [(i1, j1, head), (i2 - tail, j2 - tail, tail)]
        inner = (i1 + head, i2 - tail, j1 + head, j2 - tail)
        old, new = old[head : len(old) - tail], new[head : len(new) - tail]
        if len(old) < 2 or len(old) * len(new) <= _MAX_KEPT_PAIRS:
            runs += [(inner[0] + i, inner[2] + j, 1) for i, j in _longest(old, new)]
        else:
            cuts = [_middle(old, new)] if len(old) * len(new) <= _MAX_PAIRS else _anchors(old, new)
            regions += _cut(inner, cuts)
    return _joined(runs)


def common_head(left: Sequence[Any], right: Sequence[Any]) -> int:
    """Return how many items two sequences begin with alike."""
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _cut(region: _Region, cuts: list[tuple[int, int]]) -> Iterator[_Region]:
    """Yield the parts of a region; without a place to cut it, there is nothing in common."""
    i1, i2, j1, j2 = region
    if cuts:
        for (i, j), (k, l) in pairwise([(0, 0), *cuts, (i2 - i1, j2 - j1)]):  # noqa: E741
            yield i1 + i, i1 + k, j1 + j, j1 + l


def _joined(runs: list[Run]) -> list[Run]:
    """Return runs in order, those that follow each other in both sequences as one."""
    joined = list[Run]()
    for i, j, size in sorted(runs):
        if joined and joined[-1][0] + joined[-1][2] == i and joined[-1][1] + joined[-1][2] == j:
            start, at, length = joined[-1]
            joined[-1] = (start, at, length + size)
        elif size:
            joined.append((i, j, size))
    return joined


def _rows(old: Sequence[Any], new: Sequence[Any]) -> Iterator[int]:
    """Yield the rows of the table: a bit is 0 where a longer subsequence ends than before it."""
    places = dict[Any, int]()
    for place, item in enumerate(new):
        places[item] = places.get(item, 0) | 1 << place
    full = row = (1 << len(new)) - 1
    yield row
    for item in old:
        also = row & places.get(item, 0)
        row = (row + also | row - also) & full
        yield row


def _longest(old: Sequence[Any], new: Sequence[Any]) -> Iterator[tuple[int, int]]:
    """Yield the places of a longest common subsequence, the last one first."""
    if not old or not new:
        return
    rows = list(_rows(old, new))
    i, j = len(old), len(new)
    while i and j:
        bit = 1 << (j - 1)
        if rows[i] & bit:
            j -= 1
        elif not rows[i - 1] & bit:
            i -= 1
        else:
            i, j = i - 1, j - 1
            yield i, j


def _middle(old: Sequence[Any], new: Sequence[Any]) -> tuple[int, int]:
    """Return where to cut both sequences so that a longest common subsequence of each half is one of the whole."""
    half = len(old) // 2
    ahead = _lengths(old[:half], new)
    behind = _lengths(old[half:][::-1], new[::-1])[::-1]
    sums = [left + right for left, right in zip(ahead, behind, strict=True)]
    return half, sums.index(max(sums))


def _lengths(old: Sequence[Any], new: Sequence[Any]) -> list[int]:
    """Return how long the longest common subsequence of `old` and each beginning of `new` is."""
    row = 0
    for row in _rows(old, new):  # noqa: B007
        pass
    bits = f"{row:0{len(new)}b}"[::-1]
    return [0, *accumulate(int(bit == "0") for bit in bits)]


def _anchors(old: Sequence[Any], new: Sequence[Any]) -> list[tuple[int, int]]:
    """Return the places of items that each sequence has once, as far as they are in the same order."""
    once, also = ({item for item, number in Counter(items).items() if number == 1} for items in (old, new))
    places = {item: place for place, item in enumerate(new) if item in also}
    pairs = [(i, places[item]) for i, item in enumerate(old) if item in once and item in places]
    ends, last, former = list[int](), list[int](), list[int]()
    for number, (_, j) in enumerate(pairs):
        length = bisect_left(ends, j)
        former.append(last[length - 1] if length else -1)
        ends[length : length + 1], last[length : length + 1] = [j], [number]
    chain, number = list[tuple[int, int]](), last[-1] if last else -1
    while number >= 0:
        chain.append(pairs[number])
        number = former[number]
    return chain[::-1]


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


def diff(before: Sequence[Any], after: Sequence[Any]) -> list[Opcode]:
    """Return what differs between two sequences of hashable items, in order."""
    opcodes, i, j = list[Opcode](), 0, 0
    for i2, j2, size in [*common_blocks(before, after), (len(before), len(after), 0)]:
        if i2 > i or j2 > j:
            opcodes.append((i, i2, j, j2))
        i, j = i2 + size, j2 + size
    return coalesce(opcodes, before, after)


def coalesce(opcodes: list[Opcode], before: Sequence[Any], after: Sequence[Any]) -> list[Opcode]:
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
