"""Computed edits (R9): equal edits of an equal value, made by several replicas, are one edit."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from random import Random
from typing import Any

import pytest

from streamlit_crdt.document.replica import Replica
from streamlit_crdt.merge import RULES
from tests.support.unicode_texts import random_text

BASES: dict[str, tuple[Any, Any]] = {
    "list": (["a", "b", "c"], ["new", "a", {"n": [1, 2.5]}, "c", b"end"]),
    "text": ("Café 👍 open\nat eight", "The café 👩‍👩‍👧‍👦 is open 👍\nat nine. Ünï"),
    "counter": (10, 3),
    "map": ({"a": {"b": 1}, "c": 2}, {"a": {"b": 2, "d": 3}}),
    "set": ({1, 2}, {2, 3}),
}


def replicas_with(rule: str, value: Any, count: int = 2) -> list[Replica]:
    replicas = [Replica() for _ in range(count)]
    replicas[0].edit("k", None, value, RULES[rule])
    for other in replicas[1:]:
        other.apply(replicas[0].diff())
    return replicas


def sync(replicas: list[Replica]) -> Any:
    for one, other in permutations(replicas, 2):
        other.apply(one.diff())
    values = [one.get("k") for one in replicas]
    assert all(value == values[0] for value in values)
    return values[0]


@pytest.mark.parametrize("rule", BASES)
def test_R9_equal_computed_edits_are_one(rule: str) -> None:
    before, after = BASES[rule]
    replicas = replicas_with(rule, before, 3)
    for one in replicas:
        one.edit("k", before, after, RULES[rule], is_by_person=False)
        assert one.get("k") == after
    assert sync(replicas) == after


@pytest.mark.parametrize("rule", [rule for rule in BASES if rule != "counter"])
def test_R9_computed_edit_of_a_stale_value_that_has_arrived_is_skipped(rule: str) -> None:
    before, after = BASES[rule]
    one, other = replicas_with(rule, before)
    one.edit("k", before, after, RULES[rule], is_by_person=False)
    other.apply(one.diff())
    other.edit("k", before, after, RULES[rule], is_by_person=False)
    assert sync([one, other]) == after


@pytest.mark.parametrize(
    ("rule", "merged"), [("list", ["a", "hi", "hi"]), ("text", "ahihi"), ("counter", 12)]
)
def test_R9_equal_edits_by_two_people_are_both_kept(rule: str, merged: Any) -> None:
    before, after = {"list": (["a"], ["a", "hi"]), "text": ("a", "ahi"), "counter": (10, 11)}[rule]
    replicas = replicas_with(rule, before)
    for one in replicas:
        one.edit("k", before, after, RULES[rule])
    assert sync(replicas) == merged


@pytest.mark.parametrize("rule", ["list", "text"])
def test_R9_content_that_was_deleted_can_be_computed_again(rule: str) -> None:
    before, after = {"list": (["a"], ["a", "b"]), "text": ("é", "éb")}[rule]
    replicas = replicas_with(rule, before)
    for _ in range(3):
        for value, former in ((after, before), (before, after)):
            for one in replicas:
                one.edit("k", former, value, RULES[rule], is_by_person=False)
            assert sync(replicas) == value


def test_R9_content_that_was_deleted_in_the_same_transaction_returns() -> None:
    one, _ = replicas_with("list", ["a"])
    with one.transaction():
        for former, value in ((["a"], ["a", "b"]), (["a", "b"], ["a"]), (["a"], ["a", "b"])):
            one.edit("k", former, value, RULES["list"], is_by_person=False)
    assert one.get("k") == ["a", "b"]


@pytest.mark.parametrize("rule", ["list", "text", "counter"])
def test_R9_computed_edit_can_be_undone_and_redone(rule: str) -> None:
    before, after = BASES[rule]
    one, other = replicas_with(rule, before)
    for each in (one, other):
        each.begin_group()
        each.edit("k", before, after, RULES[rule], is_by_person=False)
    assert sync([one, other]) == after
    one.undo()
    assert one.get("k") == before
    one.redo()
    assert one.get("k") == after
    assert sync([one, other]) == after


def randomly_edited(base: Any, random: Random) -> Any:
    """Return a text or list with random parts removed and inserted."""
    parts = list(base)
    for _ in range(random.randrange(1, 4)):
        at = random.randrange(len(parts) + 1)
        parts[at : at + random.randrange(4)] = list(random_text(random, random.randrange(1, 4)))
    return "".join(parts) if isinstance(base, str) else parts


@pytest.mark.parametrize("make", [lambda random: random_text(random, 12), lambda random: [1, "é", 2]])
@pytest.mark.parametrize("seed", range(40))
def test_R9_computed_edits_equal_plain_edits(make: Callable[[Random], Any], seed: int) -> None:
    random = Random(seed)
    value = make(random)
    rule = RULES["text" if isinstance(value, str) else "list"]
    replicas = replicas_with(rule.name, value, 3)
    for _ in range(8):
        author = random.choice(replicas)
        after = randomly_edited(value, random)
        editors = [author, *(one for one in replicas if one is not author and random.random() < 0.3)]
        for one in editors:
            one.edit("k", value, after, rule, is_by_person=False)
            assert one.get("k") == after
        if random.random() < 0.3:
            value, after = after, randomly_edited(after, random)
            author.edit("k", value, after, rule)
            assert author.get("k") == after
        value = sync(replicas)
        assert value == after
