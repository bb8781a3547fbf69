"""Widgets that register: refused and coerced values, and values of a new session (P2, R4)."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from streamlit_crdt.binding.widgets import ClientState, Widget
from streamlit_crdt.document.replica import Replica
from tests.support.binding_session import BoundSession, identity, number


def test_P2_value_out_of_range_is_refused_and_stays_in_room(caplog: pytest.LogCaptureFixture) -> None:
    room = Replica()
    room.set("a", 500)
    one = BoundSession(room, number("a"))
    with caplog.at_level(logging.WARNING):
        one.run()
        one.run()
        one.run(one.message())
    assert one.state["a"] == 0
    assert room.get("a") == 500
    assert len([record for record in caplog.records if "'a'" in record.getMessage()]) == 1


def test_P2_coerced_value_is_not_pushed() -> None:
    room = Replica()
    bending = Widget("a", "$$ID-hash-a", "number_input", True, identity, identity)
    one = BoundSession(room, bending)
    one.state["a"] = 0
    one.run()
    before = room.get("a")
    room.set("a", 500)

    def widget_bends(state: dict[str, Any]) -> None:
        state["a"] = 0

    one.run(body=widget_bends)
    one.run(one.message())
    assert room.get("a") == 500 != before
    one.touch(a=3)
    assert room.get("a") == 3


class UnknownOption:
    pass


def test_P2_option_without_label_is_an_error_of_its_key_only() -> None:
    def serialize(value: Any) -> Any:
        raise KeyError(value)

    room = Replica()
    widget = Widget("a", "$$ID-hash-a", "selectbox", True, serialize, identity)
    one = BoundSession(room, widget)
    one.binding.register(widget, "fine", is_assigned=False)
    one.binding.end_run(is_complete=True)
    one.state["a"] = UnknownOption()
    room.set("a", "other")
    message = ClientState({widget.element_id: b""})
    for _ in range(2):
        errors = one.binding.push(one.state, message, is_synced=True, is_at_top=True)
        one.replica.apply(room.diff())
        one.binding.begin_run()
        for write in one.binding.plan(one.state):
            one.binding.mark_written(write, one.state)
        one.binding.register(widget, one.state["a"], is_assigned=False)
        one.binding.check_registered(one.state)
        one.confirm(message)
    assert [error.key for error in errors] == ["a"]


def test_unkeyed_widget_is_forgotten_if_gone_and_unedited() -> None:
    room = Replica()
    one = BoundSession(room)
    for size in range(50):
        one.widgets = (number(f"crdt:slider:{size}"),)
        one.browser, one.state = {}, {}
        one.run()
        if size == 20:
            one.touch(**{"crdt:slider:20": 5})
    assert set(one.binding.widgets) == {"crdt:slider:20", "crdt:slider:49"}


def test_R4_browser_value_of_new_session_enters_empty_room() -> None:
    room = Replica()
    one = BoundSession(room, number("a"), number("b"))
    one.state.update(a=7, b=0)
    one.binding.begin_run()
    for widget in one.widgets:
        one.binding.register(widget, one.state[widget.key], is_assigned=False, is_in_browser=True)
    one.binding.push(one.state, None, is_synced=True)
    assert dict(one.replica.items()) == {"a": 7}


def test_R4_browser_value_of_new_session_yields_to_room() -> None:
    room = Replica()
    room.set("a", 3)
    one = BoundSession(room, number("a"))
    one.state.update(a=7)
    one.binding.begin_run()
    one.binding.register(number("a"), 7, is_assigned=False, is_in_browser=True)
    one.binding.push(one.state, None, is_synced=True)
    assert one.replica.get("a") == 3
    assert [write.value for write in one.binding.plan(one.state)] == [3]
