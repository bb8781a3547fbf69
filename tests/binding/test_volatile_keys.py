"""Volatile keys: values that change in each run (P4)."""

from __future__ import annotations

import logging
from itertools import count
from typing import Any

import pytest

from streamlit_crdt.binding import VOLATILE_AFTER_ROUNDS
from streamlit_crdt.document.replica import Replica
from tests.support.binding_session import BoundSession, number


def run_woken(*sessions: BoundSession, body: Any) -> int:
    """Run each session that has unread remote edits until none has; return the number of runs."""
    runs = 0
    for session in [*sessions] * 10:
        session.replica.apply(session.room.diff())
        if session.binding.needs_run():
            runs += 1
            session.run(body=body, remote=True)
    return runs


def test_P4_volatile_key_costs_no_more_runs_than_edits_and_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    room, clock = Replica(), count()
    one, two = BoundSession(room, number("a")), BoundSession(room, number("a"))

    def body(state: dict[str, Any]) -> None:
        state["now"] = next(clock)

    one.run(body=body)
    two.run(body=body)
    run_woken(one, two, body=body)
    with caplog.at_level(logging.WARNING):
        for value in range(1, VOLATILE_AFTER_ROUNDS + 1):
            one.browser["a"] = value
            one.run(one.message(), body=body)
            assert run_woken(one, two, body=body) == 1
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 1
    assert "'now'" in messages[0]


def test_P4_derived_value_equal_in_all_sessions_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
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
    assert not caplog.records


def test_P4_value_overwritten_now_and_then_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    room = Replica()
    one = BoundSession(room)
    for value in range(0, 40, 4):
        room.set("x", value)
        one.run(body=lambda state: state.update(x=state["x"] + 1), remote=True)
        for extra in (2, 3):
            room.set("x", value + extra)
            one.run(remote=True)
    assert not caplog.records
    room.set("x", 100)
    one.replica.apply(room.diff())
    assert one.binding.needs_run()
