"""Volatile keys: values that change in each run (P4)."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest

from streamlit_crdt.binding import VOLATILE_AFTER_ROUNDS
from streamlit_crdt.binding.widgets import Widget
from streamlit_crdt.document.replica import Replica
from tests.support.binding_session import BoundSession, number


def test_P4_volatile_key_stops_reruns_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
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


def test_P4_value_assigned_by_fragment_timers_stops_reruns() -> None:
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


def test_P4_derived_value_equal_in_all_sessions_is_not_volatile() -> None:
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


class AssigningSession(BoundSession):
    """A script that assigns a new value to its widget's key before each registration."""

    clock = 0

    def register(self, widget: Widget) -> None:
        AssigningSession.clock = (AssigningSession.clock + 1) % 100
        self.state[widget.key] = AssigningSession.clock
        super().register(widget)


def test_P4_widget_assigned_in_each_run_stops_reruns() -> None:
    room = Replica()
    one, two = AssigningSession(room, number("n")), AssigningSession(room, number("n"))
    one.run()
    two.run()
    rounds = 0
    for each in [two, one] * 15:
        each.replica.apply(room.diff())
        if each.binding.needs_run():
            rounds += 1
            each.run(remote=True)
    assert 0 < rounds <= 2 * (VOLATILE_AFTER_ROUNDS + 1)


def test_P4_value_overwritten_now_and_then_is_not_volatile() -> None:
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
