"""Values that code makes in a run that no person caused: held in session state, not written (R9)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from streamlit_crdt.binding.widgets import Widget
from streamlit_crdt.document.replica import Replica
from tests.support.binding_session import BoundSession, number

State = dict[str, Any]


def assign(**values: Any) -> Callable[[State], None]:
    return lambda state: state.update(values)


@pytest.mark.parametrize("value", [1, "text", [1, 2], {"a": [1]}, {3}, 2.5, None], ids=repr)
def test_R9_value_made_in_remote_run_stays_in_the_session(value: object) -> None:
    room = Replica()
    one = BoundSession(room)
    one.run(body=assign(x=value), remote=True)
    assert (one.state, list(room)) == ({"x": value}, [])
    one.run(remote=True)
    assert (one.state, list(room)) == ({"x": value}, [])


def test_R9_held_value_is_written_at_the_end_of_a_run_by_a_person() -> None:
    room = Replica()
    one = BoundSession(room, number("a"))
    one.run(body=assign(x=[1], y=[1]), remote=True)
    one.browser["a"] = 3
    one.run(one.message(), body=assign(y=[2]))
    assert dict(room.items()) == {"a": 3, "x": [1], "y": [2]}


def test_R9_remote_write_replaces_the_held_value() -> None:
    room = Replica()
    room.set("x", 0)
    one = BoundSession(room)
    one.run(body=assign(x=5), remote=True)
    one.run(remote=True)
    assert (one.state["x"], room.get("x")) == (5, 0)
    room.set("x", 7)
    one.run(remote=True)
    assert (one.state["x"], room.get("x")) == (7, 7)


def test_R9_remote_deletion_replaces_the_held_value() -> None:
    room = Replica()
    room.set("x", 0)
    one = BoundSession(room)
    one.run(body=assign(x=5), remote=True)
    room.delete("x")
    one.run(remote=True)
    one.run()
    assert ("x" in one.state, list(room)) == (False, [])


def test_R9_deletion_in_remote_run_waits_for_a_person() -> None:
    room = Replica()
    room.set("x", 0)
    one = BoundSession(room)
    one.run(body=lambda state: state.pop("x"), remote=True)
    one.run(remote=True)
    assert ("x" in one.state, room.get("x")) == (False, 0)
    one.run()
    assert ("x" in one.state, "x" in room) == (False, False)


def test_R9_held_deletion_ends_when_the_key_returns() -> None:
    room = Replica()
    room.set("x", 0)
    one = BoundSession(room)
    one.run(body=lambda state: state.pop("x"), remote=True)
    room.set("x", 1)
    one.run(remote=True)
    one.run()
    assert (one.state["x"], room.get("x")) == (1, 1)


def test_R9_list_changed_in_place_in_remote_run_is_held() -> None:
    room = Replica()
    room.set("tasks", [{"done": False}])
    one = BoundSession(room)
    one.run(remote=True)
    one.run(body=lambda state: state["tasks"][0].update(done=True), remote=True)
    assert room.get("tasks") == [{"done": False}]
    assert one.state["tasks"] == [{"done": True}]


class AssigningSession(BoundSession):
    """A script that assigns a value to its widget's key before each registration."""

    assigned = 5

    def register(self, widget: Widget) -> None:
        self.state[widget.key] = self.assigned
        super().register(widget)


def test_R9_widget_assigned_in_remote_run_is_held_and_its_echo_is_no_edit() -> None:
    room = Replica()
    room.set("n", 1)
    one = AssigningSession(room, number("n"))
    one.run(remote=True)
    assert (one.state["n"], room.get("n")) == (5, 1)
    tick = replace(one.message(), is_timers=True)
    one.run(tick, remote=True)
    assert (one.state["n"], room.get("n")) == (5, 1)


def test_R9_widget_edited_by_a_person_is_pushed_by_a_timer_run() -> None:
    room = Replica()
    one = BoundSession(room, number("n"))
    one.run()
    one.browser["n"] = 4
    one.run(replace(one.message(), is_timers=True), body=assign(x=1), remote=True)
    assert dict(room.items()) == {"n": 4}


def test_R9_callback_of_a_timer_run_is_pushed() -> None:
    room = Replica()
    one = BoundSession(room, number("n"))
    one.run(body=assign(held=1), remote=True)
    message = one.message()
    one.state.update(x=[1])  # a callback
    one.run(message, remote=True)
    assert dict(room.items()) == {"x": [1]}


def test_R9_value_from_before_the_first_sync_is_pushed_by_a_remote_run() -> None:
    room = Replica()
    one = BoundSession(room)
    one.binding.push({"x": 1}, None, is_synced=False)
    one.state["x"] = 1
    one.run(remote=True)
    assert room.get("x") == 1


def test_R9_value_that_cannot_be_shared_is_reported_and_not_held() -> None:
    room = Replica()
    one = BoundSession(room)
    one.run(body=assign(x=object()), remote=True)
    assert ["'x'" in str(error) for error in one.errors] == [True]


def test_R9_clock_of_a_timer_writes_nothing() -> None:
    room = Replica()
    one = BoundSession(room)
    for now in range(5):
        one.run(replace(one.message(), is_timers=True), body=assign(now=now), remote=True)
    assert list(room) == []
