"""Merge rules in scripts: concurrent edits of widgets and values by several sessions."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import pytest
from pycrdt import Array, Doc, Map

from streamlit_crdt import MergeRuleError, crdt_sync
from streamlit_crdt.binding import StateBinding, local_edits
from streamlit_crdt.binding.text_drafts import class_of, digest_of
from streamlit_crdt.codec.values import equal
from streamlit_crdt.session.streamlit_hooks import registry
from tests.support.app_sessions import caught_up, session, settle
from tests.support.binding_session import make_viewer


@pytest.fixture
def room() -> str:
    return f"room-{uuid.uuid4().hex[:12]}"


def notes(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    with crdt_sync(room):
        st.text_area("Notes", "one\ntwo\nthree")


def test_concurrent_drafts_of_a_text_area_merge(room: str) -> None:
    one, two = session(notes, room), session(notes, room)
    one.text_area[0].set_value("ONE 👍\ntwo\nthree").run()
    settle()
    two.text_area[0].set_value("one\ntwo\nTHREE é").run()
    caught_up(one)
    assert one.text_area[0].value == two.text_area[0].value == "ONE 👍\ntwo\nTHREE é"


def bindings(room: str) -> list[StateBinding]:
    """Return the state bindings of this room's sessions, in the order of their creation."""
    return [one.room_sessions[room].binding for one in registry.sessions() if room in one.room_sessions]


def report_overwritten(
    binding: StateBinding, commits: Mapping[str, tuple[str, str]], state: Mapping[str, Any]
) -> None:
    with binding.locked() as keys:
        local_edits.restore_overwritten(keys, commits, state)


OVERWRITTEN = [
    ("one\ntwo\nTHREE", "ONE\ntwo\nTHREE"),
    ("ONE\ntwo\nthree", "ONE\ntwo\nthree"),  # the commit has arrived: the other session has written it
    ("one\ntwo\nthree", "ONE\ntwo\nthree"),  # equal to the base text, so there is no commit
]


@pytest.mark.parametrize(("committed", "merged"), OVERWRITTEN)
def test_commit_overwritten_in_the_page_is_taken_from_the_tab(room: str, committed: str, merged: str) -> None:
    one, two = session(notes, room), session(notes, room)
    one.text_area[0].set_value("ONE\ntwo\nthree").run()
    caught_up(two)
    binding = bindings(room)[1]
    (key,) = binding.widgets
    frame = {class_of(key): (digest_of("one\ntwo\nthree"), committed)}
    for _ in range(2):  # the tab sends it repeatedly
        report_overwritten(binding, frame, {key: two.text_area[0].value})
    caught_up(two)
    caught_up(one)
    assert one.text_area[0].value == two.text_area[0].value == merged


def test_commit_that_arrived_is_not_taken_again_from_the_tab(room: str) -> None:
    one, two = session(notes, room), session(notes, room)
    two.text_area[0].set_value("one\ntwo\nthree!").run()
    caught_up(one)
    one.text_area[0].set_value("one\ntwo\nTHREE?").run()
    caught_up(two)
    merged, binding = two.text_area[0].value, bindings(room)[1]
    (key,) = binding.widgets
    report_overwritten(binding, {class_of(key): (digest_of("one\ntwo\nthree"), "one\ntwo\nthree!")}, {})
    caught_up(two)
    assert two.text_area[0].value == merged


def test_A1_commit_of_a_viewer_is_not_taken_from_the_tab(room: str) -> None:
    one, _viewer = session(notes, room), session(notes, room)
    binding = bindings(room)[1]
    make_viewer(binding)
    (key,) = binding.widgets
    report_overwritten(binding, {class_of(key): (digest_of("one\ntwo\nthree"), "mine")}, {})
    caught_up(one)
    assert one.text_area[0].value == "one\ntwo\nthree"


def test_R8_default_edited_by_two_sessions_is_inserted_once(room: str) -> None:
    one, two = session(notes, room), session(notes, room)
    one.text_area[0].set_value("one\ntwo\nthree!").run()
    two.text_area[0].set_value("zero\none\ntwo\nthree").run()
    caught_up(one)
    caught_up(two)
    assert one.text_area[0].value == two.text_area[0].value == "zero\none\ntwo\nthree!"


def clicker(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    with crdt_sync(room, merge={"NB_*": "counter"}):
        if "NB_CLICKS" not in st.session_state:
            st.session_state["NB_CLICKS"] = 0
        if st.button("click"):
            st.session_state["NB_CLICKS"] += 1


def test_concurrent_clicks_in_two_sessions_count_twice(room: str) -> None:
    one, two = session(clicker, room), session(clicker, room)
    for _ in range(3):
        one.button[0].click().run()
        two.button[0].click().run()
    caught_up(one)
    caught_up(two)
    assert one.session_state["NB_CLICKS"] == two.session_state["NB_CLICKS"] == 6


def containers(room: str, name: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync(room)
    st.session_state.setdefault("log", ["begun"])
    st.session_state.setdefault("plan", {"who": {}, "done": False})
    st.session_state.setdefault("tags", {"a"})
    if st.button("add"):
        st.session_state["log"].append(f"{name} was here")
        st.session_state["plan"]["who"][name] = {"hours": len(name)}
        st.session_state["tags"] = st.session_state["tags"] | {name}


def test_concurrent_inserts_in_list_dict_and_set_are_kept(room: str) -> None:
    one, two = session(containers, room, name="Ada"), session(containers, room, name="Charles")
    one.button[0].click().run()
    two.button[0].click().run()
    for at in (caught_up(one), caught_up(two)):
        first, *rest = at.session_state["log"]
        assert first == "begun" and sorted(rest) == ["Ada was here", "Charles was here"]
        assert at.session_state["plan"] == {
            "who": {"Ada": {"hours": 3}, "Charles": {"hours": 7}},
            "done": False,
        }
        assert at.session_state["tags"] == {"a", "Ada", "Charles"}
    assert one.session_state["log"] == two.session_state["log"]


def choices(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync(room)
    st.multiselect("Drinks", ["tea", "coffee", "milk", "water"], default=["coffee"], key="drinks")


def test_multiselect_merges_as_a_set_in_option_order(room: str) -> None:
    one, two = session(choices, room), session(choices, room)
    one.multiselect[0].set_value(["coffee", "tea"]).run()
    two.multiselect[0].set_value(["coffee", "milk"]).run()
    for at in (caught_up(one), caught_up(two), caught_up(one)):
        assert at.multiselect[0].value == ["tea", "coffee", "milk"]
    one.multiselect[0].set_value(["tea", "milk"]).run()
    caught_up(two)
    assert two.multiselect[0].value == ["tea", "milk"]


def whole(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync(room, merge={"draft*": "value", "drafts": "text"})
    st.text_area("A", "base", key="draft")
    st.text_input("B", "base", key="drafts")


def test_merge_argument_takes_precedence_over_the_default_rule(room: str) -> None:
    one, two = session(whole, room), session(whole, room)
    for at, text in ((one, "base one"), (two, "two base")):
        at.text_area[0].set_value(text)
        at.text_input[0].set_value(text).run()
    caught_up(one)
    caught_up(two)
    assert one.text_area[0].value == two.text_area[0].value
    assert one.text_area[0].value in ("base one", "two base")
    assert one.text_input[0].value == two.text_input[0].value == "two base one"


def test_unknown_merge_rule_raises_at_the_call() -> None:
    with pytest.raises(MergeRuleError, match="counter"):
        crdt_sync("r", merge={"x": "sum"})  # type: ignore[dict-item]


def version(room: str, rule: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync(room, merge={"notes": rule})  # type: ignore[dict-item]
    st.text_area("Notes", key="notes")


def test_new_app_version_can_change_the_rule_of_a_key(room: str) -> None:
    old, new = session(version, room, rule="value"), session(version, room, rule="text")
    old.text_area[0].set_value("kept").run()
    caught_up(new)
    assert new.text_area[0].value == "kept"
    new.text_area[0].set_value("kept and merged").run()
    caught_up(old)
    assert old.text_area[0].value == "kept and merged"
    old.text_area[0].set_value("replaced").run()
    caught_up(new)
    assert new.text_area[0].value == "replaced"


def limits_selections(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync(room)
    st.multiselect("Two", ["a", "b", "c", "d"], key="two", max_selections=2)


def test_P2_set_over_max_selections_keeps_one_whole_selection(room: str) -> None:
    one, two = session(limits_selections, room), session(limits_selections, room)
    one.multiselect[0].set_value(["a", "b"]).run()
    two.multiselect[0].set_value(["c", "d"]).run()
    caught_up(one)
    caught_up(two)
    assert one.multiselect[0].value == two.multiselect[0].value
    assert one.multiselect[0].value in (["a", "b"], ["c", "d"])


def appends_to_log(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync, private_key

    crdt_sync(room)
    runs = private_key("runs")
    st.session_state[runs] = st.session_state.get(runs, 0) + 1
    st.session_state.setdefault("log", [])
    if st.button("add"):
        st.session_state["log"].append("mine")
    if st.button("delete"):
        del st.session_state["log"]


def unknown_item() -> bytes:
    """Return an update with a list item of an unknown tag, as a newer version of the library may write."""
    document: Doc[Any] = Doc()
    document["state"], document["list:log"] = (
        Map({"log": {"$rule": ["list", "list"]}}),
        Array([{"$newer": 1}]),
    )
    return document.get_update()


@pytest.mark.parametrize("place", [0, 1])
def test_N2_unreadable_value_does_not_stop_the_script(room: str, place: int) -> None:
    from streamlit_crdt import private_key

    at = session(appends_to_log, room)
    (binding,) = [one.room_sessions[room] for one in registry.sessions() if room in one.room_sessions]
    binding.replica.apply(unknown_item())
    for _ in range(3):
        before = at.session_state[private_key("runs")]
        at.button[place].click().run()
        assert at.session_state[private_key("runs")] - before <= 2
    assert not at.exception
    assert equal(binding.replica.get("nothing"), None)
