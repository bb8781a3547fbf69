"""Concurrent edits of two sessions, which merge by the rule of their key."""

from __future__ import annotations

from typing import Any

import pytest

from streamlit_crdt.binding.widgets import Widget
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.errors import MergeRuleError
from streamlit_crdt.merge import MergePolicy
from tests.support.binding_session import BoundSession, identity, make_viewer


def area(default: str = "hello") -> Widget:
    return Widget(
        "a", "$$ID-hash-a", "text_area", True, identity, lambda value: default if value is None else value
    )


def test_P1_draft_merges_with_value_in_flight() -> None:
    room = Replica()
    one, two = BoundSession(room, area()), BoundSession(room, area())
    one.run()
    two.run()
    two.touch(a="hello world")
    one.run(delivered=False)
    one.touch(a="Oh, hello")
    assert room.get("a") == one.state["a"] == "Oh, hello world"


def test_R8_default_of_two_text_areas_is_in_room_once() -> None:
    room = Replica()
    one, two = BoundSession(room, area()), BoundSession(room, area())
    one.run()
    two.run()
    one.replica.edit("a", "hello", "hello!", MergePolicy().rule("a", "", "text_area"))
    two.touch(a="Oh, hello")
    room.apply(one.replica.diff())
    assert room.get("a") == "Oh, hello!"


@pytest.mark.parametrize(
    ("first", "mine", "theirs", "expected", "rule"),
    [(1, 2, 2, 3, "counter"), ([0], [0, 1], [0, 2], {0, 1, 2}, "list"),
     ({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}, {"a": {"b": 3, "c": 2}}, "map")],
)  # fmt: skip
def test_edits_of_two_scripts_merge_by_rule(
    first: Any, mine: Any, theirs: Any, expected: Any, rule: str
) -> None:
    room, rooms = Replica(), [Replica(), Replica()]
    BoundSession(room, merge={"k": rule}).run(body=lambda state: state.update(k=first))
    scripts = []
    for each in rooms:
        each.apply(room.diff())
        scripts.append(BoundSession(each, merge={"k": rule}))
        scripts[-1].run()
    for script, value in zip(scripts, (mine, theirs), strict=True):
        script.run(body=lambda state, value=value: state.update(k=value))
    rooms[0].apply(rooms[1].diff())
    value = rooms[0].get("k")
    assert (set(value) if rule == "list" else value) == expected


def test_A1_viewer_pushes_nothing() -> None:
    room = Replica()
    one = BoundSession(room, area())
    one.run()
    make_viewer(one.binding)
    one.touch(a="mine")
    assert room.keys() == []


def test_policy_overrides_widget_rule_and_rejects_unknown_name() -> None:
    rules = MergePolicy({"a*": "value", "n_*": "counter"})
    assert rules.rule("area", "text", "text_area") is None
    assert getattr(rules.rule("n_clicks", 1, None), "name", None) == "counter"
    assert getattr(rules.rule("b", ["x"], "multiselect"), "name", None) == "set"
    with pytest.raises(MergeRuleError):
        MergePolicy({"a": "nonsense"})  # type: ignore[dict-item]
