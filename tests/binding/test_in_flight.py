"""Values in flight: echoes of the browser are no edits (P1)."""

from __future__ import annotations

from dataclasses import replace

from streamlit_crdt.binding import CONFIRM_TRIES
from streamlit_crdt.binding.widgets import ClientState
from streamlit_crdt.document.replica import Replica
from tests.support.binding_session import BoundSession, number


def test_P1_old_value_with_another_widgets_change_is_no_edit() -> None:
    room = Replica()
    one = BoundSession(room, number("a"), number("b"))
    one.run()
    room.set("a", 8)
    one.run(delivered=False)
    one.browser["b"] = 3
    one.run(one.message())
    assert room.get("a") == 8
    assert room.get("b") == 3
    assert one.state["a"] == 8


def test_P1_old_value_with_a_click_is_no_edit() -> None:
    room = Replica()
    one = BoundSession(room, number("a"))
    one.run()
    room.set("a", 8)
    one.run(delivered=False)
    one.run(one.message("button"))
    assert room.get("a") == 8


def test_P1_two_former_values_are_both_echoes() -> None:
    room = Replica()
    one = BoundSession(room, number("a"), number("b"))
    one.run()
    for value in (8, 9):
        room.set("a", value)
        one.run(delivered=False)
    for stale in (0, 8):
        one.browser.update(a=stale, b=stale + 1)
        one.run(one.message(), delivered=False)
        assert room.get("a") == 9


def test_P1_widget_moved_back_to_former_value_is_an_edit() -> None:
    room = Replica()
    one = BoundSession(room, number("a"), number("b"))
    one.run()
    one.message()
    room.set("a", 8)
    one.run()
    one.browser["a"] = 0
    one.run(one.message())
    assert room.get("a") == 0


def test_P1_old_value_after_confirmation_is_an_edit() -> None:
    room = Replica()
    one = BoundSession(room, number("a"), number("b"))
    one.run()
    room.set("a", 8)
    one.run()
    assert one.is_in_flight
    one.confirm(one.message())
    assert not one.is_in_flight
    one.touch(a=0, b=4)
    assert (room.get("a"), room.get("b")) == (0, 4)


def test_P1_old_value_in_timer_request_is_no_edit() -> None:
    room = Replica()
    one = BoundSession(room, number("a"))
    one.run()
    one.message()
    room.set("a", 8)
    one.run(delivered=False)
    one.run(replace(one.message(), is_timers=True))
    assert room.get("a") == 8


def test_P1_old_value_in_request_of_another_widget_is_no_edit() -> None:
    room = Replica()
    one = BoundSession(room, number("a"), number("b"))
    one.run()
    one.message()
    room.set("a", 8)
    one.run(delivered=False)
    one.run(replace(one.message(), changed=frozenset({number("b").element_id})), delivered=False)
    assert room.get("a") == 8
    one.browser["a"] = 0
    one.run(replace(one.message(), changed=frozenset({number("a").element_id})))
    assert room.get("a") == 0


def test_P1_fragment_reads_value_in_flight_instead_of_echo() -> None:
    room = Replica()
    one = BoundSession(room, number("a"), number("b"))
    one.run()
    one.message()
    room.set("a", 8)
    one.run(delivered=False)
    message = replace(one.message(), is_timers=True)
    one.binding.push(one.state, message, is_synced=True, is_at_top=True)
    assert (one.state["a"], one.echoes()) == (0, {"a": 8})
    assert one.is_written_by_binding("a"), "else Streamlit warns of a default beside a value"
    one.browser["a"] = 8
    one.binding.push(one.state, one.message(), is_synced=True, is_at_top=True)
    assert one.echoes() == {}


def test_P1_edit_replaced_by_value_in_flight_is_written_again() -> None:
    room = Replica()
    one = BoundSession(room, number("a"))
    one.run()
    room.set("a", 8)
    one.run(delivered=False)
    one.browser["a"] = 5
    one.binding.push(one.state, one.message(), is_synced=True, is_at_top=True)
    assert one.echoes() == {}
    one.browser["a"] = 8  # the browser showed it over the edit
    one.binding.push(one.state, replace(one.message(), is_timers=True), is_synced=True, is_at_top=True)
    assert one.echoes() == {"a": 5}
    assert one.replica.get("a") == 5


def test_P1_value_of_last_run_is_written_by_binding_in_next_run() -> None:
    room = Replica()
    one = BoundSession(room, number("a"))
    one.run()
    room.set("a", 8)
    one.run(delivered=False)
    one.binding.begin_run()
    assert one.is_written_by_binding("a")


def test_P1_old_value_assigned_by_code_is_an_edit() -> None:
    room = Replica()
    one = BoundSession(room, number("a"))
    one.run()
    room.set("a", 8)
    one.run()
    message = one.message("reset")
    one.state["a"] = 0
    one.binding.push(one.state, message, is_synced=True, is_at_top=True, assigned={"a"})
    assert one.replica.get("a") == 0


def test_P1_value_of_missing_widget_is_given_up_after_tries() -> None:
    room = Replica()
    one = BoundSession(room, number("a"))
    one.run()
    room.set("a", 8)
    one.run()
    for _ in range(CONFIRM_TRIES):
        assert one.is_in_flight
        one.confirm(ClientState({}))
    assert not one.is_in_flight


def test_P1_value_that_missed_its_widget_is_written_again() -> None:
    room = Replica()
    one = BoundSession(room, number("a"))
    one.run()
    one.touch(a=20)
    room.set("a", 22)
    one.run(delivered=False)
    stale = one.message()
    assert one.confirm(stale)
    one.run()
    assert one.state["a"] == 22
    assert one.browser["a"] == 22
    assert not one.confirm(one.message())
    assert not one.is_in_flight
    assert room.get("a") == 22


def test_P1_late_remote_value_does_not_undo_a_local_edit() -> None:
    room = Replica()
    one = BoundSession(room, number("a"), number("b"))
    one.run()
    room.set("a", 31)
    one.run(delivered=False)  # 31 is in flight
    one.browser["a"] = 32  # the user types meanwhile
    one.run(one.message(), delivered=False)
    assert room.get("a") == 32
    one.browser["a"] = 31  # 31 arrives
    assert one.confirm(one.message("channel"))
    one.run()
    assert (one.browser["a"], room.get("a")) == (32, 32)
    one.browser.update(a=31, b=5)  # or it is sent with another edit before that
    one.run(one.message())
    assert (one.state["a"], room.get("a"), room.get("b")) == (32, 32, 5)
