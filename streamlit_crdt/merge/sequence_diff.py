"""Differences of two sequences, and their rebase onto a third sequence.

`common_blocks` finds a longest common subsequence. Each row of its table is one long integer, and a row takes a few
integer operations (Crochemore et al., 2001; Hyyrö, 2004). Two lists of ten thousand items take hundredths of a second,
whatever their content. A large table is halved (Hirschberg, 1975). A huge one is first cut at the items that occur
once in both sequences.

`rebase` applies the difference between two sequences to a third one, which other replicas have made of the first.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

_MAX_TABLE_BITS = 16_000_000
"""Limit of a table that is kept in memory: 2 MB. A larger table is halved, which computes each row twice."""

_MAX_PAIRS = 4_000_000_000
"""Limit of a table that is computed: about a second. A larger one is cut at unique items first."""

Block = tuple[int, int, int]
"""A common block: its start in each sequence, and its length."""

Opcode = tuple[int, int, int, int]
"""`before[i1:i2]` was replaced by `after[j1:j2]`."""

Differ = Callable[[Any, Any], list[Opcode]]

_Region = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Step:
    """Delete `current[at:end]`, then insert `after[start:stop]` at `at`.

    Attributes:
        left: position in `current` of the nearest item before an insertion that `before` has too; None without any.
        right: position of the nearest such item after it.
    """

    at: int
    end: int
    start: int
    stop: int
    left: int | None = None
    right: int | None = None


def rebase(
    before: Any, after: Any, current: Any, differ: Differ, *, follows: bool, skips_equal: bool = False
) -> list[Step]:
    """Return the steps that apply the difference between `before` and `after` to `current`, the last position first.

    Insertions of other replicas stay. An item that is already deleted from `current` is not deleted again.

    Args:
        follows: whether an insertion stays after its predecessor, as the next letter of a word does. Otherwise it stays
            before its successor, so that an appended item comes last.
        skips_equal: whether an insertion is left out that another replica has made at the same place of `before`.
    """
    local = differ(before, after)
    if not local:
        return []
    remote = differ(before, current)
    kept = _kept_blocks(remote, len(before), len(current))
    if skips_equal:
        arrived = {(i1, i2): current[j1:j2] for i1, i2, j1, j2 in remote}
        local = [step for step in local if arrived.get(step[:2]) != after[step[2] : step[3]]]
    place = _position_after if follows else _position_before
    steps = list[Step]()
    for i1, i2, j1, j2 in local:
        if j2 > j1:
            at = place(i1 if follows else i2, kept, len(current))
            steps.append(Step(at, at, j1, j2, _last_before(i1, kept), _first_from(i2, kept)))
        steps += [Step(at, end, 0, 0) for at, end in _remaining(i1, i2, kept)]
    order = sorted(enumerate(steps), key=lambda numbered: (-numbered[1].at, -numbered[1].end, -numbered[0]))
    return [step for _, step in order]


def diff(before: Sequence[Any], after: Sequence[Any]) -> list[Opcode]:
    """Return the difference of two sequences of hashable items, in order."""
    opcodes, i, j = list[Opcode](), 0, 0
    for i2, j2, size in [*common_blocks(before, after), (len(before), len(after), 0)]:
        if i2 > i or j2 > j:
            opcodes.append((i, i2, j, j2))
        i, j = i2 + size, j2 + size
    return coalesce(opcodes, before, after)


def coalesce(opcodes: list[Opcode], before: Sequence[Any], after: Sequence[Any]) -> list[Opcode]:
    """Return the same difference with opcodes joined that can be shifted to each other.

    Kept items then form longer blocks: in "1a2ab3", "ab" is kept rather than the first "a" and the "b".
    """
    result = list[Opcode]()
    for i1, i2, j1, j2 in opcodes:
        if result:
            k1, k2, l1, _ = result[-1]
            gap = i1 - k2
            if _can_shift((i1, i2, j1, j2), -gap, before, after):
                result[-1] = (k1, i2 - gap, l1, j2 - gap)
                continue
            if _can_shift(result[-1], gap, before, after):
                result[-1] = (k1 + gap, i2, l1 + gap, j2)
                continue
        result.append((i1, i2, j1, j2))
    return result


def _can_shift(opcode: Opcode, by: int, before: Sequence[Any], after: Sequence[Any]) -> bool:
    """Return whether a pure insertion or deletion has the same result `by` positions further."""
    i1, i2, j1, j2 = opcode
    if i1 < i2 and j1 < j2:
        return False
    source, start, end = (before, i1, i2) if i1 < i2 else (after, j1, j2)
    low, high = min(by, 0), max(by, 0)
    return bool(source[start + low : start + high] == source[end + low : end + high])


def edit_size(opcodes: list[Opcode]) -> int:
    """Return the number of deleted and inserted items of a difference."""
    return sum(i2 - i1 + j2 - j1 for i1, i2, j1, j2 in opcodes)


def _kept_blocks(opcodes: list[Opcode], length: int, new_length: int) -> list[Block]:
    """Return the blocks between the opcodes of a difference."""
    blocks, i, j = list[Block](), 0, 0
    for i1, i2, _, j2 in [*opcodes, (length, length, new_length, new_length)]:
        if i1 > i:
            blocks.append((i, j, i1 - i))
        i, j = i2, j2
    return blocks


def _position_before(index: int, kept: list[Block], length: int) -> int:
    """Return the position of item `index` in the other sequence, or of the first kept item after it."""
    for start, at, size in kept:
        if index < start + size:
            return at + max(index - start, 0)
    return length


def _position_after(index: int, kept: list[Block], length: int) -> int:
    """Return the end of the item before `index` in the other sequence, or of the last kept item before it."""
    position = 0
    for start, at, size in kept:
        if start >= index:
            break
        position = at + min(index - start, size)
    return position


def _last_before(index: int, kept: list[Block]) -> int | None:
    """Return the position in the other sequence of the last kept item before `index`."""
    position = None
    for start, at, size in kept:
        if start >= index:
            break
        position = at + min(index - start, size) - 1
    return position


def _first_from(index: int, kept: list[Block]) -> int | None:
    """Return the position in the other sequence of the first kept item from `index` on."""
    for start, at, size in kept:
        if index < start + size:
            return at + max(index - start, 0)
    return None


def _remaining(i1: int, i2: int, kept: list[Block]) -> list[tuple[int, int]]:
    """Return the ranges of the other sequence that still contain items from `i1` to `i2`."""
    ranges = []
    for start, at, size in kept:
        low, high = max(i1, start), min(i2, start + size)
        if low < high:
            ranges.append((at + low - start, at + high - start))
    return ranges


def common_blocks(before: Sequence[Any], after: Sequence[Any]) -> list[Block]:
    """Return the blocks of items that both sequences have in common, in order."""
    blocks, regions = list[Block](), [(0, len(before), 0, len(after))]
    while regions:
        i1, i2, j1, j2 = regions.pop()
        old, new = before[i1:i2], after[j1:j2]
        prefix = common_prefix_length(old, new)
        suffix = common_prefix_length(old[prefix:][::-1], new[prefix:][::-1])
        blocks += [(i1, j1, prefix), (i2 - suffix, j2 - suffix, suffix)]
        inner = (i1 + prefix, i2 - suffix, j1 + prefix, j2 - suffix)
        old, new = old[prefix : len(old) - suffix], new[prefix : len(new) - suffix]
        if len(old) < 2 or len(old) * len(new) <= _MAX_TABLE_BITS:
            blocks += [(inner[0] + i, inner[2] + j, 1) for i, j in _common_pairs(old, new)]
        else:
            cuts = [_split_point(old, new)] if len(old) * len(new) <= _MAX_PAIRS else _anchors(old, new)
            regions += _subregions(inner, cuts)
    return _merge_adjacent(blocks)


def common_prefix_length(left: Sequence[Any], right: Sequence[Any]) -> int:
    """Return the length of the common prefix of two sequences."""
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _subregions(region: _Region, cuts: list[tuple[int, int]]) -> Iterator[_Region]:
    """Yield the parts of a region between the cuts. Without a cut there are none: nothing is in common."""
    i1, i2, j1, j2 = region
    if cuts:
        for (i, j), (k, l) in pairwise([(0, 0), *cuts, (i2 - i1, j2 - j1)]):  # noqa: E741
            yield i1 + i, i1 + k, j1 + j, j1 + l


def _merge_adjacent(blocks: list[Block]) -> list[Block]:
    """Return the blocks in order. Blocks that are adjacent in both sequences become one."""
    merged = list[Block]()
    for i, j, size in sorted(blocks):
        if merged and merged[-1][0] + merged[-1][2] == i and merged[-1][1] + merged[-1][2] == j:
            start, at, length = merged[-1]
            merged[-1] = (start, at, length + size)
        elif size:
            merged.append((i, j, size))
    return merged


def _rows(old: Sequence[Any], new: Sequence[Any]) -> Iterator[int]:
    """Yield the rows of the table. A bit is 0 if a longer common subsequence ends there than before it."""
    places = dict[Any, int]()
    for place, item in enumerate(new):
        places[item] = places.get(item, 0) | 1 << place
    full = row = (1 << len(new)) - 1
    yield row
    for item in old:
        also = row & places.get(item, 0)
        row = (row + also | row - also) & full
        yield row


def _common_pairs(old: Sequence[Any], new: Sequence[Any]) -> Iterator[tuple[int, int]]:
    """Yield the index pairs of a longest common subsequence, from the end."""
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


def _split_point(old: Sequence[Any], new: Sequence[Any]) -> tuple[int, int]:
    """Return the cut for which the longest common subsequences of both halves together are one of the whole."""
    half = len(old) // 2
    forward = _lengths(old[:half], new)
    backward = _lengths(old[half:][::-1], new[::-1])[::-1]
    sums = [left + right for left, right in zip(forward, backward, strict=True)]
    return half, sums.index(max(sums))


def _lengths(old: Sequence[Any], new: Sequence[Any]) -> list[int]:
    """Return the length of the longest common subsequence of `old` and each prefix of `new`."""
    row = 0
    for row in _rows(old, new):  # noqa: B007
        pass
    bits = f"{row:0{len(new)}b}"[::-1]
    return [0, *accumulate(int(bit == "0") for bit in bits)]


def _anchors(old: Sequence[Any], new: Sequence[Any]) -> list[tuple[int, int]]:
    """Return the index pairs of a longest chain of items that occur once in each sequence."""
    unique_old, unique_new = (
        {item for item, count in Counter(items).items() if count == 1} for items in (old, new)
    )
    places = {item: place for place, item in enumerate(new) if item in unique_new}
    pairs = [(i, places[item]) for i, item in enumerate(old) if item in unique_old and item in places]
    ends, last, previous = list[int](), list[int](), list[int]()
    for number, (_, j) in enumerate(pairs):
        length = bisect_left(ends, j)
        previous.append(last[length - 1] if length else -1)
        ends[length : length + 1], last[length : length + 1] = [j], [number]
    chain, number = list[tuple[int, int]](), last[-1] if last else -1
    while number >= 0:
        chain.append(pairs[number])
        number = previous[number]
    return chain[::-1]
