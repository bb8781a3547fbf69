"""Keys in which nothing is open are left out of the loops of a run. Their next change is noticed (R1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy
import pandas
import pytest

from streamlit_crdt.codec.equality import equal
from streamlit_crdt.document.replica import Replica
from tests.support.binding_session import BoundSession, number
from tests.support.call_count import count_calls


def settled_session(**values: Any) -> tuple[Replica, BoundSession]:
    """Return a session in whose runs nothing has changed for a while."""
    room = Replica()
    for key, value in values.items():
        room.set(key, value)
    session = BoundSession(room)
    for _ in range(3):
        session.run()
    assert not session.binding.keys
    return room, session


FIRST: dict[str, Any] = {
    "int": 1,
    "nothing": None,
    "float": 1.5,
    "list": [1, {"a": [2]}],
    "dict": {"a": {"b": 1}},
    "frame": pandas.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]}),
    "array": numpy.arange(4),
}

CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "int": lambda state: state.update(int=True),
    "nothing": lambda state: state.update(nothing=0),
    "float": lambda state: state.update(float=2),
    "list": lambda state: state["list"][1]["a"].append(3),
    "dict": lambda state: state["dict"]["a"].update(b=True),
    "frame": lambda state: state["frame"].loc.__setitem__((1, "b"), "z"),
    "array": lambda state: state["array"].__setitem__(0, 9),
}


@pytest.mark.parametrize("key", CHANGES)
def test_R1_change_of_a_parked_key_is_pushed(key: str) -> None:
    room, session = settled_session(**FIRST)
    session.run(body=CHANGES[key])
    assert equal(room.get(key), session.state[key]) and not equal(room.get(key), FIRST[key])
    for other in FIRST.keys() - {key}:
        assert equal(room.get(other), FIRST[other])


def test_R1_value_that_was_read_but_not_pushed_is_pushed_later() -> None:
    """A failed callback ends its run above `crdt_sync`: the values are read, and no push follows."""
    room, session = settled_session(int=1)
    session.state["acted"] = "stop"
    with session.binding.locked() as keys:
        assert keys.open_values(session.state) == {"acted": "stop"}
        assert keys.open_values(session.state) == {"acted": "stop"}
    session.run()
    assert room.get("acted") == "stop"


@pytest.mark.parametrize("key", FIRST)
def test_R1_equal_value_in_a_parked_key_sends_nothing(key: str) -> None:
    room, session = settled_session(**FIRST)
    session.state[key] = room.get(key)
    version = session.replica.version
    session.run(body=lambda state: state.update({key: room.get(key)}))
    assert session.replica.version == version


@pytest.mark.parametrize("key", FIRST)
def test_deletion_of_a_parked_key_is_pushed(key: str) -> None:
    room, session = settled_session(**FIRST)
    session.run(body=lambda state: state.pop(key))
    assert key not in room and len(room) == len(FIRST) - 1


@pytest.mark.parametrize("key", FIRST)
def test_remote_write_of_a_parked_key_is_shown(key: str) -> None:
    room, session = settled_session(**FIRST)
    room.set(key, "remote")
    session.replica.apply(room.diff())
    assert session.binding.needs_run()
    session.run(remote=True)
    assert session.state[key] == "remote"
    room.delete(key)
    session.run(remote=True)
    assert key not in session.state


def test_P8_parked_key_that_becomes_private_is_not_shared() -> None:
    room, session = settled_session(secret=1)
    session.binding.context = BoundSession(room, private=("secret",)).binding.context
    session.run(body=lambda state: state.update(secret=2))
    assert room.get("secret") == 1
    session.binding.context = BoundSession(room).binding.context
    session.run(remote=True)
    session.run(body=lambda state: state.update(secret=3))
    assert room.get("secret") == 3


def test_parked_key_of_a_new_widget_is_bound() -> None:
    room, session = settled_session(n=5)
    session.widgets = (number("n"),)
    session.run()
    session.run()
    session.browser["n"] = 6
    session.run(session.message())
    assert room.get("n") == 6


def cost_of_run(count: int) -> int:
    """Return the calls in the two runs of a session with `count` keys after one remote edit."""
    room, session = settled_session(**{f"k{number}": number for number in range(count)})
    updates: list[bytes] = []
    room.subscribe(lambda update, origin: updates.append(update))
    room.set("k3", "remote")

    def run() -> None:
        binding = session.binding
        session.replica.apply(updates[-1])
        assert binding.needs_run()
        for _ in range(2):
            binding.push(session.state, None, is_synced=True, is_by_person=False, is_at_top=True)
            binding.begin_run()
            for write in binding.plan(session.state):
                session.state[write.key] = write.value
                binding.mark_written(write, session.state)
            binding.check_registered(session.state)
            binding.push(session.state, None, is_synced=True, is_by_person=False)
            binding.end_run(is_complete=True, is_by_person=False)

    calls = count_calls(run)
    assert session.state["k3"] == "remote"
    return calls


def test_run_for_a_remote_edit_costs_what_it_changes() -> None:
    assert cost_of_run(1_000) <= 1.2 * cost_of_run(10)


ITEMS: dict[str, Callable[[int], Any]] = {
    "texts": lambda number: f"text {number}",
    "dicts": lambda number: {"n": number, "done": False},
}


@pytest.mark.parametrize("kind", ITEMS)
def test_append_of_a_script_costs_what_it_appends(kind: str) -> None:
    def cost(count: int) -> int:
        _, session = settled_session(other=1)
        session.state["chat"] = [ITEMS[kind](number) for number in range(count)]
        for _ in range(3):
            session.run()
        assert not session.binding.keys
        session.run(session.message("say"), body=lambda state: state["chat"].append(ITEMS[kind](count)))
        session.state["chat"].append(ITEMS[kind](count + 1))
        push = session.binding.push
        calls = count_calls(lambda: push(session.state, None, is_synced=True, has_trigger=True))
        assert session.replica.get("chat") == session.state["chat"]
        return calls

    assert cost(500) <= 2 * cost(5)


@pytest.mark.parametrize("kind", ITEMS)
def test_appends_of_two_scripts_are_both_kept(kind: str) -> None:
    room = Replica()
    ada, ben = BoundSession(room), BoundSession(room)
    ada.state["chat"] = [ITEMS[kind](0)]
    for _ in range(3):
        for session in (ada, ben):
            session.run()
    for count in range(1, 20, 2):
        ada.state["chat"].append(ITEMS[kind](count))
        ben.state["chat"].append(ITEMS[kind](count + 1))
        for session in (ada, ben, ada, ben):
            session.run()
        assert ada.state["chat"] == ben.state["chat"] == room.get("chat")
        assert len(ada.state["chat"]) == count + 2
    ada.state["chat"] += [ITEMS[kind](30), ITEMS[kind](31)]
    ada.run()
    ben.run()
    assert ben.state["chat"][-2:] == [ITEMS[kind](30), ITEMS[kind](31)]
    ada.state["chat"].append(object())
    ada.run()
    assert ada.errors and "chat" in str(ada.errors[0])
    del ada.state["chat"][-1]
    del ada.state["chat"][0]
    ada.run()
    ben.run()
    assert ada.state["chat"] == ben.state["chat"] and ITEMS[kind](0) not in ben.state["chat"]
