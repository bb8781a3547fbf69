"""`room.snapshots`: saving, restoring, merging with concurrent edits, and undo."""

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
def local_room() -> Room:
    return crdt_sync(None, user="Ada")


def replica_of(room: Room) -> Replica:
    replica = room._membership.replica
    assert isinstance(replica, Replica)
    return replica


def peers(count: int = 2) -> list[Room]:
    """Return rooms of one name, each with its own replica. `sync` merges them."""
    return [Room("planning", DetachedMembership()) for _ in range(count)]


def sync(*rooms: Room) -> None:
    for one in rooms:
        for other in rooms:
            replica_of(one).apply(replica_of(other).diff())


def fill(room: Room) -> dict[str, Any]:
    """Store a value of every type in the room. Return all values by key."""
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


def test_restore_returns_every_type_of_value(local_room: Room) -> None:
    values = fill(local_room)
    local_room.snapshots.save("all")
    for number, key in enumerate(values):
        match number % 3:
            case 0:
                del local_room.state[key]
            case 1:
                local_room.state[key] = "another value"
    local_room.state["new"] = 1
    local_room.snapshots.restore("all")
    assert_holds(local_room, values)


@settings(max_examples=100, deadline=None)
@given(_VALUES)
def test_restore_returns_changed_and_deleted_values(value: Any) -> None:
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


def test_snapshots_are_listed_newest_first_and_found_by_name(local_room: Room) -> None:
    before = datetime.now(UTC)
    for name in ("first", "second", "third"):
        local_room.state["n"] = name
        saved = local_room.snapshots.save(name)
        assert saved == local_room.snapshots[name] and saved == name and str(saved) == name
    assert [one.name for one in local_room.snapshots] == ["third", "second", "first"]
    assert (
        "second" in local_room.snapshots and saved in local_room.snapshots and 2 not in local_room.snapshots
    )
    assert (len(local_room.snapshots), saved.who) == (3, "Ada")
    assert saved.when.utcoffset() == timedelta(0) and before <= saved.when <= datetime.now(UTC)
    assert {saved: 1}["third"] == 1
    local_room.snapshots.delete(saved)
    local_room.snapshots.delete("first")
    assert list(local_room.snapshots) == ["second"] and bool(local_room.snapshots)
    assert repr(local_room.snapshots) == "Snapshots('second')"


@pytest.mark.parametrize("name", ["", "  ", "\n", "two\nlines", "x" * 101, "\ud800", None, 7, b"x"])
def test_invalid_name_raises_SnapshotNameError(local_room: Room, name: Any) -> None:
    with pytest.raises(SnapshotNameError) as caught:
        local_room.snapshots.save(name)
    assert isinstance(caught.value, CrdtError) and isinstance(caught.value, ValueError)
    assert "1 to 100 characters" in str(caught.value)
    assert len(local_room.snapshots) == 0


@pytest.mark.parametrize("act", ["restore", "delete", "__getitem__"])
def test_missing_snapshot_raises_a_KeyError(local_room: Room, act: str) -> None:
    with pytest.raises(SnapshotMissingError, match="no snapshot 'v1'") as caught:
        getattr(local_room.snapshots, act)("v1")
    assert isinstance(caught.value, CrdtError) and isinstance(caught.value, KeyError)


def test_R1_saving_equal_values_sends_nothing_and_others_replace(local_room: Room) -> None:
    local_room.state["a"] = 1
    first, updates = local_room.snapshots.save("v"), list[bytes]()
    replica_of(local_room).subscribe(lambda update, origin: updates.append(update))
    assert local_room.snapshots.save("v") == first and updates == []
    local_room.state["a"] = 2
    second = local_room.snapshots.save("v")
    assert second.when > first.when and len(local_room.snapshots) == 1
    local_room.state["a"] = 3
    local_room.snapshots.restore("v")
    assert local_room.state["a"] == 2


def test_R1_restoring_equal_values_sends_nothing(local_room: Room) -> None:
    fill(local_room)
    local_room.snapshots.save("all")
    updates = list[bytes]()
    replica_of(local_room).subscribe(lambda update, origin: updates.append(update))
    local_room.snapshots.restore("all")
    assert updates == []
    local_room.state["v3"] = 77
    updates.clear()
    local_room.snapshots.restore("all")
    assert len(updates) == 1 and len(updates[0]) < 200


def test_concurrent_saves_of_one_name_leave_one_whole_snapshot() -> None:
    ada, bob = peers()
    ada.state.update(a="Ada", b="Ada")
    bob.state.update(a="Bob", c="Bob")
    ada.snapshots.save("v")
    bob.snapshots.save("v")
    ada.snapshots.save("only Ada's")
    sync(ada, bob)
    assert list(ada.snapshots) == list(bob.snapshots) and len(ada.snapshots) == 2
    ada.snapshots.restore("v")
    assert dict(ada.state) in ({"a": "Ada", "b": "Ada"}, {"a": "Bob", "c": "Bob"})


def test_restore_merges_with_concurrent_edits() -> None:
    ada, bob = peers()
    ada.text("notes").set("one two three")
    ada.counter("votes").increment(5)
    ada.state.update(size=1, untouched=1, gone=1)
    ada.snapshots.save("v")
    ada.text("notes").set("one 2 three")
    ada.counter("votes").increment(5)
    ada.state.update(size=2, new=2)
    del ada.state["gone"]
    sync(ada, bob)
    ada.snapshots.restore("v")
    bob.text("notes").append(" four")
    bob.counter("votes").increment(100)
    bob.state.update(untouched=9, another=9)
    sync(ada, bob)
    for one in (ada, bob):
        assert dict(one.state) == {
            "notes": "one two three four", "votes": 105, "size": 1, "gone": 1, "untouched": 9, "another": 9,
        }  # fmt: skip


def test_concurrent_restores_repeat_nothing() -> None:
    ada, bob = peers()
    ada.text("notes").set("hello")
    ada.list("log").extend([1, 2])
    ada.map("m")["x"] = 1
    ada.state["n"] = 1
    ada.snapshots.save("v")
    ada.state.clear()
    sync(ada, bob)
    for one in (ada, bob):
        one.snapshots.restore("v")
    sync(ada, bob)
    for one in (ada, bob):
        assert dict(one.state) == {"notes": "hello", "log": [1, 2], "m": {"x": 1}, "n": 1}
    ada.text("notes").append("!")
    bob.list("log").append(3)
    sync(ada, bob)
    assert (str(bob.text("notes")), list(ada.list("log"))) == ("hello!", [1, 2, 3])


def test_restore_is_one_undo_step(local_room: Room) -> None:
    replica = replica_of(local_room)
    values = fill(local_room)
    local_room.snapshots.save("all")
    replica.begin_group()
    for number, key in enumerate(sorted(values.keys() - {"text", "count"})):
        match number % 3:
            case 0:
                del local_room.state[key]
            case 1:
                local_room.state[key] = "another value"
    local_room.text("text").set("a👍é!")
    local_room.counter("count").increment(4)
    changed = dict(replica.items())
    local_room.snapshots.restore("all")
    assert_holds(local_room, values)
    local_room.undo()
    assert_holds(local_room, changed)
    local_room.redo()
    assert_holds(local_room, values)
    local_room.undo()
    local_room.undo()
    assert_holds(local_room, values)


def test_undo_does_not_revert_saving_and_deleting(local_room: Room) -> None:
    local_room.state["a"] = 1
    replica_of(local_room).begin_group()
    local_room.snapshots.save("v")
    local_room.snapshots.save("w")
    local_room.snapshots.delete("w")
    local_room.undo()
    assert list(local_room.snapshots) == ["v"] and "a" not in local_room.state
    assert not local_room.can_undo


def test_save_beyond_a_limit_raises_SnapshotLimitError(
    local_room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "MAX_SNAPSHOTS", 2)
    monkeypatch.setattr(snapshots, "MAX_TEXT_BYTES", 200)
    local_room.snapshots.save("a")
    local_room.snapshots.save("b")
    with pytest.raises(SnapshotLimitError, match="has 2 snapshots"):
        local_room.snapshots.save("c")
    local_room.state["x"] = "é" * 100
    with pytest.raises(SnapshotLimitError, match="'b' was not saved: its values exceed 200 bytes"):
        local_room.snapshots.save("b")
    monkeypatch.setattr(snapshots, "MAX_TEXT_BYTES", 1000)
    for limit, subject in (
        ("MAX_VALUE_BYTES", "its values"),
        ("MAX_ALL_BYTES", "all snapshots together would"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(snapshots, limit, 10)
            with pytest.raises(SnapshotLimitError, match=f"{subject} exceed 10 bytes") as caught:
                local_room.snapshots.save("b")
    assert isinstance(caught.value, CrdtError) and isinstance(caught.value, ValueError)
    assert sorted(one.name for one in local_room.snapshots) == ["a", "b"]


NOW = "2026-01-02T03:04:05+00:00"


@pytest.mark.parametrize(
    "state",
    ["", "[]", "nonsense", "[" * 5000, '{"a": NaN}', '{"a": {"$nonsense": 1}}', '{"a": {"$bytes": "é"}}']
    + ['{"a": ' + "[" * n + "]" * n + "}" for n in (66, 200, 900)],
)
def test_restore_of_an_invalid_snapshot_changes_nothing(local_room: Room, state: str) -> None:
    local_room.state["a"] = 1
    replica_of(local_room).set_snapshot("odd", StoredSnapshot.of(NOW, "x", state))
    with pytest.raises(CrdtError):
        local_room.snapshots.restore("odd")
    assert dict(local_room.state) == {"a": 1}
    local_room.snapshots.delete("odd")


@pytest.mark.parametrize(
    "packed",
    [b"", b"nonsense", zlib.compress(b"{}")[:-1], zlib.compress(b"\xff"), zlib.compress(bytes(2**26))],
)
def test_N2_damaged_snapshot_is_rejected_and_replaceable(local_room: Room, packed: bytes) -> None:
    replica_of(local_room).set_snapshot("odd", StoredSnapshot(NOW, "x", packed))
    with pytest.raises(ValueUnreadableError, match="'odd' is damaged"):
        local_room.snapshots.restore("odd")
    local_room.state["a"] = 1
    local_room.snapshots.save("odd")
    local_room.state["a"] = 2
    local_room.snapshots.restore("odd")
    assert local_room.state["a"] == 1


def test_invalid_entries_are_not_listed(local_room: Room) -> None:
    stored = replica_of(local_room)._document._doc.get("snapshots", type=_map_type())
    for name, entry in {
        "number": 1.0, "empty": {}, "naive": {"when": "2026-01-02T03:04:05", "who": "x", "state": b""},
        "never": {"when": "soon", "who": "x", "state": b""}, "numbers": {"when": 1.0, "who": 2.0, "state": 3.0},
        "early": {"when": "0001-01-01T00:00:00+23:00", "who": "x", "state": b""},
    }.items():  # fmt: skip
        stored[name] = entry
    assert list(local_room.snapshots) == []
    local_room.snapshots.save("never")
    assert list(local_room.snapshots) == ["never"]


def _map_type() -> Any:
    from pycrdt import Map

    return Map


def test_unreadable_value_is_kept_and_blocks_no_other_value(local_room: Room) -> None:
    replica = replica_of(local_room)
    with replica.transaction():
        replica._document.set("later", {"$later": 1})
    replica.apply(b"\0\0")
    local_room.state["a"] = 1
    local_room.snapshots.save("v")
    local_room.state["a"] = 2
    local_room.snapshots.restore("v")  # the unreadable value is unchanged, so it need not be decoded
    assert local_room.state["a"] == 1
    local_room.state["later"] = 2
    local_room.state["a"] = 2
    with pytest.raises(ValueUnreadableError, match="'later'"):
        local_room.snapshots.restore("v")
    assert (local_room.state["a"], local_room.state["later"]) == (2, 2)


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


def test_restore_in_a_callback_takes_effect_in_the_same_run(room: str) -> None:
    ada, bob = session(board, room, user="Ada"), session(board, room, user="Bob")
    ada.slider[0].set_value(3).run()
    press(ada, "assign")
    ada.text_area[0].set_value("hello")
    press(ada, "save")  # includes the text that arrives with the click
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


def test_edit_sent_with_the_click_precedes_the_restore(room: str) -> None:
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


def test_restore_in_the_body_follows_earlier_assignments(room: str) -> None:
    ada = session(board, room)
    press(ada, "save in the body")
    ada.slider[0].set_value(4).run()
    press(ada, "save")
    press(ada, "assign")
    ada.slider[0].set_value(6).run()
    press(ada, "restore in the body")
    ada.run()  # Streamlit's own runtime does this rerun
    assert shows(ada) == (4, "", [], "assigned")
    press(ada, "undo")
    assert shows(ada) == (6, "", [], "assigned")


def test_new_snapshot_reruns_only_scripts_that_read_snapshots(room: str) -> None:
    ada, bob = session(board, room), session(board, room)
    press(ada, "save")
    caught_up(bob)
    room_sessions = [live.room_sessions[room] for live in registry.sessions()]
    for room_session in room_sessions:
        room_session.connection.drain()
        assert not room_session.writer.has_news
    press(bob, "list")
    ada.slider[0].set_value(2).run()
    press(ada, "save")
    for room_session in room_sessions:
        assert room_session.flush(30)
        room_session.connection.drain()
    assert sorted(room_session.writer.has_news for room_session in room_sessions) == [False, True]
    press(bob, "list")
    bob.run()
    assert not any(room_session.writer.has_news for room_session in room_sessions)


def test_A1_viewer_changes_nothing_and_can_export(room: str) -> None:
    ada, eve = session(board, room), session(board, room, role="viewer")
    press(ada, "assign")
    press(ada, "save")
    caught_up(eve)
    texts = [text.value for text in press(eve, "try all").text]
    assert [text.startswith("'v' was not changed") for text in texts[:3]] == [True] * 3
    assert "the role viewer" in texts[3] and texts[4] == "True"
    assert press(caught_up(ada), "list").text[0].value.startswith("['v']")


def test_P8_snapshots_neither_contain_nor_restore_private_keys(room: str) -> None:
    ada = session(board, room)
    ada.text_input[0].set_value("secret").run()
    ada.slider[1].set_value(7).run()
    press(ada, "assign")
    press(ada, "save")
    room_session = registry.sessions()[0].room_sessions[room]
    snapshot = room_session.replica.snapshot("v")
    assert snapshot is not None and json.loads(snapshot.text()).keys() == {"plain"}
    state = '{"plain": 1, "mine_size": 1, "crdt-private:own": "x", "crdt-channel:x": 1}'
    room_session.replica.set_snapshot("v", StoredSnapshot.of(NOW, "x", state))
    press(ada, "restore")
    assert ada.session_state["plain"] == 1
    assert (ada.slider[1].value, ada.text_input[0].value) == (7, "secret")
    assert list(room_session.replica) == ["plain"]
    room_session.replica.set("mine_elsewhere", 1)  # a key that another session shares
    press(ada, "save")
    room_session.replica.set("mine_elsewhere", 2)
    press(ada, "restore")
    assert room_session.replica.get("mine_elsewhere") == 2


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


def test_R4_room_that_is_not_synced_raises_RoomNotLoadedError(
    room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamlit_crdt.transport.tab.HOLD_S", 0.0)
    monkeypatch.setenv("STREAMLIT_CRDT_SECRET", "one secret for the app and the room server")
    texts = [text.value for text in session(unloaded, room).text]
    assert len(texts) == 5 and all("is not synced yet" in text for text in texts)
    assert issubclass(RoomNotLoadedError, RuntimeError) and issubclass(ViewOnlyError, PermissionError)


def test_snapshot_is_not_a_value_and_causes_no_work_in_a_run(room: str) -> None:
    ada = session(board, room)
    press(ada, "assign")
    press(ada, "save")
    room_session = registry.sessions()[0].room_sessions[room]
    version, entries = room_session.replica.version, room_session.replica.snapshots()
    ada.run()
    assert room_session.replica.version == version
    assert room_session.replica.snapshots() is entries  # cached
    assert isinstance(Snapshot("v", datetime.now(UTC), "x"), Snapshot) and equal(
        list(room_session.replica), ["plain"]
    )
