"""Long lists and texts: what differs is found to the item, whatever is in them, and so two edits merge."""

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


def longest(left: Sequence[Any], right: Sequence[Any]) -> int:
    row = [0] * (len(right) + 1)
    for item in left:
        former = row
        row = [0]
        for place, other in enumerate(right):
            row.append(former[place] + 1 if item == other else max(row[-1], former[place + 1]))
    return row[-1]


@pytest.mark.parametrize("limits", [(10**6, 10**6), (4, 10**6), (0, 0)])
@QUICK
@given(before=ITEMS, after=ITEMS)
def test_what_is_in_common_is_as_much_as_can_be_and_in_order(
    limits: tuple[int, int], before: list[int], after: list[int]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sequence_diff, "_MAX_TABLE_BITS", limits[0])
        patch.setattr(sequence_diff, "_MAX_PAIRS", limits[1])
        runs = sequence_diff.common_blocks(before, after)
    assert all(before[i : i + size] == after[j : j + size] and size for i, j, size in runs)
    assert all(i + size <= k and j + size <= m for (i, j, size), (k, m, _) in pairwise(runs))
    total = sum(size for _, _, size in runs)
    assert total == longest(before, after) if limits[1] else total <= longest(before, after)


def test_of_what_is_too_long_for_a_table_items_that_are_there_once_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sequence_diff, "_MAX_TABLE_BITS", 0)
    monkeypatch.setattr(sequence_diff, "_MAX_PAIRS", 0)
    before, after = ["a", *range(50), "b"], ["c", *range(20), "x", *range(25, 50), "d"]
    assert sequence_diff.diff(before, after) == [(0, 1, 0, 1), (21, 26, 21, 22), (51, 52, 47, 48)]
    assert sequence_diff.diff([1, 1, 2, 2], [2, 2, 1, 1]) == [(0, 4, 0, 4)]


def test_of_items_that_are_alike_those_are_kept_that_hang_together() -> None:
    assert sequence_diff.diff(list("xab"), list("ya1ab2")) == [(0, 1, 0, 3), (3, 3, 5, 6)]


def test_R1_few_distinct_items_differ_by_no_more_than_they_must() -> None:
    zeros, mixed = [0] * 800, [number % 2 for number in range(800)]
    assert edit_size(sequence_diff.diff(zeros, mixed)) == 800
    random = Random(1)
    left, right = ([random.randrange(2) for _ in range(3000)] for _ in "lr")
    assert edit_size(sequence_diff.diff(left, right)) < 1500


def test_R1_two_who_change_the_ends_of_a_long_list_at_once_do_not_double_it() -> None:
    before = list(range(2500))
    result = merged("list", before, ["A", *before[1:-1], "Z"], ["B", *before[1:-1], "Y"])
    assert len(result) == 2502 and [item for item in result if type(item) is int] == before[1:-1]


def test_R1_two_who_replace_many_words_of_a_long_text_at_once_do_not_double_it() -> None:
    random = Random(2)
    before = ["".join(random.choice("abcdefghij") for _ in range(6)) for _ in range(14_000)]
    mine, theirs = list(before), list(before)
    mine[::70], theirs[35::70] = (["AAAA", "BBBB"][number : number + 1] * 200 for number in range(2))
    both = list(mine)
    both[35::70] = theirs[35::70]
    assert merged("text", *(" ".join(words) for words in (before, mine, theirs))) == " ".join(both)


def test_a_long_text_without_spaces_differs_by_what_was_typed() -> None:
    random = Random(3)
    for letters in ("abcdefghij", "漢字日本語文"):
        before = "".join(random.choice(letters) for _ in range(6000))
        after = f"x{before[:3000]}y{before[3000:]}z"
        assert text_diff.text_diff(before, after) == [
            (0, 0, 0, 1), (3000, 3000, 3001, 3002), (6000, 6000, 6002, 6003),
        ]  # fmt: skip


def test_what_is_put_in_is_put_in_as_words_and_lines() -> None:
    assert text_diff.text_diff("the cat. the dog.", "the cat. the cow. the dog.") == [(8, 8, 8, 17)]
    assert text_diff.text_diff("one\ntwo\n", "one\none and a half\ntwo\n") == [(4, 4, 4, 19)]


def test_R8_a_long_first_value_takes_less_time_than_as_one_transaction() -> None:
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
