"""P4 and merging: what merges in a room neither wakes its sessions without end nor comes back into it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from pycrdt import Array, Doc, Map

from streamlit_crdt.binding.text_drafts import TextDrafts, class_of, digest_of
from streamlit_crdt.codec import values
from streamlit_crdt.document.document import Document
from streamlit_crdt.document.events import EventLog
from streamlit_crdt.document.replica import Replica
from tests.support.app_sessions import caught_up, session, settle


@pytest.fixture
def room() -> str:
    return f"room-{uuid.uuid4().hex[:12]}"


def two_rooms(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync(f"{room}-A", merge={"n": "counter"})
    crdt_sync(f"{room}-B", merge={"n": "counter"})
    st.session_state.setdefault("log", ["begun"])
    st.session_state.setdefault("n", 0)
    if st.button("add"):
        st.session_state["log"].append("more")
        st.session_state["n"] += 1


def test_P4_a_value_that_is_in_two_rooms_does_not_grow_by_itself(room: str) -> None:
    one, two = session(two_rooms, room), session(two_rooms, room)
    one.button[0].click().run()
    caught_up(two).button[0].click().run()
    for _ in range(4):
        caught_up(one)
        caught_up(two)
    for at in (one, two):
        assert (at.session_state["log"], at.session_state["n"]) == (["begun", "more", "more"], 2)


def assigns_selection(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync, private_key

    crdt_sync(room)
    runs = private_key("runs")
    st.session_state[runs] = st.session_state.get(runs, 0) + 1
    st.session_state["drinks"] = ["coffee", "tea"]
    st.multiselect("Drinks", ["tea", "coffee", "milk"], key="drinks")


def number_kinds(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync, private_key

    crdt_sync(room, merge={"n": "counter"})
    runs = private_key("runs")
    st.session_state[runs] = st.session_state.get(runs, 0) + 1
    st.session_state["n"] = int(st.session_state.get("n", 0.5) + 0.5)


def asked_once(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync, private_key

    room_ = crdt_sync(room)
    runs = private_key("runs")
    st.session_state[runs] = st.session_state.get(runs, 0) + 1
    if st.session_state[runs] == 1:
        list(room_.events("ping"))
    room_.broadcast("ping")


def never_finished(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync, private_key

    room_ = crdt_sync(room)
    runs = private_key("runs")
    st.session_state[runs] = st.session_state.get(runs, 0) + 1
    room_.broadcast("ping")
    room_.broadcast("ping")
    for _ in room_.events("ping"):
        break


@pytest.mark.parametrize("app", [assigns_selection, number_kinds, asked_once, never_finished])
def test_P4_a_script_that_does_not_take_in_what_was_merged_does_not_run_for_ever(
    app: Callable[..., None], room: str
) -> None:
    from streamlit_crdt import private_key

    at, other = session(app, room), session(app, room)
    for _ in range(3):
        before = at.session_state[private_key("runs")]
        caught_up(at)
        assert at.session_state[private_key("runs")] - before <= 2
    assert not at.exception and not other.exception


def hides(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync, private_key

    room_ = crdt_sync(room)
    st.button("undo", on_click=room_.undo)
    if not st.checkbox("hide", key=private_key("hide")):
        st.slider("Size", 0, 10, 3, key="size")


def test_R4_a_widget_that_was_hidden_while_its_value_was_undone_writes_no_default(room: str) -> None:
    one, two = session(hides, room), session(hides, room)
    one.slider[0].set_value(7).run()
    caught_up(two).checkbox[0].check().run()
    one.button[0].click().run()
    assert one.slider[0].value == 3
    caught_up(two)
    two.checkbox[0].uncheck().run()
    assert two.slider[0].value == 3
    settle()
    one.run()
    one.slider[0].set_value(5).run()
    caught_up(two)
    assert two.slider[0].value == 5


def limited(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync(room)
    st.multiselect("Two", ["a", "b", "c", "d"], key="two", max_selections=2)


def test_P2_selections_that_are_limited_together_are_taken_whole(room: str) -> None:
    one, two = session(limited, room), session(limited, room)
    one.multiselect[0].set_value(["a", "b"]).run()
    two.multiselect[0].set_value(["c", "d"]).run()
    caught_up(one)
    caught_up(two)
    assert one.multiselect[0].value == two.multiselect[0].value
    assert one.multiselect[0].value in (["a", "b"], ["c", "d"])


def in_no_room(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    room_ = crdt_sync(None)
    st.button("count", on_click=room_.counter("n").increment)
    st.text(str(room_.counter("n").value))


def test_in_no_room_a_callback_writes_what_the_script_reads(room: str) -> None:
    at = session(in_no_room, room)
    at.button[0].click().run()
    assert at.text[0].value == "1"


def named(text: str, number: int = 1) -> tuple[str, int]:
    return digest_of(text), number


def test_a_draft_in_one_widget_says_nothing_of_another() -> None:
    drafts = TextDrafts()
    for key in ("a", "b"):
        drafts.note_shown(key, "")
        drafts.note_shown(key, "hello")
    drafts.note_open({"a": named("")})
    assert (drafts.base("a"), drafts.base("b")) == ("", None)


def test_a_draft_that_was_committed_is_over_although_the_tab_names_it_once_more() -> None:
    drafts = TextDrafts()
    drafts.note_shown("a", "")
    drafts.note_open({"a": named("")})
    assert drafts.base("a") == ""
    drafts.committed("a", "mine")
    drafts.note_shown("a", "")
    drafts.note_shown("a", "theirs")
    drafts.note_open({"a": named("")})
    assert drafts.base("a") is None
    drafts.note_open({"a": named("", 2)})
    assert drafts.base("a") == "", "another draft, on the same text"


CLASHING = [("姓名", "住所"), ("note.1", "note 1")]


@pytest.mark.parametrize("keys", CLASHING)
def test_a_draft_of_two_keys_with_one_class_name_is_that_of_the_one_that_has_shown_its_text(
    keys: tuple[str, str],
) -> None:
    drafts, (one, two) = TextDrafts(), keys
    assert class_of(one) == class_of(two)
    for key, text in ((one, "Ada"), (two, "London")):
        drafts.note_shown(key, "")
        drafts.note_shown(key, text)
    drafts.note_open({class_of(one): named("London")})
    assert (drafts.base(one), drafts.base(two)) == (None, "London")
    assert drafts.lost(class_of(one), "Paris", digest_of("London")) == (two, "London")
    drafts.note_open({class_of(one): named("", 2)})
    assert (drafts.base(one), drafts.base(two)) == (None, None)
    assert drafts.lost(class_of(one), "Paris", digest_of("")) is None


def test_a_commit_that_the_tab_repeats_does_not_end_the_draft_that_came_after_it() -> None:
    drafts = TextDrafts()
    drafts.note_shown("a", "base")
    drafts.note_shown("a", "theirs")
    drafts.note_open({"a": named("theirs", 2)})
    assert drafts.lost("a", "mine", digest_of("base")) == ("a", "base")
    drafts.recommitted("a", "mine")
    drafts.note_open({"a": named("theirs", 2)})
    assert drafts.base("a") == "theirs"
    assert drafts.lost("a", "mine", digest_of("base")) is None


@pytest.mark.parametrize("event", [{"name": [1], "payload": 2}, {"name": "ping"}, 3, {"payload": 1}])
def test_N2_an_event_that_is_none_disturbs_nobody(event: Any) -> None:
    replica, events = Replica(), EventLog()
    events.arrive(replica)
    assert list(events.take(replica, "ping")) == []
    replica.post("z", event)
    assert not events.has_news(replica) and list(events.take(replica, "ping")) == []


def appends(room: str) -> None:
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


def newer_item() -> bytes:
    """What a newer version of the library might have put into a list."""
    document: Doc[Any] = Doc()
    document["state"], document["list:log"] = (
        Map({"log": {"$rule": ["list", "list"]}}),
        Array([{"$newer": 1}]),
    )
    return document.get_update()


@pytest.mark.parametrize("place", [0, 1])
def test_N2_a_value_that_cannot_be_read_here_stops_no_script(room: str, place: int) -> None:
    from streamlit_crdt import private_key
    from streamlit_crdt.session.streamlit_hooks import registry

    at = session(appends, room)
    (binding,) = [one.room_sessions[room] for one in registry.sessions() if room in one.room_sessions]
    binding.replica.apply(newer_item())
    for _ in range(3):
        before = at.session_state[private_key("runs")]
        at.button[place].click().run()
        assert at.session_state[private_key("runs")] - before <= 2
    assert not at.exception
    assert values.equal(binding.replica.get("nothing"), None)


def test_a_draft_that_was_named_once_is_not_forgotten_however_much_others_write_meanwhile() -> None:
    drafts = TextDrafts()
    drafts.note_shown("a", "begun on this")
    for number in range(100):
        drafts.note_shown("a", f"theirs {number}")
        drafts.note_open({"a": named("begun on this")})
    assert drafts.base("a") == "begun on this"
    drafts.note_open({})
    assert drafts.base("a") is None


def test_events_that_nobody_waits_for_any_more_are_taken_out_whatever_their_clock_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1_000_000.0
    monkeypatch.setattr("streamlit_crdt.document.events.time.time", lambda: now)
    replica, events = Replica(), EventLog()
    events.arrive(replica)
    for number, at in enumerate((now + 10**9, float("nan"), now - 10**9, "soon", now - 300)):
        replica.post(f"other-{number}", {"name": "ping", "payload": None, "at": at})
    events.broadcast(replica, "ping", 1)
    assert [event_id for event_id in replica.events if event_id.startswith("other")] == ["other-4"]
    now += 100.0
    events.broadcast(replica, "ping", 2)
    assert len(replica.events) == 2, "one's own of before, too"


def test_who_broadcasts_often_does_not_look_at_all_events_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    replica, events, read = Replica(), EventLog(), list[int]()
    events.arrive(replica)
    native = Document.read_events
    monkeypatch.setattr(Document, "read_events", lambda self: read.append(1) or native(self))
    monkeypatch.setattr("streamlit_crdt.document.events.time.time", lambda: 1_000_000.0)
    for _ in range(20):
        events.broadcast(replica, "ping", None)
    assert len(read) == 1
    assert len(replica.events) == 20
