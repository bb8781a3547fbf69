"""Widgets that leave the page, and deleted plain values (P3)."""

from __future__ import annotations

from streamlit_crdt.document.replica import Replica
from tests.support.binding_session import BoundSession, number


def test_P3_hidden_widget_is_neither_edited_nor_deleted() -> None:
    room = Replica()
    shown = number("a")
    one = BoundSession(room, shown)
    one.run()
    one.touch(a=7)
    one.widgets = ()
    one.browser = {}
    one.run(one.message())
    one.state["a"] = 2  # Streamlit restores an older value
    one.run()
    del one.state["a"]
    one.run()
    assert room.get("a") == 7
    one.widgets = (shown,)
    one.run()
    assert one.state["a"] == 7


def test_P3_widget_not_reached_by_interrupted_run_has_edits() -> None:
    room = Replica()
    one = BoundSession(room, number("a"), number("b"))
    one.run()
    one.binding.begin_run()
    one.register(number("a"))
    one.binding.end_run(is_complete=False)
    one.touch(b=9)
    assert room.get("b") == 9


def test_P3_deleted_plain_value_is_deleted_in_all_sessions() -> None:
    room = Replica()
    one, two = BoundSession(room), BoundSession(room)
    one.run(body=lambda state: state.update(x=1))
    two.run()
    assert two.state == {"x": 1}
    one.run(body=lambda state: state.pop("x"))
    assert "x" not in room
    two.replica.apply(room.diff())
    assert two.binding.needs_run()
    two.run()
    assert two.state == {}


def test_P3_value_from_before_a_page_change_is_no_edit() -> None:
    room = Replica()
    one = BoundSession(room, number("a"))
    one.run()
    one.touch(a=5)
    one.leave_page()
    one.widgets, one.browser = (), {}
    one.state["a"] = 2  # Streamlit restores an older value
    one.run(one.message())
    assert room.get("a") == 5


def test_P3_value_written_to_hidden_widget_needs_delivery() -> None:
    room = Replica()
    room.set("a", 8)
    one = BoundSession(room)
    one.run()
    one.run()
    assert one.state["a"] == 8
    assert one.needs_delivery("a")
    one.widgets = (number("a"),)
    one.run()
    assert not one.needs_delivery("a")


def test_P3_widget_of_superseded_run_counts_as_registered() -> None:
    one = BoundSession(Replica(), number("a"))
    one.run()
    one.leave_page()
    one.binding.begin_run()
    one.register(number("a"))  # a newer run supersedes this one
    one.binding.begin_run()
    assert not one.needs_delivery("a")
