"""`room.text`, `.list`, `.map`, `.set`, `.counter`, undo, events and `room.button` in scripts."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest

from streamlit_crdt import Room, SharedTypeError, ValueNotShareableError, ViewOnlyError, crdt_sync
from streamlit_crdt.merge import RULES
from tests.support.app_sessions import caught_up, session, settle


@pytest.fixture
def room() -> str:
    return f"room-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def local_room() -> Room:
    """A room without other participants. The shared types are the same there."""
    return crdt_sync(None)


def test_text_positions_count_characters(local_room: Room) -> None:
    text = local_room.text("t")
    text += "a👍é"
    text.insert(2, "-")
    text.append("!")
    assert (str(text), len(text), text[1], text[1:3], "👍-" in text) == ("a👍-é!", 5, "👍", "👍-", True)
    text.delete(1, 3)
    text.replace("é", "e")
    assert text == "ae!"
    text.set("new")
    assert repr(text) == "SharedText('t', 'new')"
    text.delete(-1)
    assert str(text) == "ne"


CALLS: list[tuple[str, Any, Callable[[Any], Any]]] = [
    ("list", [3, 1, 2], lambda items: items.reverse()),
    ("list", [3, 1, 2], lambda items: items.remove(1)),
    ("list", [3, 1, 2], lambda items: items.__iadd__([4, 5])),
    ("map", {"a": 1, "b": 2}, lambda entries: entries.pop("a")),
    ("map", {"a": 1, "b": 2}, lambda entries: entries.popitem()),
    ("map", {"a": 1, "b": 2}, lambda entries: entries.setdefault("c", 3)),
    ("map", {"a": 1, "b": 2}, lambda entries: entries.update(a=3, d=4)),
    ("set", {1, 2, 3}, lambda items: items.remove(1)),
    ("set", {1, 2, 3}, lambda items: items.pop()),
    ("set", {1, 2, 3}, lambda items: items.__ior__({7, 8})),
    ("set", {1, 2, 3}, lambda items: items.__iand__({1, 8})),
    ("set", {1, 2, 3}, lambda items: items.__isub__({1, 2})),
    ("set", {1, 2, 3}, lambda items: items.__ixor__({1, 8})),
]


@pytest.mark.parametrize(("kind", "content", "call"), CALLS)
def test_each_call_is_one_edit_and_behaves_as_the_python_type(
    local_room: Room, kind: str, content: Any, call: Callable[[Any], Any]
) -> None:
    shared = getattr(local_room, kind)("k")
    plain = copy.copy(content)
    replica, updates = local_room._membership.replica, list[bytes]()
    replica.edit("k", None, content, RULES[kind])
    replica.subscribe(lambda update, origin: updates.append(update))
    returned, expected = call(shared), call(plain)
    assert local_room.state["k"] == plain
    assert len(updates) == 1
    if returned is not shared:
        assert returned == expected


@pytest.mark.parametrize("by", [np.int64(3), np.float64(3), np.uint8(3), True, Fraction(3)])
def test_counter_accepts_any_real_number(local_room: Room, by: Any) -> None:
    counter = local_room.counter("n")
    counter.increment(by)
    counter.increment()
    assert counter.value == by + 1


@pytest.mark.parametrize("by", [Decimal(3), "3", None, float("inf"), float("nan"), 2**1001])
def test_counter_rejects_other_and_infinite_numbers(local_room: Room, by: Any) -> None:
    counter = local_room.counter("n")
    counter.increment()
    with pytest.raises(ValueNotShareableError, match="'n'"):
        counter.increment(by)
    assert counter.value == 1


@pytest.mark.parametrize("text", [None, b"x", 7])
def test_text_rejects_values_of_other_types(local_room: Room, text: Any) -> None:
    shared = local_room.text("t")
    shared.set(np.str_("text"))
    with pytest.raises(ValueNotShareableError, match="'t'"):
        shared.set(text)
    assert str(shared) == "text"


def test_list_rejects_an_invalid_index(local_room: Room) -> None:
    items = local_room.list("l")
    items += [1, 2]
    with pytest.raises(TypeError):
        items.insert(None, 3)  # type: ignore[arg-type]
    assert items == [1, 2]


def test_list_is_a_mutable_sequence(local_room: Room) -> None:
    items = local_room.list("l")
    items += ["b", "d"]
    items.insert(0, "a")
    items.insert(2, "c")
    items[0] = {"x": [1]}
    assert items == [{"x": [1]}, "b", "c", "d"]
    assert items.pop() == "d" and items.pop(0) == {"x": [1]}
    items.extend([True, 1, 1.0])
    items.remove(1)  # removes the first item that is `==`, as any sequence does
    del items[0]
    items.reverse()
    assert list(items) == [1.0, 1, "c"] and items.index("c") == 2 and 1 in items
    items[0:2] = []
    with pytest.raises(IndexError):
        items.pop(7)
    items.clear()
    assert len(items) == 0


def test_map_is_a_mutable_mapping_and_stores_data_frames(local_room: Room) -> None:
    frame = pd.DataFrame({"n": [1, 2]})
    entries = local_room.map("m")
    entries["f"] = frame
    entries[("a", 1)] = {"deep": {"x": None}}
    entries.update(z=1)
    pd.testing.assert_frame_equal(entries["f"], frame)
    assert entries[("a", 1)] == {"deep": {"x": None}} and entries.get("no") is None
    assert entries.setdefault("z", 9) == 1 and entries.pop("z") == 1 and "z" not in entries
    with pytest.raises(KeyError):
        del entries["z"]
    entries.clear()
    assert dict(entries) == {}


def test_set_is_a_mutable_set(local_room: Room) -> None:
    tags = local_room.set("s")
    tags |= {"a", "b"}
    tags.add("c")
    tags.discard("a")
    tags.update(["d"], {"e"})
    assert tags == {"b", "c", "d", "e"} and tags & {"b", "z"} == {"b"} and "c" in tags
    tags.remove("e")
    with pytest.raises(KeyError):
        tags.remove("e")
    tags.clear()
    assert len(tags) == 0


def test_counter_adds_and_subtracts(local_room: Room) -> None:
    counter = local_room.counter("n")
    assert counter.value == 0
    counter.increment()
    counter.increment(by=4)
    counter.increment(-2)
    assert counter.value == int(counter) == 3 and type(counter.value) is int
    counter.increment(0.5)
    assert float(counter) == 3.5


def test_value_of_another_type_raises_SharedTypeError(local_room: Room) -> None:
    local_room.state["k"] = "text"
    with pytest.raises(SharedTypeError, match=r"room\.list\('k'\)"):
        local_room.list("k").append(1)
    with pytest.raises(TypeError):
        local_room.counter("k").increment()
    assert local_room.text("k") == "text"


def test_R5_unshareable_item_leaves_a_list_unchanged(local_room: Room) -> None:
    local_room.list("l").append(1)
    with pytest.raises(ValueNotShareableError, match="'l'"):
        local_room.list("l").append(object())
    assert local_room.list("l") == [1]


def everywhere(room: str) -> None:
    import threading

    import streamlit as st
    from streamlit.runtime.scriptrunner import add_script_run_ctx

    from streamlit_crdt import crdt_sync

    room_ = crdt_sync(room)
    log = room_.list("log")

    def clicked() -> None:
        log.append("callback")

    @st.fragment
    def part() -> None:
        if st.button("in fragment", key="in_fragment"):
            log.append("fragment")

    st.button("in callback", on_click=clicked)
    part()
    if st.button("in thread"):
        thread = threading.Thread(target=lambda: log.append("thread"))
        add_script_run_ctx(thread)
        thread.start()
        thread.join()
        log.append("body")
    st.text(str(list(log)))


def test_edits_in_callback_body_fragment_and_thread_are_shared(room: str) -> None:
    one, two = session(everywhere, room), session(everywhere, room)
    for number in range(3):
        one.button[number].click().run()
    caught_up(two)
    assert two.text[0].value == "['callback', 'fragment', 'thread', 'body']"


def viewer(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import ViewOnlyError, crdt_sync

    room_ = crdt_sync(room, role="viewer", private=["mine"])
    for act in (lambda: room_.list("log").append(1), room_.undo, lambda: room_.broadcast("x")):
        try:
            act()
        except ViewOnlyError:
            st.text("rejected")


def test_A1_viewer_raises_ViewOnlyError_on_edits(room: str) -> None:
    assert [text.value for text in session(viewer, room).text] == ["rejected"] * 3
    assert issubclass(ViewOnlyError, PermissionError)


def undoing(room: str, name: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    room_ = crdt_sync(room, merge={"n": "counter"})
    st.button("Undo", on_click=room_.undo, disabled=not room_.can_undo)
    if st.button("Redo", disabled=not room_.can_redo):
        room_.redo()
    st.text_area("Notes", key="notes")
    st.slider("Size", 0, 10, key="size")
    st.session_state.setdefault("n", 0)
    if st.button("all"):
        st.session_state["n"] += 10
        room_.list("log").append(name)


def test_undo_reverts_own_runs_and_keeps_remote_edits(room: str) -> None:
    ada, bob = session(undoing, room, name="Ada"), session(undoing, room, name="Bob")
    assert ada.button[0].disabled
    ada.text_area[0].set_value("Ada writes").run()
    ada.slider[0].set_value(7).run()
    ada.button[2].click().run()
    caught_up(bob).button[2].click().run()
    bob.text_area[0].set_value("Ada writes, Bob too").run()
    caught_up(ada)
    assert (ada.session_state["n"], ada.session_state["log"]) == (20, ["Ada", "Bob"])
    ada.button[0].click().run()
    assert (ada.session_state["n"], ada.session_state["log"], ada.slider[0].value) == (10, ["Bob"], 7)
    ada.button[0].click().run()
    ada.button[0].click().run()
    assert (ada.slider[0].value, ada.text_area[0].value) == (0, ", Bob too")
    assert ada.button[0].disabled and not ada.button[1].disabled
    caught_up(bob)
    assert (bob.session_state["n"], bob.text_area[0].value, bob.slider[0].value) == (10, ", Bob too", 0)


def test_redo_repeats_undone_edits(room: str) -> None:
    ada, bob = session(undoing, room, name="Ada"), session(undoing, room, name="Bob")
    ada.slider[0].set_value(7).run()
    ada.button[2].click().run()
    for _ in range(2):
        ada.button[0].click().run()
    assert (ada.slider[0].value, ada.session_state["n"]) == (0, 0)
    for _ in range(2):
        ada.button[1].click().run()
    ada.run()
    assert (ada.slider[0].value, ada.session_state["n"], ada.session_state["log"]) == (7, 10, ["Ada"])
    caught_up(bob)
    assert (bob.slider[0].value, bob.session_state["n"]) == (7, 10)


def deriving(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    room_ = crdt_sync(room)
    st.button("Undo", on_click=room_.undo)
    st.button("Redo", on_click=room_.redo, disabled=not room_.can_redo)
    size = st.slider("Size", 0, 10, key="size")
    notes = st.text_area("Notes", key="notes")
    st.session_state["total"] = size + len(notes)


def test_value_derived_from_an_undone_value_is_not_an_undo_step(room: str) -> None:
    ada, bob = session(deriving, room), session(deriving, room)
    ada.slider[0].set_value(2).run()
    ada.slider[0].set_value(4).run()
    caught_up(bob).text_area[0].set_value("abc").run()
    caught_up(ada)
    for size in (2, 0):
        ada.button[0].click().run()
        assert (ada.slider[0].value, ada.session_state["total"]) == (size, size + 3)
    for size in (2, 4):
        ada.button[1].click().run()
        assert (ada.slider[0].value, ada.session_state["total"]) == (size, size + 3)
    caught_up(bob)
    assert (bob.slider[0].value, bob.session_state["total"]) == (4, 7)


def elsewhere(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync, private_key

    room_ = crdt_sync(st.text_input("Room", room, key=private_key("room")))
    if st.button("celebrate"):
        room_.broadcast("balloons")
    for event in room_.events("balloons"):
        st.text(event.name)


def test_event_during_a_visit_of_another_room_is_not_received(room: str) -> None:
    one, two = session(elsewhere, room), session(elsewhere, room)
    two.text_input[0].set_value(f"{room}-other").run()
    one.button[0].click().run()
    caught_up(two).text_input[0].set_value(room).run()
    assert received(two) == []
    one.button[0].click().run()
    assert received(caught_up(two)) == ["balloons"]


def party(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    room_ = crdt_sync(room)
    if st.button("celebrate"):
        room_.broadcast("balloons", {"n": 3})
    st.session_state.setdefault("private:seen", [])
    for event in room_.events("balloons"):
        st.text(f"{event.name} {event.payload} {event.is_self}")


def received(at: Any) -> list[str]:
    return [text.value for text in at.text]


def test_event_is_received_once_by_present_sessions_only(room: str) -> None:
    one, two = session(party, room), session(party, room)
    one.button[0].click().run()
    assert received(one) == ["balloons {'n': 3} True"]
    assert received(caught_up(two)) == ["balloons {'n': 3} False"]
    assert received(caught_up(two)) == received(caught_up(one)) == []
    late = session(party, room)
    assert received(late) == []
    two.button[0].click().run()
    settle()
    assert received(late.run()) == received(one.run()) == ["balloons {'n': 3} False"]


def interrupted(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    room_ = crdt_sync(room)
    if st.session_state.pop("interrupt", False):
        st.rerun()  # as if a remote edit superseded this run before it reached the button
    if room_.button("act", key="act", on_click=lambda: st.session_state.update(interrupt=True)):
        st.session_state["acts"] = st.session_state.get("acts", 0) + 1


def test_P5_click_is_handled_once_if_its_run_is_interrupted(room: str) -> None:
    at = session(interrupted, room)
    for clicks in (1, 2):
        at.button[0].click().run()
        at.run()
        assert at.session_state["acts"] == clicks


def hides_slider(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync, private_key

    room_ = crdt_sync(room)
    st.button("undo", on_click=room_.undo)
    if not st.checkbox("hide", key=private_key("hide")):
        st.slider("Size", 0, 10, 3, key="size")


def test_R4_hidden_widget_writes_no_default_after_undo(room: str) -> None:
    one, two = session(hides_slider, room), session(hides_slider, room)
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


def counts_in_no_room(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    room_ = crdt_sync(None)
    st.button("count", on_click=room_.counter("n").increment)
    st.text(str(room_.counter("n").value))


def test_callback_in_no_room_changes_the_scripts_counter(room: str) -> None:
    at = session(counts_in_no_room, room)
    at.button[0].click().run()
    assert at.text[0].value == "1"
