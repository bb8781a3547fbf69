"""Identity of list items: the items of a list that a script has rebuilt, matched to those that it saw.

Items are matched by their `id` field, then by equality, then by similarity. An item that was changed in place therefore
keeps its identity.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict, deque
from collections.abc import Hashable, Iterator, Sequence
from typing import Final

from streamlit_crdt.codec.scalars import Stored
from streamlit_crdt.merge.item_keys import token
from streamlit_crdt.merge.tree.containers import fields_of, kind_of
from streamlit_crdt.merge.tree.operations import id_of

_MAX_PAIRS: Final = 250_000
"""Limit of the pairs of items that are compared for similarity, about a second. Beyond it only neighbors are."""

_SIMILAR: Final = 0.5
"""Share of equal fields from which two items are versions of one."""

Matches = list[int | None]
"""For each new item the index of its former version."""

_Gap = tuple[list[int], list[int]]
"""Unmatched former and new items between two matched ones."""


def match(old: Sequence[Stored], new: Sequence[Stored], id_field: str) -> Matches:
    """Return for each item of `new` the index of the same item in `old`."""
    return _Matching(old, new, id_field).run()


def longest_increasing(values: Sequence[int]) -> set[int]:
    """Return the values of a longest increasing subsequence of distinct values."""
    ends, last, previous = list[int](), list[int](), list[int]()
    for index, value in enumerate(values):
        length = bisect_left(ends, value)
        previous.append(last[length - 1] if length else -1)
        ends[length : length + 1], last[length : length + 1] = [value], [index]
    found, index = set[int](), last[-1] if last else -1
    while index >= 0:
        found.add(values[index])
        index = previous[index]
    return found


class _Matching:
    def __init__(self, old: Sequence[Stored], new: Sequence[Stored], id_field: str) -> None:
        self._old, self._new, self._id_field = old, new, id_field
        self._matches: Matches = [None] * len(new)
        self._used: set[int] = set()

    def run(self) -> Matches:
        self._match_ids()
        self._match_equal()
        if None in self._matches and len(self._used) < len(self._old):
            for gap in list(self._gaps()):
                self._match_gap(*gap)
            self._match_similar(self._unmatched_old(range(len(self._old))), self._unmatched_new())
        return self._matches

    def _pair(self, i: int, j: int) -> None:
        self._matches[j] = i
        self._used.add(i)

    def _unmatched_old(self, indexes: range) -> list[int]:
        return [i for i in indexes if i not in self._used]

    def _unmatched_new(self) -> list[int]:
        return [j for j, i in enumerate(self._matches) if i is None]

    def _match_ids(self) -> None:
        old, new = (self._unique_ids(items) for items in (self._old, self._new))
        for identity in old.keys() & new.keys():
            self._pair(old[identity], new[identity])

    def _unique_ids(self, items: Sequence[Stored]) -> dict[str, int]:
        ids = [id_of(item, self._id_field) for item in items]
        counts = Counter(ids)
        return {each: index for index, each in enumerate(ids) if each is not None and counts[each] == 1}

    def _match_equal(self) -> None:
        places: dict[Hashable, deque[int]] = defaultdict(deque)
        for i in self._unmatched_old(range(len(self._old))):
            places[token(self._old[i])].append(i)
        for j in self._unmatched_new() if places else ():
            found = places.get(token(self._new[j]))
            if found:
                self._pair(found.popleft(), j)

    def _gaps(self) -> Iterator[_Gap]:
        """Yield the gaps in which the matched items around them have kept their order."""
        start, left = 0, -1
        for j, i in enumerate([*self._matches, len(self._old)]):
            if i is None:
                continue
            new = list(range(start, j))
            old = self._unmatched_old(range(left + 1, i)) if new else []
            if old:
                yield old, new
            start, left = j + 1, i

    def _match_gap(self, old: list[int], new: list[int]) -> None:
        old = [i for i in old if i not in self._used]
        if len(old) == len(new):
            for i, j in zip(old, new, strict=True):
                if self._is_same_kind(i, j):
                    self._pair(i, j)
        else:
            self._match_similar(old, new)

    def _match_similar(self, old: list[int], new: list[int]) -> None:
        """Match the most similar items first, of equally similar ones the nearest."""
        if len(old) * len(new) > _MAX_PAIRS:
            return
        scores = sorted(
            (-score, abs(i - j), i, j)
            for i in old
            for j in new
            if (score := self._similarity(i, j)) >= _SIMILAR
        )
        for _, _, i, j in scores:
            if i not in self._used and self._matches[j] is None:
                self._pair(i, j)

    def _is_same_kind(self, i: int, j: int) -> bool:
        """Return whether an item may be the version of another one at the same place."""
        kind = kind_of(self._old[i])
        if kind != kind_of(self._new[j]) or kind not in ("dict", "list", "set"):
            return False
        if kind != "dict":
            return True
        old, new = fields_of(self._old[i]).keys(), fields_of(self._new[j]).keys()
        is_similar = 2 * len(old & new) >= max(len(old), len(new))
        return is_similar and (not self._have_ids(i, j) or self._similarity(i, j) > 0)

    def _similarity(self, i: int, j: int) -> float:
        """Return the share of equal fields. Items with different ids are similar only if all else is equal."""
        old, new = fields_of(self._old[i]), fields_of(self._new[j])
        if not old or not new:
            return 0
        same = sum(part in new and token(each.value) == token(new[part].value) for part, each in old.items())
        count = max(len(old), len(new))
        if self._have_ids(i, j) and same < count - 1:
            return 0
        return same / count

    def _have_ids(self, i: int, j: int) -> bool:
        ids = [id_of(item, self._id_field) for item in (self._old[i], self._new[j])]
        return None not in ids and ids[0] != ids[1]
