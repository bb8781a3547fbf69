"""Differences and merges of long lists and texts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from random import Random
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycrdt import Array, Doc

from streamlit_crdt.document.replica import Replica
from streamlit_crdt.merge import RULES, seed, sequence_diff, text_diff
from streamlit_crdt.merge.sequence_diff import edit_size

ITEMS = st.lists(st.integers(0, 4), max_size=25)
QUICK = settings(max_examples=150, deadline=None, database=None)


def merged(rule: str, before: Any, mine: Any, theirs: Any) -> Any:
    one, two = Replica(replica_id=1), Replica(replica_id=2)
    one.edit("k", None, before, RULES[rule])
    two.apply(one.diff())
    one.edit("k", before, mine, RULES[rule])
    two.edit("k", before, theirs, RULES[rule])
    two.apply(one.diff(two.state_vector()))
    one.apply(two.diff(one.state_vector()))
    assert one.get("k") == two.get("k")
    return one.get("k")


def lcs_length(left: Sequence[Any], right: Sequence[Any]) -> int:
    row = [0] * (len(right) + 1)
    for item in left:
        previous = row
        row = [0]
        for index, other in enumerate(right):
            row.append(previous[index] + 1 if item == other else max(row[-1], previous[index + 1]))
    return row[-1]


@pytest.mark.parametrize("limits", [(10**6, 10**6), (4, 10**6), (0, 0)])
@QUICK
@given(before=ITEMS, after=ITEMS)
def test_common_blocks_are_a_longest_common_subsequence(
    limits: tuple[int, int], before: list[int], after: list[int]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sequence_diff, "_MAX_TABLE_BITS", limits[0])
        patch.setattr(sequence_diff, "_MAX_PAIRS", limits[1])
        runs = sequence_diff.common_blocks(before, after)
    assert all(before[i : i + size] == after[j : j + size] and size for i, j, size in runs)
    assert all(i + size <= k and j + size <= m for (i, j, size), (k, m, _) in pairwise(runs))
    total = sum(size for _, _, size in runs)
    assert total == lcs_length(before, after) if limits[1] else total <= lcs_length(before, after)


def test_unique_items_are_matched_beyond_the_table_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sequence_diff, "_MAX_TABLE_BITS", 0)
    monkeypatch.setattr(sequence_diff, "_MAX_PAIRS", 0)
    before, after = ["a", *range(50), "b"], ["c", *range(20), "x", *range(25, 50), "d"]
    assert sequence_diff.diff(before, after) == [(0, 1, 0, 1), (21, 26, 21, 22), (51, 52, 47, 48)]
    assert sequence_diff.diff([1, 1, 2, 2], [2, 2, 1, 1]) == [(0, 4, 0, 4)]


def test_equal_items_are_kept_as_a_contiguous_block() -> None:
    assert sequence_diff.diff(list("xab"), list("ya1ab2")) == [(0, 1, 0, 3), (3, 3, 5, 6)]


def test_R1_few_distinct_items_have_a_minimal_difference() -> None:
    zeros, mixed = [0] * 800, [number % 2 for number in range(800)]
    assert edit_size(sequence_diff.diff(zeros, mixed)) == 800
    random = Random(1)
    left, right = ([random.randrange(2) for _ in range(3000)] for _ in "lr")
    assert edit_size(sequence_diff.diff(left, right)) < 1500


def test_R1_concurrent_edits_of_list_ends_do_not_duplicate_items() -> None:
    before = list(range(2500))
    result = merged("list", before, ["A", *before[1:-1], "Z"], ["B", *before[1:-1], "Y"])
    assert len(result) == 2502 and [item for item in result if type(item) is int] == before[1:-1]


def test_R1_concurrent_word_edits_of_a_long_text_do_not_duplicate() -> None:
    random = Random(2)
    before = ["".join(random.choice("abcdefghij") for _ in range(6)) for _ in range(14_000)]
    mine, theirs = list(before), list(before)
    mine[::70], theirs[35::70] = (["AAAA", "BBBB"][number : number + 1] * 200 for number in range(2))
    both = list(mine)
    both[35::70] = theirs[35::70]
    assert merged("text", *(" ".join(words) for words in (before, mine, theirs))) == " ".join(both)


def test_long_text_without_spaces_has_a_minimal_difference() -> None:
    random = Random(3)
    for letters in ("abcdefghij", "漢字日本語文"):
        before = "".join(random.choice(letters) for _ in range(6000))
        after = f"x{before[:3000]}y{before[3000:]}z"
        assert text_diff.text_diff(before, after) == [
            (0, 0, 0, 1), (3000, 3000, 3001, 3002), (6000, 6000, 6002, 6003),
        ]  # fmt: skip


def test_insertion_is_aligned_to_words_and_lines() -> None:
    assert text_diff.text_diff("the cat. the dog.", "the cat. the cow. the dog.") == [(8, 8, 8, 17)]
    assert text_diff.text_diff("one\ntwo\n", "one\none and a half\ntwo\n") == [(4, 4, 4, 19)]


def test_R8_long_seed_is_faster_than_one_transaction() -> None:
    items = [f"item {number}" for number in range(6000)]
    document: Doc[Any] = Doc()
    start = perf_counter()
    document.get("list:k", type=Array).extend(items)
    middle = perf_counter()
    update = seed("k", RULES["list"], items, ())
    assert perf_counter() - middle < middle - start
    replica = Replica()
    replica.apply(update)
    assert replica.get("k") == items
