"""Positions of list items."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from streamlit_crdt.merge.tree.positions import between, initial, run, salt


@pytest.mark.parametrize("seed", range(5))
def test_inserted_runs_are_between_their_neighbors(seed: int) -> None:
    random = Random(seed)
    found: list[str] = []
    for number in range(300):
        index = random.choice([0, len(found), random.randrange(len(found) + 1)])
        lower = found[index - 1] if index else None
        upper = found[index] if index < len(found) else None
        found[index:index] = run(lower, upper, random.choice([1, 1, 2, 70]), salt(str(number)))
    assert all(left < right for left, right in pairwise(found)), seed


def test_appended_items_have_short_positions() -> None:
    last = None
    for number in range(10_000):
        (last,) = run(last, None, 1, salt(str(number)))
    assert last is not None and len(last) <= 8


def test_runs_of_two_people_do_not_interleave() -> None:
    one, two = (run("a0", "a1", 5, salt(name)) for name in ("ada", "ben"))
    assert max(one) < min(two) or max(two) < min(one)


def test_items_of_a_whole_list_have_ascending_positions() -> None:
    found = [initial(index) for index in range(5_000)]
    assert found == sorted(set(found))


@pytest.mark.parametrize("lower", ["", "?", "a", "zz", "a0é", "b"])
def test_position_after_one_of_another_program_follows_it(lower: str) -> None:
    assert between(lower, None) > lower and between(lower, "a0") > lower
