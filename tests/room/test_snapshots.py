"""`room.snapshots`: what is kept comes back as it was, merges with what others do, and can be undone."""

from __future__ import annotations

import json
import uuid
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from streamlit.testing.v1 import AppTest

from streamlit_crdt import (
    CrdtError,
    Room,
    RoomNotLoadedError,
    Snapshot,
    SnapshotLimitError,
    SnapshotMissingError,
    SnapshotNameError,
    ValueUnreadableError,
    ViewOnlyError,
    crdt_sync,
)
from streamlit_crdt.codec.values import equal
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.document.stored_snapshots import StoredSnapshot
from streamlit_crdt.merge import RULES
from streamlit_crdt.room import snapshots
from streamlit_crdt.room.session_membership import DetachedMembership
from streamlit_crdt.session.streamlit_hooks import registry
from tests.codec.test_values import _VALUES, SAMPLES, assert_same
from tests.support.app_sessions import caught_up, session


@pytest.fixture
def room() -> str:
    return f"room-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def alone() -> Room:
    return crdt_sync(None, user="Ada")


def replica_of(room: Room) -> Replica:
    replica = room._membership.replica
    assert isinstance(replica, Replica)
    return replica


def peers(count: int = 2) -> list[Room]:
    """Rooms of one name, each with a replica of its own, which `meet` brings together."""
    return [Room("planning", DetachedMembership()) for _ in range(count)]


def meet(*rooms: Room) -> None:
    for one in rooms:
        for other in rooms:
            replica_of(one).apply(replica_of(other).diff())


def fill(room: Room) -> dict[str, Any]:
    """Give the room a value of every kind, and return them all."""
    replica = replica_of(room)
    for number, value in enumerate(SAMPLES):
        room.state[f"v{number}"] = value
    for number, value in enumerate(SAMPLES):
        replica.edit(f"l{number}", None, [value], RULES["list"])
    replica.edit("text", None, "a👍é", RULES["text"])
    replica.edit("map", None, {"b": {"x": (1, 2.0)}, ("t", 1): None, "$a": b"\0"}, RULES["map"])
    replica.edit("set", None, {1, "1", (True,)}, RULES["set"])
    replica.edit("chosen", None, ["Mon", "Tue"], RULES["set"])
    replica.edit("count", None, 3, RULES["counter"])
    replica.edit("weight", None, 3.0, RULES["counter"])
    return dict(replica.items())


def assert_holds(room: Room, values: dict[str, Any]) -> None:
    assert set(room.state) == values.keys()
    for key, value in values.items():
        assert_same(room.state[key], value)


def test_every_kind_of_value_comes_back_with_its_type(alone: Room) -> None:
    values = fill(alone)
    alone.snapshots.save("all")
    for number, key in enumerate(values):
        match number % 3:
            case 0:
                del alone.state[key]
            case 1:
                alone.state[key] = "something else"
    alone.state["new"] = 1
    alone.snapshots.restore("all")
    assert_holds(alone, values)


@settings(max_examples=100, deadline=None)
@given(_VALUES)
def test_any_value_comes_back_from_where_it_is_changed_and_from_where_it_is_gone(value: Any) -> None:
    (one,) = peers(1)
    one.state["k"] = value
    replica_of(one).edit("l", None, [value], RULES["list"])
    one.snapshots.save("v")
    one.state["k"] = "another"
    one.list("l").append(7)
    one.snapshots.restore("v")
    assert_same(one.state["k"], value)
    assert_same(one.state["l"], [value])
    one.state.clear()
    one.snapshots.restore("v")
    assert_same(one.state["k"], value)
    assert_same(one.state["l"], [value])


def test_they_are_listed_with_the_newest_first_and_found_by_name(alone: Room) -> None:
    before = datetime.now(UTC)
    for name in ("first", "second", "third"):
        alone.state["n"] = name
        saved = alone.snapshots.save(name)
        assert saved == alone.snapshots[name] and saved == name and str(saved) == name
    assert [one.name for one in alone.snapshots] == ["third", "second", "first"]
    assert "second" in alone.snapshots and saved in alone.snapshots and 2 not in alone.snapshots
    assert (len(alone.snapshots), saved.who) == (3, "Ada")
    assert saved.when.utcoffset() == timedelta(0) and before <= saved.when <= datetime.now(UTC)
    assert {saved: 1}["third"] == 1
    alone.snapshots.delete(saved)
    alone.snapshots.delete("first")
    assert list(alone.snapshots) == ["second"] and bool(alone.snapshots)
    assert repr(alone.snapshots) == "Snapshots('second')"


@pytest.mark.parametrize("name", ["", "  ", "\n", "two\nlines", "x" * 101, "\ud800", None, 7, b"x"])
def test_a_name_that_is_none_is_refused(alone: Room, name: Any) -> None:
    with pytest.raises(SnapshotNameError) as caught:
        alone.snapshots.save(name)
    assert isinstance(caught.value, CrdtError) and isinstance(caught.value, ValueError)
    assert "1 to 100 characters" in str(caught.value)
    assert len(alone.snapshots) == 0


@pytest.mark.parametrize("act", ["restore", "delete", "__getitem__"])
def test_what_is_not_there_raises_a_key_error(alone: Room, act: str) -> None:
    with pytest.raises(SnapshotMissingError, match="no snapshot 'v1'") as caught:
        getattr(alone.snapshots, act)("v1")
    assert isinstance(caught.value, CrdtError) and isinstance(caught.value, KeyError)


def test_saving_again_replaces_and_R1_saving_the_same_sends_nothing(alone: Room) -> None:
    alone.state["a"] = 1
    first, updates = alone.snapshots.save("v"), list[bytes]()
    replica_of(alone).subscribe(lambda update, origin: updates.append(update))
    assert alone.snapshots.save("v") == first and updates == []
    alone.state["a"] = 2
    second = alone.snapshots.save("v")
    assert second.when > first.when and len(alone.snapshots) == 1
    alone.state["a"] = 3
    alone.snapshots.restore("v")
    assert alone.state["a"] == 2


def test_R1_restoring_what_is_there_sends_nothing(alone: Room) -> None:
    fill(alone)
    alone.snapshots.save("all")
    updates = list[bytes]()
    replica_of(alone).subscribe(lambda update, origin: updates.append(update))
    alone.snapshots.restore("all")
    assert updates == []
    alone.state["v3"] = 77
    updates.clear()
    alone.snapshots.restore("all")
    assert len(updates) == 1 and len(updates[0]) < 200


def test_two_who_save_under_one_name_at_the_same_moment_leave_one_whole_snapshot() -> None:
    ada, bob = peers()
    ada.state.update(a="Ada", b="Ada")
    bob.state.update(a="Bob", c="Bob")
    ada.snapshots.save("v")
    bob.snapshots.save("v")
    ada.snapshots.save("only Ada's")
    meet(ada, bob)
    assert list(ada.snapshots) == list(bob.snapshots) and len(ada.snapshots) == 2
    ada.snapshots.restore("v")
    assert dict(ada.state) in ({"a": "Ada", "b": "Ada"}, {"a": "Bob", "c": "Bob"})


def test_a_restore_merges_with_what_others_do_at_the_same_moment() -> None:
    ada, bob = peers()
    ada.text("notes").set("one two three")
    ada.counter("votes").increment(5)
    ada.state.update(size=1, untouched=1, gone=1)
    ada.snapshots.save("v")
    ada.text("notes").set("one 2 three")
    ada.counter("votes").increment(5)
    ada.state.update(size=2, new=2)
    del ada.state["gone"]
    meet(ada, bob)
    ada.snapshots.restore("v")
    bob.text("notes").append(" four")
    bob.counter("votes").increment(100)
    bob.state.update(untouched=9, another=9)
    meet(ada, bob)
    for one in (ada, bob):
        assert dict(one.state) == {
            "notes": "one two three four", "votes": 105, "size": 1, "gone": 1, "untouched": 9, "another": 9,
        }  # fmt: skip


def test_two_who_restore_at_the_same_moment_have_nothing_twice() -> None:
    ada, bob = peers()
    ada.text("notes").set("hello")
    ada.list("log").extend([1, 2])
    ada.map("m")["x"] = 1
    ada.state["n"] = 1
    ada.snapshots.save("v")
    ada.state.clear()
    meet(ada, bob)
    for one in (ada, bob):
        one.snapshots.restore("v")
    meet(ada, bob)
    for one in (ada, bob):
        assert dict(one.state) == {"notes": "hello", "log": [1, 2], "m": {"x": 1}, "n": 1}
    ada.text("notes").append("!")
    bob.list("log").append(3)
    meet(ada, bob)
    assert (str(bob.text("notes")), list(ada.list("log"))) == ("hello!", [1, 2, 3])


def test_a_restore_is_undone_as_a_whole_and_by_itself(alone: Room) -> None:
    replica = replica_of(alone)
    values = fill(alone)
    alone.snapshots.save("all")
    replica.begin_group()
    for number, key in enumerate(sorted(values.keys() - {"text", "count"})):
        match number % 3:
            case 0:
                del alone.state[key]
            case 1:
                alone.state[key] = "something else"
    alone.text("text").set("a👍é!")
    alone.counter("count").increment(4)
    changed = dict(replica.items())
    alone.snapshots.restore("all")
    assert_holds(alone, values)
    alone.undo()
    assert_holds(alone, changed)
    alone.redo()
    assert_holds(alone, values)
    alone.undo()
    alone.undo()
    assert_holds(alone, values)


def test_saving_and_deleting_are_nothing_that_undo_takes_back(alone: Room) -> None:
    alone.state["a"] = 1
    replica_of(alone).begin_group()
    alone.snapshots.save("v")
    alone.snapshots.save("w")
    alone.snapshots.delete("w")
    alone.undo()
    assert list(alone.snapshots) == ["v"] and "a" not in alone.state
    assert not alone.can_undo


def test_it_holds_no_more_than_a_room_can_bear(alone: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "MAX_SNAPSHOTS", 2)
    monkeypatch.setattr(snapshots, "MAX_TEXT_BYTES", 200)
    alone.snapshots.save("a")
    alone.snapshots.save("b")
    with pytest.raises(SnapshotLimitError, match="has 2 snapshots"):
        alone.snapshots.save("c")
    alone.state["x"] = "é" * 100
    with pytest.raises(SnapshotLimitError, match="'b' was not saved: its values exceed 200 bytes"):
        alone.snapshots.save("b")
    monkeypatch.setattr(snapshots, "MAX_TEXT_BYTES", 1000)
    for limit, subject in (
        ("MAX_VALUE_BYTES", "its values"),
        ("MAX_ALL_BYTES", "all snapshots together would"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(snapshots, limit, 10)
            with pytest.raises(SnapshotLimitError, match=f"{subject} exceed 10 bytes") as caught:
                alone.snapshots.save("b")
    assert isinstance(caught.value, CrdtError) and isinstance(caught.value, ValueError)
    assert sorted(one.name for one in alone.snapshots) == ["a", "b"]


NOW = "2026-01-02T03:04:05+00:00"


@pytest.mark.parametrize(
    "state",
    ["", "[]", "nonsense", "[" * 5000, '{"a": NaN}', '{"a": {"$nonsense": 1}}', '{"a": {"$bytes": "é"}}']
    + ['{"a": ' + "[" * n + "]" * n + "}" for n in (66, 200, 900)],
)
def test_what_another_program_has_put_there_is_refused_and_changes_nothing(alone: Room, state: str) -> None:
    alone.state["a"] = 1
    replica_of(alone).set_snapshot("odd", StoredSnapshot.of(NOW, "x", state))
    with pytest.raises(CrdtError):
        alone.snapshots.restore("odd")
    assert dict(alone.state) == {"a": 1}
    alone.snapshots.delete("odd")


@pytest.mark.parametrize(
    "packed",
    [b"", b"nonsense", zlib.compress(b"{}")[:-1], zlib.compress(b"\xff"), zlib.compress(bytes(2**26))],
)
def test_N2_what_cannot_be_unpacked_is_refused_and_can_be_replaced(alone: Room, packed: bytes) -> None:
    replica_of(alone).set_snapshot("odd", StoredSnapshot(NOW, "x", packed))
    with pytest.raises(ValueUnreadableError, match="'odd' is damaged"):
        alone.snapshots.restore("odd")
    alone.state["a"] = 1
    alone.snapshots.save("odd")
    alone.state["a"] = 2
    alone.snapshots.restore("odd")
    assert alone.state["a"] == 1


def test_entries_that_are_none_are_left_out(alone: Room) -> None:
    stored = replica_of(alone)._values.document._doc.get("snapshots", type=_map_type())
    for name, entry in {
        "number": 1.0, "empty": {}, "naive": {"when": "2026-01-02T03:04:05", "who": "x", "state": b""},
        "never": {"when": "soon", "who": "x", "state": b""}, "numbers": {"when": 1.0, "who": 2.0, "state": 3.0},
        "early": {"when": "0001-01-01T00:00:00+23:00", "who": "x", "state": b""},
    }.items():  # fmt: skip
        stored[name] = entry
    assert list(alone.snapshots) == []
    alone.snapshots.save("never")
    assert list(alone.snapshots) == ["never"]


def _map_type() -> Any:
    from pycrdt import Map

    return Map


def test_a_value_that_cannot_be_read_here_is_kept_and_stands_in_nobodys_way(alone: Room) -> None:
    replica = replica_of(alone)
    with replica.transaction():
        replica._values.document.set("later", {"$later": 1})
    replica.apply(b"\0\0")
    alone.state["a"] = 1
    alone.snapshots.save("v")
    alone.state["a"] = 2
    alone.snapshots.restore("v")  # the odd one is there as it was
    assert alone.state["a"] == 1
    alone.state["later"] = 2
    alone.state["a"] = 2
    with pytest.raises(ValueUnreadableError, match="'later'"):
        alone.snapshots.restore("v")
    assert (alone.state["a"], alone.state["later"]) == (2, 2)


# -- in scripts --------------------------------------------------------------------------------------------------------


def board(room: str, role: str = "editor", user: str | None = None) -> None:
    import streamlit as st

    from streamlit_crdt import ViewOnlyError, crdt_sync, private_key

    with crdt_sync(room, role=role, user=user, private=["mine_*"]) as joined:  # type: ignore[arg-type]
        st.button("save", on_click=joined.snapshots.save, args=("v",))
        st.button("restore", on_click=joined.snapshots.restore, args=("v",))
        st.button("undo", on_click=joined.undo)
        if st.button("save in the body"):
            st.session_state["plain"] = "assigned"
            joined.snapshots.save("body")
        if st.button("restore in the body"):
            st.session_state["plain"] = "assigned"
            joined.snapshots.restore("v")
        st.slider("size", 0, 10, key="size")
        st.text_area("notes", key="notes")
        st.multiselect("days", ["Mon", "Tue"], key="days")
        st.slider("mine", 0, 10, key="mine_size")
        st.text_input("own", key=private_key("own"))
        if st.button("assign"):
            st.session_state["plain"] = (1, 2.0)
            st.session_state["mine_secret"] = "secret"
    if st.button("list"):
        st.text(f"{[one.name for one in joined.snapshots]} {[one.who for one in joined.snapshots]}")
    if st.button("try all"):
        snapshots = joined.snapshots
        for act in (snapshots.save, snapshots.restore, snapshots.delete, joined.load):
            try:
                act("v")
            except ViewOnlyError as error:
                st.text(str(error))
        st.text(str("plain" in joined.export()))


def press(session: AppTest, label: str) -> AppTest:
    next(button for button in session.button if button.label == label).click()
    return session.run()


def shows(session: AppTest) -> tuple[Any, ...]:
    state = session.session_state
    plain = state["plain"] if "plain" in state else None  # noqa: SIM401 (AppTest's has no `get`)
    return session.slider[0].value, session.text_area[0].value, session.multiselect[0].value, plain


def test_as_a_callback_it_takes_effect_in_the_same_run_and_others_follow(room: str) -> None:
    ada, bob = session(board, room, user="Ada"), session(board, room, user="Bob")
    ada.slider[0].set_value(3).run()
    press(ada, "assign")
    ada.text_area[0].set_value("hello")
    press(ada, "save")  # what comes with the click is in it
    caught_up(bob)
    bob.slider[0].set_value(8)
    bob.multiselect[0].set_value(["Tue"])
    bob.text_area[0].set_value("hello, Bob").run()
    press(bob, "restore")
    assert shows(bob) == (3, "hello", [], (1, 2.0))
    assert shows(caught_up(ada)) == (3, "hello", [], (1, 2.0))
    assert press(ada, "list").text[0].value == "['v'] ['Ada']"
    press(bob, "undo")
    assert shows(bob) == (8, "hello, Bob", ["Tue"], (1, 2.0))
    assert shows(caught_up(ada)) == (8, "hello, Bob", ["Tue"], (1, 2.0))


def test_an_edit_that_comes_with_the_click_is_in_the_past_of_the_restore(room: str) -> None:
    ada = session(board, room)
    ada.slider[0].set_value(3).run()
    press(ada, "save")
    ada.slider[0].set_value(5)
    press(ada, "restore")
    assert shows(ada) == (3, "", [], None)
    press(ada, "undo")
    assert shows(ada) == (5, "", [], None)
    press(ada, "undo")
    assert shows(ada) == (3, "", [], None)


def test_in_the_body_it_comes_after_what_the_script_has_assigned(room: str) -> None:
    ada = session(board, room)
    press(ada, "save in the body")
    ada.slider[0].set_value(4).run()
    press(ada, "save")
    press(ada, "assign")
    ada.slider[0].set_value(6).run()
    press(ada, "restore in the body")
    ada.run()  # which Streamlit's own runtime does by itself
    assert shows(ada) == (4, "", [], "assigned")
    press(ada, "undo")
    assert shows(ada) == (6, "", [], "assigned")


def test_a_script_is_run_for_a_new_snapshot_only_if_it_asks_for_them(room: str) -> None:
    ada, bob = session(board, room), session(board, room)
    press(ada, "save")
    caught_up(bob)
    bindings = [live.room_sessions[room] for live in registry.sessions()]
    for binding in bindings:
        binding.connection.drain()
        assert not binding.writer.has_news
    press(bob, "list")
    ada.slider[0].set_value(2).run()
    press(ada, "save")
    for binding in bindings:
        assert binding.flush(5)
        binding.connection.drain()
    assert sorted(binding.writer.has_news for binding in bindings) == [False, True]
    press(bob, "list")
    bob.run()
    assert not any(binding.writer.has_news for binding in bindings)


def test_A1_a_viewer_changes_nothing_and_may_export(room: str) -> None:
    ada, eve = session(board, room), session(board, room, role="viewer")
    press(ada, "assign")
    press(ada, "save")
    caught_up(eve)
    said = [text.value for text in press(eve, "try all").text]
    assert [text.startswith("'v' was not changed") for text in said[:3]] == [True] * 3
    assert "the role viewer" in said[3] and said[4] == "True"
    assert press(caught_up(ada), "list").text[0].value.startswith("['v']")


def test_P8_private_keys_are_in_no_snapshot_and_come_from_none(room: str) -> None:
    ada = session(board, room)
    ada.text_input[0].set_value("secret").run()
    ada.slider[1].set_value(7).run()
    press(ada, "assign")
    press(ada, "save")
    binding = registry.sessions()[0].room_sessions[room]
    kept = binding.replica.snapshot("v")
    assert kept is not None and json.loads(kept.text()).keys() == {"plain"}
    state = '{"plain": 1, "mine_size": 1, "crdt-private:own": "x", "crdt-channel:x": 1}'
    binding.replica.set_snapshot("v", StoredSnapshot.of(NOW, "x", state))
    press(ada, "restore")
    assert ada.session_state["plain"] == 1
    assert (ada.slider[1].value, ada.text_input[0].value) == (7, "secret")
    assert list(binding.replica) == ["plain"]
    binding.replica.set("mine_elsewhere", 1)  # another session shares it
    press(ada, "save")
    binding.replica.set("mine_elsewhere", 2)
    press(ada, "restore")
    assert binding.replica.get("mine_elsewhere") == 2


def unloaded(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import RoomNotLoadedError, crdt_sync

    joined = crdt_sync(room, server="ws://127.0.0.1:9")
    snapshots = joined.snapshots
    for act in (snapshots.save, snapshots.restore, snapshots.delete, joined.load, lambda _: joined.export()):
        try:
            act("v")
        except RoomNotLoadedError as error:
            st.text(str(error))


def test_R4_nothing_is_kept_of_a_room_whose_content_is_not_here(
    room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamlit_crdt.transport.tab.HOLD_S", 0.0)
    monkeypatch.setenv("STREAMLIT_CRDT_SECRET", "one secret for the app and the room server")
    said = [text.value for text in session(unloaded, room).text]
    assert len(said) == 5 and all("is not synced yet" in text for text in said)
    assert issubclass(RoomNotLoadedError, RuntimeError) and issubclass(ViewOnlyError, PermissionError)


def test_a_snapshot_is_no_value_and_costs_a_run_nothing(room: str) -> None:
    ada = session(board, room)
    press(ada, "assign")
    press(ada, "save")
    binding = registry.sessions()[0].room_sessions[room]
    version, entries = binding.replica.version, binding.replica.snapshots()
    ada.run()
    assert binding.replica.version == version
    assert binding.replica.snapshots() is entries  # not looked through again
    assert isinstance(Snapshot("v", datetime.now(UTC), "x"), Snapshot) and equal(
        list(binding.replica), ["plain"]
    )
