"""Local edits: the values in session state that enter the room (R4, R5, P6, P8)."""

from __future__ import annotations

from typing import Any

import pytest

from streamlit_crdt.binding import StateBinding
from streamlit_crdt.binding.widgets import Widget
from streamlit_crdt.document.replica import Replica
from tests.support.binding_session import BoundSession, identity, make_viewer, number, room_context


def test_R4_widget_default_is_not_written() -> None:
    room = Replica()
    BoundSession(room, number("a")).run()
    assert room.keys() == []


def test_R4_local_edit_reaches_room_and_other_session() -> None:
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


def test_R4_assigned_value_enters_room_only_if_room_has_none() -> None:
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


def test_R4_plain_value_is_written_after_first_sync_only() -> None:
    binding = StateBinding(replica := Replica(), room_context())
    binding.push({"a": 1}, None, is_synced=False)
    assert replica.keys() == []
    binding.push({"a": 1}, None, is_synced=True)
    assert replica.get("a") == 1


def test_P6_trigger_is_not_shared() -> None:
    room = Replica()
    button = Widget("go", "$$ID-hash-go", "button", False, identity, identity)
    one = BoundSession(room, button)
    one.run()
    one.touch(go=True)
    assert room.keys() == []


def test_P8_private_key_is_neither_pushed_nor_written() -> None:
    room = Replica()
    room.set("secret", "theirs")
    one = BoundSession(room, private=("secret",))
    one.run(body=lambda state: state.update(secret="mine", open=1))
    assert room.get("secret") == "theirs"
    assert one.state["secret"] == "mine"
    assert room.get("open") == 1


def test_R5_unshareable_value_is_reported_and_others_are_pushed() -> None:
    room = Replica()
    one = BoundSession(room)
    one.run(body=lambda state: state.update(a=1, lock=object(), z=2))
    assert [error.key for error in one.errors if hasattr(error, "key")] == ["lock"]
    assert (room.get("a"), room.get("z")) == (1, 2)


def test_list_mutated_in_place_is_an_edit() -> None:
    room = Replica()
    one = BoundSession(room)
    one.run(body=lambda state: state.update(items=[1]))
    one.run(body=lambda state: state["items"].append(2))
    assert room.get("items") == [1, 2]


def test_R4_value_changed_before_first_sync_overrides_room() -> None:
    replica = Replica()
    binding = StateBinding(replica, room_context())
    binding.push({"edited": 0, "first": 0}, None, is_synced=False)
    binding.push({"edited": 1, "first": 0}, None, is_synced=False)
    replica.set("edited", 5)
    replica.set("first", 5)
    binding.push({"edited": 1, "first": 0}, None, is_synced=True)
    assert (replica.get("edited"), replica.get("first")) == (1, 5)


def binding_that_agreed_before_sync() -> tuple[Replica, StateBinding]:
    """Return replica and binding of a session whose value from before the first sync was the room's value too."""
    room, other = Replica(), Replica()
    other.set("n", 0)
    binding = StateBinding(room, room_context())
    binding.push({"n": 0}, None, is_synced=False)
    room.apply(other.diff())
    binding.push({"n": 0}, None, is_synced=True)
    binding.begin_run()
    assert binding.plan({"n": 0}) == []
    binding.end_run(is_complete=True)
    return room, binding


def test_R4_agreed_first_value_does_not_cover_a_later_value() -> None:
    room, binding = binding_that_agreed_before_sync()
    binding.start_over()
    binding.push({"n": 5}, None, is_synced=True, is_at_top=True)
    assert room.get("n") == 0


def test_R4_start_over_forgets_values_from_before_first_sync() -> None:
    room, other = Replica(), Replica()
    binding = StateBinding(room, room_context())
    binding.push({"n": 0}, None, is_synced=False)
    binding.start_over()
    other.set("n", 3)
    room.apply(other.diff())
    binding.push({"n": 5}, None, is_synced=True, is_at_top=True)
    assert room.get("n") == 3


@pytest.mark.parametrize("is_viewer", [False, True])
def test_keys_that_others_delete_leave_no_records(is_viewer: bool) -> None:
    room = Replica()
    session = BoundSession(room)
    if is_viewer:
        make_viewer(session.binding)
    for number_of_key in range(3):
        room.set(f"key{number_of_key}", number_of_key)
        session.run(remote=True)
        room.delete(f"key{number_of_key}")
        session.run(remote=True)
        room.set("short", 1)
        room.delete("short")
        session.run(remote=True)
    assert session.state == {}
    assert list(session.binding.keys) == []


def test_keys_that_a_script_deletes_leave_no_records() -> None:
    room = Replica()
    room.set("remote", "a")
    session = BoundSession(room)
    session.run()
    session.run(body=lambda state: state.update(local="b"))
    session.state.clear()
    session.run()
    session.run()
    assert room.keys() == []
    assert list(session.binding.keys) == [] and session.binding.keys.drafts.texts == {}
