"""The rules by which a session's state and a room's replica stay the same, without Streamlit."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest

from streamlit_crdt.binding import CONFIRM_TRIES, VOLATILE_AFTER_ROUNDS, StateBinding
from streamlit_crdt.binding.widgets import ClientState, Widget
from streamlit_crdt.document.replica import Replica
from tests.support.binding_session import BoundSession, identity, number, room_context


def test_R4_a_default_is_not_written() -> None:
    room = Replica()
    BoundSession(room, number("a")).run()
    assert room.keys() == []


def test_R4_an_edit_enters_the_room_and_moves_the_other_session() -> None:
    room = Replica()
    one, two = BoundSession(room, number("a")), BoundSession(room, number("a"))
    one.run()
    two.run()
    one.touch(a=7)
    assert two.binding.needs_run() is False
    two.replica.apply(room.diff())
    assert two.binding.needs_run()
    two.run()
    assert two.state["a"] == 7
    assert not two.binding.needs_run()


def test_R4_what_code_assigns_enters_an_empty_room_and_yields_to_a_value_in_it() -> None:
    room = Replica()

    def body(state: dict[str, Any]) -> None:
        state.setdefault("count", 0)

    one = BoundSession(room)
    one.run(body=body)
    assert room.get("count") == 0
    room.set("count", 5)
    two = BoundSession(room)
    two.run(body=body)
    assert two.state["count"] == 5
    assert room.get("count") == 5


def test_R4_nothing_is_written_before_the_first_sync() -> None:
    binding = StateBinding(replica := Replica(), room_context())
    binding.push({"a": 1}, None, is_synced=False)
    assert replica.keys() == []
    binding.push({"a": 1}, None, is_synced=True)
    assert replica.get("a") == 1


def test_P1_an_old_value_that_comes_with_another_widgets_change_is_no_edit() -> None:
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


def test_P1_an_old_value_that_comes_with_a_click_is_no_edit() -> None:
    room = Replica()
    one = BoundSession(room, number("a"))
    one.run()
    room.set("a", 8)
    one.run(delivered=False)
    one.run(one.message("button"))
    assert room.get("a") == 8


def test_P1_two_remote_values_in_a_row_do_not_let_either_old_one_back() -> None:
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


def test_P1_moving_a_widget_back_to_where_it_was_is_an_edit() -> None:
    room = Replica()
    one = BoundSession(room, number("a"), number("b"))
    one.run()
    one.message()
    room.set("a", 8)
    one.run()
    one.browser["a"] = 0
    one.run(one.message())
    assert room.get("a") == 0


def test_P1_after_confirmation_the_old_value_is_an_edit_whatever_comes_with_it() -> None:
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


def test_P2_a_value_out_of_range_is_refused_and_the_room_keeps_it(caplog: pytest.LogCaptureFixture) -> None:
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


def test_P2_a_widget_that_bends_a_value_silently_does_not_push_what_it_made_of_it() -> None:
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


def test_P3_a_hidden_widget_has_no_edits_and_is_not_deleted() -> None:
    room = Replica()
    shown = number("a")
    one = BoundSession(room, shown)
    one.run()
    one.touch(a=7)
    one.widgets = ()
    one.browser = {}
    one.run(one.message())
    one.state["a"] = 2  # Streamlit brings an older value back
    one.run()
    del one.state["a"]
    one.run()
    assert room.get("a") == 7
    one.widgets = (shown,)
    one.run()
    assert one.state["a"] == 7


def test_P3_a_widget_below_an_interrupted_run_still_has_edits() -> None:
    room = Replica()
    one = BoundSession(room, number("a"), number("b"))
    one.run()
    one.binding.begin_run()
    one.register(number("a"))
    one.binding.end_run(is_complete=False, is_remote=False)
    one.touch(b=9)
    assert room.get("b") == 9


def test_P3_a_plain_value_that_is_deleted_is_deleted_for_all() -> None:
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


def test_P4_a_volatile_value_stops_waking_and_names_its_key(caplog: pytest.LogCaptureFixture) -> None:
    room = Replica()
    clock = iter(range(1000))
    one, two = BoundSession(room), BoundSession(room)

    def body(state: dict[str, Any]) -> None:
        state["now"] = next(clock)

    one.run(body=body)
    rounds = 0
    with caplog.at_level(logging.WARNING):
        for session in [two, one] * 20:
            session.replica.apply(room.diff())
            if session.binding.needs_run():
                rounds += 1
                session.run(body=body, remote=True)
    assert rounds <= 2 * (VOLATILE_AFTER_ROUNDS + 1)
    assert any("'now'" in record.getMessage() for record in caplog.records)


def test_P4_a_value_that_fragments_assign_at_each_tick_of_their_timers_stops_waking_and_travelling() -> None:
    room = Replica()
    clock = iter(range(1000))
    one, two = BoundSession(room), BoundSession(room)
    rounds = 0

    def body(state: dict[str, Any]) -> None:
        state["now"] = next(clock)

    for each in [one, two] * 20:
        each.replica.apply(room.diff())
        if each.binding.needs_run():
            rounds += 1
            each.run(remote=True, body=body)
        body(each.state)
        tick = replace(each.message(), is_timers=True)
        each.binding.push(each.state, tick, is_synced=True, is_remote=tick.is_timers)
        each.room.apply(each.replica.diff())
    assert 0 < rounds <= 2 * (VOLATILE_AFTER_ROUNDS + 1)


def test_P4_a_derived_value_that_agrees_is_not_volatile() -> None:
    room = Replica()
    one, two = BoundSession(room, number("a")), BoundSession(room, number("a"))

    def body(state: dict[str, Any]) -> None:
        state["double"] = 2 * state["a"]

    one.run(body=body)
    two.run(body=body)
    for value in range(1, 20):
        one.browser["a"] = value
        one.run(one.message(), body=body)
        two.run(body=body, remote=True)
        assert two.state["double"] == 2 * value
        assert not two.binding.needs_run()


def test_P6_a_trigger_is_never_shared() -> None:
    room = Replica()
    button = Widget("go", "$$ID-hash-go", "button", False, identity, identity)
    one = BoundSession(room, button)
    one.run()
    one.touch(go=True)
    assert room.keys() == []


def test_P8_a_private_key_is_neither_sent_nor_taken() -> None:
    room = Replica()
    room.set("secret", "theirs")
    one = BoundSession(room, private=("secret",))
    one.run(body=lambda state: state.update(secret="mine", open=1))
    assert room.get("secret") == "theirs"
    assert one.state["secret"] == "mine"
    assert room.get("open") == 1


def test_R5_what_cannot_be_shared_is_named_and_nothing_else_is_disturbed() -> None:
    room = Replica()
    one = BoundSession(room)
    one.run(body=lambda state: state.update(a=1, lock=object(), z=2))
    assert [error.key for error in one.errors if hasattr(error, "key")] == ["lock"]
    assert (room.get("a"), room.get("z")) == (1, 2)


def test_a_list_changed_in_place_is_an_edit() -> None:
    room = Replica()
    one = BoundSession(room)
    one.run(body=lambda state: state.update(items=[1]))
    one.run(body=lambda state: state["items"].append(2))
    assert room.get("items") == [1, 2]


def test_P1_a_fragments_timer_that_brings_the_old_value_is_no_edit() -> None:
    room = Replica()
    one = BoundSession(room, number("a"))
    one.run()
    one.message()
    room.set("a", 8)
    one.run(delivered=False)
    one.run(replace(one.message(), is_timers=True))
    assert room.get("a") == 8


def test_P1_an_old_value_in_a_message_that_is_for_another_widget_is_no_edit_though_nothing_differs() -> None:
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


def test_P1_fragments_see_what_was_delivered_where_the_browser_still_sends_what_was_before() -> None:
    room = Replica()
    one = BoundSession(room, number("a"), number("b"))
    one.run()
    one.message()
    room.set("a", 8)
    one.run(delivered=False)
    message = replace(one.message(), is_timers=True)
    one.binding.push(one.state, message, is_synced=True, is_at_top=True)
    assert (one.state["a"], one.echoes()) == (0, {"a": 8})
    assert one.is_written_by_binding("a"), "or Streamlit would complain of a default beside a value"
    one.browser["a"] = 8
    one.binding.push(one.state, one.message(), is_synced=True, is_at_top=True)
    assert one.echoes() == {}


def test_P1_an_edit_that_met_a_value_on_its_way_is_written_again_where_the_browser_has_that_value() -> None:
    room = Replica()
    one = BoundSession(room, number("a"))
    one.run()
    room.set("a", 8)
    one.run(delivered=False)
    one.browser["a"] = 5
    one.binding.push(one.state, one.message(), is_synced=True, is_at_top=True)
    assert one.echoes() == {}
    one.browser["a"] = 8  # the page has put it over the edit
    one.binding.push(one.state, replace(one.message(), is_timers=True), is_synced=True, is_at_top=True)
    assert one.echoes() == {"a": 5}
    assert one.replica.get("a") == 5


def test_P1_a_run_without_a_message_does_not_complain_of_what_the_run_before_it_wrote() -> None:
    room = Replica()
    one = BoundSession(room, number("a"))
    one.run()
    room.set("a", 8)
    one.run(delivered=False)
    one.binding.begin_run()
    assert one.is_written_by_binding("a")


def test_P1_code_that_assigns_the_old_value_makes_an_edit() -> None:
    room = Replica()
    one = BoundSession(room, number("a"))
    one.run()
    room.set("a", 8)
    one.run()
    message = one.message("reset")
    one.state["a"] = 0
    one.binding.push(one.state, message, is_synced=True, is_at_top=True, assigned={"a"})
    assert one.replica.get("a") == 0


def test_P1_a_widget_that_the_browser_never_shows_is_not_waited_for_for_ever() -> None:
    room = Replica()
    one = BoundSession(room, number("a"))
    one.run()
    room.set("a", 8)
    one.run()
    for _ in range(CONFIRM_TRIES):
        assert one.is_in_flight
        one.confirm(ClientState({}))
    assert not one.is_in_flight


def test_P3_a_value_from_before_a_page_change_that_comes_back_is_no_edit() -> None:
    room = Replica()
    one = BoundSession(room, number("a"))
    one.run()
    one.touch(a=5)
    one.leave_page()
    one.widgets, one.browser = (), {}
    one.state["a"] = 2  # Streamlit brings an older value back
    one.run(one.message())
    assert room.get("a") == 5


class Clocked(BoundSession):
    """A script that assigns a new value to its widget's key each time before it draws the widget."""

    clock = 0

    def register(self, widget: Widget) -> None:
        Clocked.clock = (Clocked.clock + 1) % 100
        self.state[widget.key] = Clocked.clock
        super().register(widget)


def test_P4_a_widget_that_code_overwrites_on_each_run_does_not_wake_for_ever() -> None:
    room = Replica()
    one, two = Clocked(room, number("n")), Clocked(room, number("n"))
    one.run()
    two.run()
    rounds = 0
    for each in [two, one] * 15:
        each.replica.apply(room.diff())
        if each.binding.needs_run():
            rounds += 1
            each.run(remote=True)
    assert 0 < rounds <= 2 * (VOLATILE_AFTER_ROUNDS + 1)


def test_P4_a_value_that_is_overwritten_now_and_then_is_not_volatile() -> None:
    room = Replica()
    one = BoundSession(room)
    for value in range(0, 40, 4):
        room.set("x", value)
        one.run(body=lambda state: state.update(x=state["x"] + 1), remote=True)
        for extra in (2, 3):
            room.set("x", value + extra)
            one.run(remote=True)
    room.set("x", 100)
    one.replica.apply(room.diff())
    assert one.binding.needs_run()


def test_R4_a_plain_value_that_was_changed_before_the_first_sync_wins_over_the_room() -> None:
    replica = Replica()
    binding = StateBinding(replica, room_context())
    binding.push({"edited": 0, "first": 0}, None, is_synced=False)
    binding.push({"edited": 1, "first": 0}, None, is_synced=False)
    replica.set("edited", 5)
    replica.set("first", 5)
    binding.push({"edited": 1, "first": 0}, None, is_synced=True)
    assert (replica.get("edited"), replica.get("first")) == (1, 5)


class Odd:
    pass


def test_P2_an_option_that_the_widget_cannot_name_any_more_does_not_stop_the_run() -> None:
    def serialize(value: Any) -> Any:
        raise KeyError(value)

    room = Replica()
    widget = Widget("a", "$$ID-hash-a", "selectbox", True, serialize, identity)
    one = BoundSession(room, widget)
    one.binding.register(widget, "fine", is_assigned=False)
    one.binding.end_run(is_complete=True, is_remote=False)
    one.state["a"] = Odd()
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


def test_a_widget_without_a_key_that_is_gone_and_that_nobody_changed_is_forgotten() -> None:
    room = Replica()
    one = BoundSession(room)
    for size in range(50):
        one.widgets = (number(f"crdt:slider:{size}"),)
        one.browser, one.state = {}, {}
        one.run()
        if size == 20:
            one.touch(**{"crdt:slider:20": 5})
    assert set(one.binding.widgets) == {"crdt:slider:20", "crdt:slider:49"}


def test_R4_what_the_browser_brings_along_into_a_new_session_is_an_edit_where_the_room_has_none() -> None:
    room = Replica()
    one = BoundSession(room, number("a"), number("b"))
    one.state.update(a=7, b=0)
    one.binding.begin_run()
    for widget in one.widgets:
        one.binding.register(widget, one.state[widget.key], is_assigned=False, is_in_browser=True)
    one.binding.push(one.state, None, is_synced=True)
    assert dict(one.replica.items()) == {"a": 7}


def test_R4_what_the_browser_brings_along_yields_to_the_room() -> None:
    room = Replica()
    room.set("a", 3)
    one = BoundSession(room, number("a"))
    one.state.update(a=7)
    one.binding.begin_run()
    one.binding.register(number("a"), 7, is_assigned=False, is_in_browser=True)
    one.binding.push(one.state, None, is_synced=True)
    assert one.replica.get("a") == 3
    assert [write.value for write in one.binding.plan(one.state)] == [3]


def test_P3_a_value_written_while_its_widget_was_hidden_is_still_to_be_told_to_the_browser() -> None:
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


def test_P1_a_value_that_missed_its_widget_is_delivered_again() -> None:
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


def test_P1_a_value_that_arrives_after_the_persons_own_edit_does_not_undo_it() -> None:
    room = Replica()
    one = BoundSession(room, number("a"), number("b"))
    one.run()
    room.set("a", 31)
    one.run(delivered=False)  # 31 is on its way
    one.browser["a"] = 32  # and meanwhile somebody types
    one.run(one.message(), delivered=False)
    assert room.get("a") == 32
    one.browser["a"] = 31  # it arrives
    assert one.confirm(one.message("channel"))
    one.run()
    assert (one.browser["a"], room.get("a")) == (32, 32)
    one.browser.update(a=31, b=5)  # or it comes back with another edit, before that
    one.run(one.message())
    assert (one.state["a"], room.get("a"), room.get("b")) == (32, 32, 5)


def test_P3_a_run_that_was_replaced_before_its_end_counts_what_it_drew() -> None:
    one = BoundSession(Replica(), number("a"))
    one.run()
    one.leave_page()
    one.binding.begin_run()
    one.register(number("a"))  # and a newer run takes over
    one.binding.begin_run()
    assert not one.needs_delivery("a")


def _agreed_before_sync() -> tuple[Replica, StateBinding]:
    """Return a session's room and binding after the room turned out to have the first value that the script gave."""
    room, other = Replica(), Replica()
    other.set("n", 0)
    binding = StateBinding(room, room_context())
    binding.push({"n": 0}, None, is_synced=False)
    room.apply(other.diff())
    binding.push({"n": 0}, None, is_synced=True)
    binding.begin_run()
    assert binding.plan({"n": 0}) == []
    binding.end_run(is_complete=True, is_remote=False)
    return room, binding


def test_R4_a_first_value_with_which_the_room_agreed_excuses_no_later_one() -> None:
    room, binding = _agreed_before_sync()
    binding.start_over()
    binding.push({"n": 5}, None, is_synced=True, is_at_top=True)
    assert room.get("n") == 0


def test_R4_a_first_value_from_before_another_room_filled_the_state_is_forgotten() -> None:
    room, other = Replica(), Replica()
    binding = StateBinding(room, room_context())
    binding.push({"n": 0}, None, is_synced=False)
    binding.start_over()
    other.set("n", 3)
    room.apply(other.diff())
    binding.push({"n": 5}, None, is_synced=True, is_at_top=True)
    assert room.get("n") == 3
