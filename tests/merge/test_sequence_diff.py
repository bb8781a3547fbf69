"""Differences of sequences and texts, and their rebase onto a changed sequence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlit_crdt.merge import sequence_diff
from streamlit_crdt.merge import text_diff as text
from streamlit_crdt.merge.sequence_diff import Opcode, Step, edit_size, rebase
from tests.support.unicode_texts import WORDS, random_text

LETTERS = st.text(st.sampled_from("ab \r\n👍é\u0301\u200d"), max_size=12)
QUICK = settings(max_examples=150, deadline=None, database=None)


def apply_opcodes(before: Sequence[Any], after: Sequence[Any], opcodes: list[Opcode]) -> list[Any]:
    result = list(before)
    for i1, i2, j1, j2 in reversed(opcodes):
        result[i1:i2] = after[j1:j2]
    return result


def apply_steps(current: Sequence[Any], after: Sequence[Any], steps: list[Step]) -> list[Any]:
    result = list(current)
    for step in steps:
        result[step.at : step.end] = after[step.start : step.stop]
    return result


@QUICK
@given(before=LETTERS, after=LETTERS)
def test_diff_transforms_text_and_its_opcodes_are_not_adjacent(before: str, after: str) -> None:
    for difference in (text.text_diff, sequence_diff.diff):
        opcodes = difference(before, after)
        assert "".join(apply_opcodes(before, after, opcodes)) == after
        assert all(i2 > i1 or j2 > j1 for i1, i2, j1, j2 in opcodes)
        for (_, i2, _, j2), (k1, _, l1, _) in pairwise(opcodes):
            assert k1 - i2 == l1 - j2 > 0, "adjacent opcodes must be joined"
        assert (edit_size(opcodes) == 0) == (before == after)


@QUICK
@given(before=LETTERS, after=LETTERS, current=LETTERS, follows=st.booleans())
def test_R1_rebase_onto_the_base_applies_the_whole_difference(
    before: str, after: str, current: str, follows: bool
) -> None:
    for difference in (text.text_diff, sequence_diff.diff):
        assert (
            "".join(apply_steps(before, after, rebase(before, after, before, difference, follows=follows)))
            == after
        )
        assert rebase(before, before, current, difference, follows=follows) == []
        steps = rebase(before, after, current, difference, follows=follows)
        assert len(apply_steps(current, after, steps)) >= 0
        assert all(step.at <= step.end <= len(current) for step in steps)


def edited(items: list[int], new: Callable[[], int], random: Random, *, words: bool) -> list[int]:
    """Return `items` with random deletions and unique insertions. With `words`, only one of both."""
    removed, added = random.choice([(0.3, 0.0), (0.0, 0.25)]) if words else (0.3, 0.25)
    result = []
    for item in items:
        if random.random() < added:
            result += [new() for _ in range(random.randrange(1, 3))]
        if random.random() >= removed:
            result.append(item)
    return result + [new() for _ in range(random.randrange(3) if added else 0)]


def as_text(items: Sequence[int]) -> str:
    return "".join(chr(0x4E00 + item) for item in items)


@pytest.mark.parametrize("follows", [True, False])
@pytest.mark.parametrize("differ", [text.text_diff, sequence_diff.diff])
def test_rebase_of_distinct_items_keeps_items_and_order(
    differ: Callable[[Any, Any], list[Opcode]], follows: bool
) -> None:
    for seed in range(150):
        random = Random(seed)
        numbers = iter(range(10_000))
        before = [next(numbers) for _ in range(random.randrange(10))]
        words = differ is text.text_diff
        after, current = (edited(before, numbers.__next__, random, words=words) for _ in "ac")
        sequences: list[Any] = [before, after, current]
        if words:
            sequences = [as_text(items) for items in sequences]
        steps = rebase(*sequences, differ, follows=follows)
        check_rebased(before, after, current, apply_steps(current, after, steps), f"seed {seed}", follows)


def check_rebased(
    before: list[int], after: list[int], current: list[int], result: list[int], hint: str, follows: bool
) -> None:
    removed = set(before) - (set(after) & set(current))
    assert sorted(result) == sorted((set(after) | set(current)) - removed), hint
    assert [item for item in result if item in current] == [i for i in current if i not in removed], hint
    assert [item for item in result if item in after] == [item for item in after if item not in removed], hint
    check_neighbours(before, after, current, result, hint, follows)


def check_neighbours(
    before: list[int], after: list[int], current: list[int], result: list[int], hint: str, follows: bool
) -> None:
    """Check that an insertion is beside its anchor, if both sides have kept the anchor."""
    kept = set(after) & set(current)
    for left, right in pairwise(after):
        anchor, item = (left, right) if follows else (right, left)
        if anchor in kept and item not in before:
            assert abs(result.index(anchor) - result.index(item)) == 1, (
                f"{hint}: {item} is not beside {anchor}"
            )


def test_text_with_remote_insertions_around_it_stays_matched() -> None:
    before, theirs = "Hi", "Dear all, Hi there everyone"
    assert merged_text(before, "Hi!", theirs) == "Dear all, Hi! there everyone"
    assert merged_text(before, "", theirs) == "Dear all,  there everyone"
    assert merged_text(before, "Oh, Hi you two", theirs) in {
        "Oh, Dear all, Hi you two there everyone", "Dear all, Oh, Hi you two there everyone",
    }  # fmt: skip


def test_replaced_word_is_not_split_into_common_letters() -> None:
    assert text.text_diff("the cat sat", "the table sat") == [(4, 7, 4, 9)]
    assert merged_text("the cat sat", "the sat", "the table sat") == "the tablesat"


def merged_text(before: str, after: str, current: str) -> str:
    return "".join(apply_steps(current, after, rebase(before, after, current, text.text_diff, follows=True)))


def test_random_texts_of_several_scripts_merge() -> None:
    for seed in range(300):
        random = Random(seed)
        before, theirs = random_text(random), random_text(random)
        after = before + random.choice(WORDS)
        assert merged_text(before, after, before + theirs).replace(theirs, "", 1), f"seed {seed}"
        assert "".join(apply_opcodes(before, theirs, text.text_diff(before, theirs))) == theirs, (
            f"seed {seed}"
        )
