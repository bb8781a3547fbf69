"""Undo and redo of local edits, with remote edits between them."""

from __future__ import annotations

from typing import Any

import pytest

from streamlit_crdt.codec.values import equal
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.merge import RULES

EDITS: list[tuple[str, Any, Any, Any, Any, Any]] = [
    ("text", "ab", "Xab", "abY", "XabY", "abY"), ("list", [1], [0, 1], [1, 2], [0, 1, 2], [1, 2]),
    ("map", {"a": 1}, {"b": 2}, {"a": 1, "c": 3}, {"b": 2, "c": 3}, {"a": 1, "c": 3}),
    ("set", {1}, {2}, {1, 3}, {2, 3}, {1, 3}), ("counter", 10, 11, 15, 16, 15),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "first", "mine", "theirs", "both", "undone"), EDITS)
def test_undo_and_redo_affect_local_edits_only(
    rule: str, first: Any, mine: Any, theirs: Any, both: Any, undone: Any
) -> None:
    one, two = Replica(), Replica()
    one.edit("k", None, first, RULES[rule])
    assert not one.can_undo, "a seed cannot be undone"
    two.apply(one.diff())
    one.begin_group()
    one.edit("k", first, mine, RULES[rule])
    two.edit("k", first, theirs, RULES[rule])
    one.apply(two.diff())
    assert equal(one.get("k"), both)
    for _ in range(2):
        assert one.can_undo and one.undo() == {"k"} and equal(one.get("k"), undone)
        assert one.can_redo and one.redo() == {"k"} and equal(one.get("k"), both)
    two.apply(one.diff())
    assert equal(two.get("k"), both)


@pytest.mark.parametrize(("rule", "value"), [(edit[0], edit[1]) for edit in EDITS])
def test_undo_of_a_deletion_restores_remote_content(rule: str, value: Any) -> None:
    one, two = Replica(), Replica()
    one.edit("k", None, value, RULES[rule])
    two.apply(one.diff())
    two.delete("k")
    two.undo()
    assert equal(two.get("k"), value)


def test_group_is_undone_as_a_whole_and_new_edit_clears_redo() -> None:
    replica = Replica()
    replica.edit("k", "", "a", RULES["text"])
    replica.begin_group()
    for text in ("ab", "abc"):
        replica.edit("k", text[:-1], text, RULES["text"])
        replica.set("n", len(text))
    replica.undo()
    assert replica.get("k") == "a" and "n" not in replica and replica.can_redo
    replica.begin_group()
    replica.edit("k", "a", "az", RULES["text"])
    assert not replica.can_redo


def test_newest_of_many_groups_can_be_undone() -> None:
    replica = Replica()
    for count in range(450):
        replica.begin_group()
        replica.edit("k", "x" * count, "x" * (count + 1), RULES["text"])
    steps = 0
    while replica.can_undo:
        replica.undo()
        steps += 1
    assert 100 <= steps <= 200 and replica.get("k") == "x" * (450 - steps)


def test_undo_stops_at_a_group_that_others_deleted() -> None:
    ada, bob = Replica(), Replica()
    ada.set("x", 1)
    ada.begin_group()
    ada.set("y", 1)
    bob.apply(ada.diff())
    bob.set("y", 2)
    bob.delete("y")
    ada.apply(bob.diff())
    ada.undo()
    assert ada.get("x") == 1
    ada.undo()
    assert "x" not in ada and not ada.can_undo


def test_last_edits_of_a_large_group_are_undone() -> None:
    replica = Replica()
    for number in range(5_000):
        replica.set("x", number)
    assert replica.undo() == {"x"}
    assert 2_000 < replica.get("x") < 3_500 and not replica.can_undo
