"""`room.export` and `room.load`, with valid and with invalid files."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycrdt import Array, Doc, Map, Text

from streamlit_crdt import CrdtError, Room, RoomFileError, SnapshotLimitError
from streamlit_crdt.document.stored_snapshots import StoredSnapshot
from streamlit_crdt.merge import RULES
from streamlit_crdt.room import room_file, snapshots
from tests.codec.test_values import _VALUES, assert_same
from tests.room.test_snapshots import assert_holds, fill, peers, press, replica_of, shows, sync
from tests.room.test_snapshots import board as board
from tests.server.support.hostile_updates import MISPLACED
from tests.support.app_sessions import caught_up, session

POISON = bytes.fromhex("0104080007010166030170000001780177013107000807060400080202686900")
FORMATS = ["json", "yjs"]


@pytest.fixture
def room() -> str:
    return f"room-{uuid.uuid4().hex[:12]}"


@pytest.mark.parametrize("format", FORMATS)
def test_load_returns_exactly_the_exported_values(format: Any) -> None:
    here, there = peers()
    values = fill(here)
    here.snapshots.save("before")
    here.state["v0"] = "after"
    there.state["gone"] = 1
    there.load(here.export(format))
    assert_holds(there, {**values, "v0": "after"})
    assert list(there.snapshots) == list(here.snapshots) == ["before"]
    there.snapshots.restore("before")
    assert_holds(there, values)


@settings(max_examples=100, deadline=None)
@given(_VALUES)
def test_any_value_survives_both_formats(value: Any) -> None:
    here, *others = peers(3)
    here.state["k"] = value
    replica_of(here).edit("l", None, [value], RULES["list"])
    others[0].load(here.export("json"))
    others[1].load(here.export("yjs"))
    for there in others:
        assert_same(there.state["k"], value)
        assert_same(there.state["l"], [value])


def test_json_is_readable_and_deterministic() -> None:
    (here,) = peers(1)
    replica = replica_of(here)
    here.state.update(b=(1, 2.0), a={"z": b"\0", "c": float("nan")})
    replica.edit("notes", None, "hello 👍", RULES["text"])
    replica.edit("days", None, ["Tue", "Mon"], RULES["set"])
    here.snapshots.save("v1")
    written = json.loads(here.export())
    assert list(written) == ["streamlit-crdt", "room", "exported", "state", "snapshots"]
    assert (written["streamlit-crdt"], written["room"]) == (1, "planning")
    assert list(written["state"].items()) == [
        ("a", {"$dict": [["z", {"$bytes": "AA=="}], ["c", {"$float": "nan"}]]}),
        ("b", {"$tuple": [1, {"$float": "2.0"}]}),
        ("days", {"$rule": "set", "value": ["Mon", "Tue"]}),
        ("notes", {"$rule": "text", "value": "hello 👍"}),
    ]
    assert written["snapshots"]["v1"]["state"] == written["state"]
    assert "👍" in here.export() and here.export().startswith('{\n  "streamlit-crdt": 1,')
    lines = [line for line in here.export().splitlines() if '"exported"' not in line]
    assert lines == [line for line in here.export().splitlines() if '"exported"' not in line]


def test_yjs_file_is_a_plain_yjs_document() -> None:
    (here,) = peers(1)
    replica_of(here).edit("notes", None, "hello", RULES["text"])
    for number in range(20):
        here.state["n"] = "x" * 1000 * number
    document: Doc[Any] = Doc()
    exported = here.export("yjs")
    document.apply_update(exported)
    assert str(document.get("notes", type=Text)) == ""
    assert str(document.get("text:notes", type=Text)) == "hello"
    assert len(document.get("state", type=Map)["n"]) == 19_000
    assert len(exported) < 30_000  # without the content that only undo retains


def test_load_merges_and_is_one_undo_step() -> None:
    ada, bob = peers()
    ada.text("notes").set("one two three")
    ada.state.update(size=1, other=1)
    exported = ada.export()
    ada.text("notes").set("one 2 three")
    ada.state.update(size=2, new=2)
    sync(ada, bob)
    replica_of(ada).begin_group()
    ada.load(exported)
    bob.text("notes").append("!")
    bob.state["other"] = 9
    sync(ada, bob)
    for one in (ada, bob):
        assert dict(one.state) == {"notes": "one two three!", "size": 1, "other": 9}
    ada.undo()
    sync(ada, bob)
    for one in (ada, bob):
        assert dict(one.state) == {"notes": "one 2 three!", "size": 2, "new": 2, "other": 9}


def test_old_document_of_the_same_room_is_loaded_as_values() -> None:
    (here,) = peers(1)
    here.text("notes").set("before")
    here.state["gone"] = 1
    old = here.export("yjs")
    here.text("notes").set("after")
    del here.state["gone"]
    here.load(old)
    assert dict(here.state) == {"notes": "before", "gone": 1}


@pytest.mark.parametrize(
    "shape",
    [
        str,
        str.encode,
        lambda text: bytearray(text.encode()),
        lambda text: memoryview(text.encode()),
        lambda text: io.BytesIO(text.encode()),
        io.StringIO,
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: json.dumps(json.loads(text)),
    ],
)
def test_load_accepts_text_bytes_and_open_files(shape: Callable[[str], Any]) -> None:
    here, there = peers()
    here.state["a"] = "é"
    there.load(shape(here.export()))
    assert dict(there.state) == {"a": "é"}


def test_document_that_begins_like_json_is_loaded() -> None:
    update, document = bytes([123]), Doc[Any]()
    for replica in range(123):
        one: Doc[Any] = Doc(client_id=1000 + replica)
        for number in range(34):
            one.get("state", type=Map)[f"{replica}-{number}"] = number
        document.apply_update(one.get_update())
    update = document.get_update()
    assert update[:2] == b'{"'
    (there,) = peers(1)
    there.load(update)
    assert len(there.state) == 123 * 34


def test_load_keeps_existing_snapshots() -> None:
    here, there = peers()
    for one, value in ((here, 1), (there, 2)):
        one.state["a"] = value
        one.snapshots.save("both")
    here.snapshots.save("only here")
    there.load(here.export())
    assert sorted(one.name for one in there.snapshots) == ["both", "only here"]
    there.snapshots.restore("both")
    assert there.state["a"] == 2


def foreign() -> bytes:
    document: Doc[Any] = Doc()
    document.get("prosemirror", type=Text).insert(0, "hello")
    return bytes(document.get_update())


def part() -> bytes:
    document: Doc[Any] = Doc()
    state = document.get("state", type=Map)
    state["a"] = 1
    vector = document.get_state()
    state["b"] = 2
    return bytes(document.get_update(vector))


def unreadable() -> bytes:
    document: Doc[Any] = Doc()
    document.get("state", type=Map)["a"] = {"$rule": ["map", "dict"]}
    document.get("map:a", type=Map)["x"] = {"$nonsense": 1}
    return bytes(document.get_update())


def nested(depth: int) -> bytes:
    document: Doc[Any] = Doc()
    value: Any = 1
    for _ in range(depth):
        value = [value]
    document.get("state", type=Map)["a"] = value
    return bytes(document.get_update())


def state(text: str) -> str:
    return f'{{"streamlit-crdt": 1, "state": {{"a": 1, "b": {text}}}}}'


def of_snapshots(text: str) -> str:
    return f'{{"streamlit-crdt": 1, "state": {{"a": 2}}, "snapshots": {text}}}'


ENTRY = '{"when": "2026-01-02T03:04:05+00:00", "who": "x", "state": {}}'

INFINITE = '{"a": 1e999}'

HOSTILE: dict[str, Any] = {
    "nothing": "", "no bytes": b"", "a word": "hello", "a list": "[]", "a list of bytes": b"[]", "no state": "{}",
    "another file": '{"name": "package", "version": 1}', "later": '{"streamlit-crdt": 2, "state": {}}',
    "odd version": '{"streamlit-crdt": true, "state": {}}', "no map": '{"streamlit-crdt": 1, "state": []}',
    "half": '{"streamlit-crdt": 1, "state": {"a"', "deep": '{"a":' + "[" * 100_000,
    "binary": b'{"\xff\xfe', "surrogates": '{"\ud800": 1}',
    "nan": state("NaN"), "deep value": state("[" * 66 + "]" * 66), "deeper": state("[" * 900 + "]" * 900),
    "unknown tag": state('{"$nonsense": 1}'), "code": state('{"$enum": ["os", "system", ["x"]]}'),
    "bad bytes": state('{"$bytes": "?"}'), "bytes of a number": state('{"$bytes": 1}'),
    "array": state('{"$ndarray": ["<f8", [1000000000], {"$bytes": ""}]}'), "frame": state('{"$dataframe": [1]}'),
    "digits": state("1" * 5000), "rule": state('{"$rule": "text", "value": {"$nonsense": 1}}'),
    "half a rule": state('{"$rule": "text"}'), "long key": f'{{"streamlit-crdt": 1, "state": {{"{"k" * 5000}": 1}}}}',
    "key of halves": '{"streamlit-crdt": 1, "state": {"\\ud800": 1}}',
    "large value": state('"' + "x" * (8 * 1024 * 1024) + '"'),
    "beyond a float": state("1e999999"), "beyond a float below": state('[{"x": -1e999999}]'),
    "name twice": state('{"x": 1, "x": 2}'), "key twice": '{"streamlit-crdt": 1, "state": {"a": 1, "a": 2}}',
    "state twice": '{"streamlit-crdt": 1, "state": {}, "state": {"a": 2}}',
    "version 0": '{"streamlit-crdt": 0, "state": {}}',
    "long version": '{"streamlit-crdt": ' + "9" * 4000 + ', "state": {}}',
    "numeric rule": state('{"$rule": 5, "value": 1}'),
    "many lists": state("[" + "[]," * 5_000_000 + "1]"), "many objects": state("[" + "{}," * 5_000_000 + "1]"),
    "quotes without an end": state("[" * 5_000_000 + '"' + chr(92) * 2_000_001 + '"' + (chr(92) + '"') * 10**6),
    "half an author": of_snapshots(f'{{"v": {ENTRY.replace("x", chr(92) + "ud800")}}}'),
    "infinite snapshot": of_snapshots(f'{{"v": {ENTRY.replace("{}", INFINITE)}}}'),
    "tag of a long key": f'{{"streamlit-crdt": 1, "state": {{"{"k" * 4000}": {{"$x": 1}}}}}}',
    "snapshots": of_snapshots("[]"), "snapshot": of_snapshots('{"v": 1}'),
    "nameless": of_snapshots(f'{{"": {ENTRY}}}'), "timeless": of_snapshots(f'{{"v": {ENTRY.replace("2026", "x")}}}'),
    "zoneless": of_snapshots(f'{{"v": {ENTRY.replace("+00:00", "")}}}'),
    "numeric author": of_snapshots(f'{{"v": {ENTRY.replace("x", "1").replace(chr(34) + "1" + chr(34), "1")}}}'),
    "stateless": of_snapshots(f'{{"v": {ENTRY.replace("{}", "[]")}}}'),
    "poison": POISON, "misplaced": MISPLACED, "varint bomb": b"\xff" * 200_000, "cut": b"\x01", "junk": b"junk",
    "too long": b"\x00\x00\x00", "foreign": foreign(), "part": part(), "unreadable": unreadable(),
    "nested": nested(2000), "nested less": nested(150),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_N2_invalid_file_is_rejected_and_changes_nothing(name: str) -> None:
    (here,) = peers(1)
    here.state["a"] = 7
    here.snapshots.save("mine")
    updates = list[bytes]()
    replica_of(here).subscribe(lambda update, origin: updates.append(update))
    with pytest.raises(RoomFileError) as caught:
        here.load(HOSTILE[name])
    assert isinstance(caught.value, CrdtError) and isinstance(caught.value, ValueError)
    assert "nothing was changed" in str(caught.value) and len(str(caught.value)) < 400
    assert updates == [] and dict(here.state) == {"a": 7} and list(here.snapshots) == ["mine"]
    here.state["a"] = 8
    assert here.state["a"] == 8


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 400), st.binary(min_size=1, max_size=4), st.sampled_from(FORMATS))
def test_N2_damaged_file_loads_or_is_rejected(at: int, damage: bytes, format: Any) -> None:
    here, there = peers()
    here.text("notes").set("hello")
    here.state["a"] = (1, b"x")
    here.snapshots.save("v")
    exported = here.export(format)
    raw = exported.encode() if isinstance(exported, str) else exported
    index = at % len(raw)
    try:
        there.load(raw[:index] + damage + raw[index + len(damage) :])
    except RoomFileError:
        assert dict(there.state) == {} and list(there.snapshots) == []
    there.export(format)
    there.state["b"] = 1
    assert there.state["b"] == 1


def test_file_above_the_size_limit_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    (here,) = peers(1)
    monkeypatch.setattr(room_file, "MAX_FILE_BYTES", 10)
    with pytest.raises(RoomFileError, match="larger than 10 bytes"):
        here.load(here.export())


def test_file_with_too_many_snapshots_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = peers()
    for name in "abc":
        here.snapshots.save(name)
    here.state["x"] = 1
    monkeypatch.setattr(snapshots, "MAX_SNAPSHOTS", 2)
    with pytest.raises(SnapshotLimitError):
        there.load(here.export())
    assert dict(there.state) == {} and len(there.snapshots) == 0


def test_export_leaves_out_a_damaged_snapshot(caplog: pytest.LogCaptureFixture) -> None:
    (here,) = peers(1)
    replica_of(here).set_snapshot("odd", StoredSnapshot("2026-01-02T03:04:05+00:00", "x", b"nonsense"))
    assert json.loads(here.export())["snapshots"] == {}
    assert "'odd' is damaged" in caplog.text


def test_unknown_format_raises_ValueError() -> None:
    (here,) = peers(1)
    with pytest.raises(ValueError, match='use "json" or "yjs"'):
        here.export("xml")  # type: ignore[call-overload]


def loading(room: str, data: str = "") -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    with crdt_sync(room, private=["mine"]) as joined:
        st.button("undo", on_click=joined.undo)
        st.slider("size", 0, 10, key="size")
        st.text_area("notes", key="notes")
        st.multiselect("days", ["Mon", "Tue"], key="days")
        st.slider("mine", 0, 10, key="mine")
        if st.button("load"):
            st.session_state["plain"] = "assigned"
            joined.load(data)


def test_P8_load_updates_widgets_and_leaves_private_keys(room: str) -> None:
    file = '{"streamlit-crdt": 1, "state": {"size": 4, "notes": "loaded", "mine": 9, "crdt-private:x": 1}}'
    ada = session(loading, room, data=file)
    ada.multiselect[0].set_value(["Mon"]).run()
    press(ada, "load").run()
    assert shows(ada) == (4, "loaded", [], None) and ada.slider[1].value == 0
    press(ada, "undo")
    assert shows(ada) == (0, "", ["Mon"], "assigned")
    assert shows(caught_up(session(loading, room)))[2] == ["Mon"]


def test_root_type_of_another_kind_is_ignored() -> None:
    document: Doc[Any] = Doc()
    document.get("snapshots", type=Array).append(1)
    document.get("state", type=Map)["a"] = 5
    (here,) = peers(1)
    here.load(bytes(document.get_update()))
    assert dict(here.state) == {"a": 5} and len(here.snapshots) == 0
    replica_of(here).apply(document.get_update())
    here.snapshots.save("v")
    assert list(here.snapshots) == ["v"] and isinstance(here, Room)


def test_N3_export_of_expanding_snapshots_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    (here,) = peers(1)
    text = '{"a":"' + "x" * (15 * 1024 * 1024) + '"}'
    for number in range(6):
        bomb = StoredSnapshot.of(f"2026-01-0{number + 1}T00:00:00+00:00", "x", text)
        replica_of(here).set_snapshot(f"s{number}", bomb)
    assert len(here.export()) < room_file.MAX_FILE_BYTES
    assert caplog.text.count("too large and was left out") == 2


def test_json_with_many_brackets_in_a_text_is_loaded() -> None:
    here, there = peers()
    here.state["a"] = "[{" * 2_100_000
    there.load(here.export())
    assert there.state["a"] == here.state["a"]
