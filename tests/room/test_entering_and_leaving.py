"""Entering and leaving rooms, `select_room_widget` and `rooms`."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from streamlit_crdt import EntryForbiddenError, RoomNameError, ViewOnlyError, rooms
from streamlit_crdt.access import participant
from streamlit_crdt.access.participant import Visitor
from streamlit_crdt.backend import backend
from streamlit_crdt.session.streamlit_hooks import registry
from tests.support.app_sessions import caught_up, settle


@pytest.fixture
def room() -> str:
    return f"room-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def other(room: str) -> str:
    return f"{room}-other"


def own_ui(room: str, calls_none: bool = True) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync, private_key, rooms

    st.slider("outside", key="outside")
    st.session_state.setdefault("shared_by_all_pages", "x")
    st.button("enter", on_click=rooms.enter_room, args=(room,))
    st.button("enter other", on_click=rooms.enter_room, args=(f"{room}-other",))
    st.button("exit", on_click=rooms.exit_room)
    if st.button("exit in the body"):
        rooms.exit_room()
        st.rerun()
    name = rooms.current_room()
    st.text(str(name))
    if name is None and not calls_none:
        st.stop()
    with crdt_sync(name):
        st.slider("keyed", key="keyed")
        st.slider("unkeyed")
        st.multiselect("many", ["a", "b", "c"], key="many")
        st.slider("mine", key=private_key("mine"))
        st.text_input("password", type="password")
        st.session_state.setdefault("plain", 0)
        if st.button("add"):
            st.session_state["plain"] += 1
        if st.button("keep private"):
            st.session_state[private_key("note")] = "mine"
            st.rerun()


def open_app(room: str, **kwargs: Any) -> AppTest:
    return AppTest.from_function(own_ui, kwargs={"room": room, **kwargs}, default_timeout=20).run()


def click(app: AppTest, label: str) -> AppTest:
    next(button for button in app.button if button.label == label).click().run()
    assert not app.exception
    return app


def shown(app: AppTest) -> dict[str, Any]:
    widgets = [*app.slider, *app.multiselect, *app.text_input]
    return {widget.label: widget.value for widget in widgets} | {"plain": app.session_state["plain"]}


def move(app: AppTest, label: str, value: Any) -> AppTest:
    next(widget for widget in app.slider if widget.label == label).set_value(value).run()
    return app


def test_callbacks_enter_and_leave_before_their_run(room: str) -> None:
    app = open_app(room)
    assert app.text[0].value == "None"
    assert click(app, "enter").text[0].value == room
    assert app.query_params["room"] == room
    assert click(app, "exit").text[0].value == "None"
    assert "room" not in app.query_params


def test_leaving_removes_shared_values_and_keeps_private_ones(room: str) -> None:
    one, two = click(open_app(room), "enter"), click(open_app(room), "enter")
    move(one, "outside", 9)
    move(one, "keyed", 5)
    move(one, "unkeyed", 6)
    move(one, "mine", 7)
    one.text_input[0].set_value("secret").run()
    one.multiselect[0].set_value(["b"]).run()
    click(one, "keep private")
    click(one, "add")
    caught_up(two)
    assert shown(two) == {
        "outside": 0, "keyed": 5, "unkeyed": 6, "mine": 0, "many": ["b"], "password": "", "plain": 1
    }  # fmt: skip
    click(one, "exit")
    assert shown(one) == {
        "outside": 9, "keyed": 0, "unkeyed": 0, "mine": 7, "many": [], "password": "secret", "plain": 0
    }  # fmt: skip
    assert one.session_state["crdt-private:note"] == "mine"
    assert shown(caught_up(two))["keyed"] == 5


def test_return_restores_room_values_and_makes_no_edit(room: str) -> None:
    one, two = click(open_app(room), "enter"), click(open_app(room), "enter")
    move(one, "keyed", 5)
    click(one, "add")
    click(one, "exit")
    move(one, "keyed", 8)
    move(one, "unkeyed", 8)
    click(one, "add")
    assert (shown(one)["keyed"], shown(one)["unkeyed"]) == (8, 8)
    move(caught_up(two), "keyed", 6)
    settle()
    click(one, "enter")
    expected = {"keyed": 6, "unkeyed": 0, "plain": 1}
    for app in (one, caught_up(two), caught_up(one)):
        assert {key: shown(app)[key] for key in expected} == expected


@pytest.mark.parametrize("calls_none", [True, False], ids=["crdt_sync(None)", "no call"])
def test_script_outside_of_a_room_may_omit_crdt_sync(room: str, calls_none: bool) -> None:
    one = click(open_app(room, calls_none=calls_none), "enter")
    move(one, "keyed", 5)
    click(one, "add")
    click(one, "exit")
    assert [key for key in ("keyed", "many", "plain") if key in one.session_state] == (
        ["keyed", "many", "plain"] if calls_none else []
    )
    assert people(room) == 0
    click(one, "enter")
    assert (shown(one)["keyed"], shown(one)["plain"]) == (5, 1)


def test_values_of_one_room_do_not_reach_another(room: str, other: str) -> None:
    one, two = click(open_app(room), "enter"), click(open_app(room), "enter other")
    move(one, "keyed", 5)
    move(one, "unkeyed", 6)
    click(one, "add")
    click(one, "enter other")
    assert shown(one) == shown(caught_up(two)) == shown(open_app(room)) | {"plain": 0}
    move(two, "keyed", 7)
    assert shown(caught_up(one))["keyed"] == 7
    click(one, "enter")
    assert (shown(one)["keyed"], shown(one)["unkeyed"], shown(one)["plain"]) == (5, 6, 1)
    assert (people(room), people(other)) == (1, 1)


def test_values_set_outside_of_a_room_do_not_reach_it(room: str) -> None:
    one, two = open_app(room), click(open_app(room), "enter")
    move(one, "keyed", 5)
    click(one, "add")
    assert (shown(one.run())["keyed"], shown(one)["plain"]) == (5, 1)
    click(one, "enter")
    assert shown(one)["keyed"] == 0
    caught_up(two)
    assert (shown(two)["keyed"], shown(two)["plain"]) == (0, 0)
    move(two, "keyed", 3)
    assert shown(caught_up(one))["keyed"] == 3
    click(one, "add")
    assert shown(caught_up(two))["plain"] == shown(one)["plain"]


def test_exit_room_works_in_the_body_of_a_script(room: str) -> None:
    one = click(open_app(room), "enter")
    move(one, "keyed", 5)
    click(one, "exit in the body")
    assert (one.text[0].value, shown(one)["keyed"]) == ("None", 0)
    assert people(room) == 0
    assert shown(click(one, "enter"))["keyed"] == 5


def body(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync, rooms

    before = rooms.current_room()
    with crdt_sync(before):
        st.slider("keyed", key="keyed")
    if st.button("enter"):
        rooms.enter_room(room)
    if st.button("exit"):
        rooms.exit_room()
    st.text(f"{before} {rooms.current_room()}")


def test_enter_room_below_the_block_takes_effect_in_the_next_call(room: str) -> None:
    app = AppTest.from_function(body, kwargs={"room": room}).run()
    assert click(app, "enter").text[0].value == f"None {room}"
    move(app, "keyed", 5)
    assert click(app, "exit").text[0].value == f"{room} None"
    assert people(room) == 0
    assert app.run().slider[0].value == 0


def by_selectbox(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync, private_key

    which = st.radio("which", ["a", "b", "none"], key=private_key("which"))
    with crdt_sync(f"{room}-always", keys=["always"]):
        st.slider("always", key="always")
    with crdt_sync(None if which == "none" else f"{room}-{which}"):
        st.slider("keyed", key="keyed")
        st.text(str(st.session_state.get("plain")))
        if st.button("set"):
            st.session_state["plain"] = which


def test_call_with_another_room_leaves_the_previous_one(room: str) -> None:
    one = AppTest.from_function(by_selectbox, kwargs={"room": room}).run()
    two = AppTest.from_function(by_selectbox, kwargs={"room": room}).run()
    move(one, "always", 1)
    move(one, "keyed", 2)
    click(one, "set").run()
    one.radio[0].set_value("b").run()
    assert (one.slider[0].value, one.slider[1].value, one.text[0].value) == (1, 0, "None")
    two.radio[0].set_value("b").run()
    assert (two.slider[0].value, two.slider[1].value, two.text[0].value) == (1, 0, "None")
    one.radio[0].set_value("none").run()
    assert (one.slider[0].value, one.slider[1].value, one.text[0].value) == (1, 0, "None")
    one.radio[0].set_value("a").run()
    assert (one.slider[0].value, one.slider[1].value, one.text[0].value) == (1, 2, "a")


# -- query parameter -----------------------------------------------------------------------------------------


def test_query_parameter_enters_a_room_in_the_first_run(room: str) -> None:
    app = AppTest.from_function(own_ui, kwargs={"room": room})
    app.query_params["room"] = room
    assert app.run().text[0].value == room
    assert click(app, "exit").run().text[0].value == "None"


def form() -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync, select_room_widget

    name = select_room_widget()
    st.text(str(name))
    with crdt_sync(name):
        st.slider("keyed", key="keyed")


@pytest.mark.parametrize("name", ["two words", "..", "ä", "", "x" * 129])
def test_invalid_room_in_the_query_is_shown_in_the_picker(name: str) -> None:
    app = AppTest.from_function(form)
    app.query_params["room"] = name
    app.run()
    assert not app.exception
    assert app.text[0].value == "None"
    assert "is invalid" in app.error[0].value


# -- select_room_widget --------------------------------------------------------------------------------------


def create(app: AppTest, name: str) -> AppTest:
    app.text_input[0].set_value(name)
    return click(app, "Create")


def test_picker_creates_lists_joins_and_leaves(room: str) -> None:
    one, two = AppTest.from_function(form).run(), AppTest.from_function(form).run()
    assert create(one, f"  {room} ").text[0].value == room
    move(one, "keyed", 4)
    settle()
    two.run()
    row = next(line.value for line in two.sidebar.markdown if room.split("-")[1] in line.value)
    assert row.replace("\\", "") == f"{room} :gray[· 1 person]"
    two.button(key=f"crdt-private:crdt-join-room {room}").click().run()
    assert (two.text[0].value, two.slider[0].value) == (room, 4)
    assert "2 people here" in two.sidebar.caption[0].value
    click(two, "Leave")
    assert (two.text[0].value, two.slider[0].value) == ("None", 0)
    assert "1 person here" in one.run().sidebar.caption[0].value


def test_picker_shows_an_invalid_name_and_accepts_a_correction(room: str) -> None:
    app = create(AppTest.from_function(form).run(), "two words")
    assert "Room name 'two words' is invalid" in app.error[0].value.replace("\\", "")
    assert (app.text[0].value, app.text_input[0].value) == ("None", "two words")
    assert not create(app, room).error
    assert app.text[0].value == room


# -- list_rooms ----------------------------------------------------------------------------------------------


def people(room: str) -> int | None:
    return {str(one): one.people for one in rooms.list_rooms()}.get(room, 0)


def test_listed_room_equals_its_name_and_works_in_a_selectbox(room: str) -> None:
    click(open_app(room), "enter")
    listed = next(one for one in rooms.list_rooms() if one == room)
    assert (listed, listed.name, listed.people, type(listed.name)) == (room, room, 1, str)

    def choosing() -> None:
        import streamlit as st

        from streamlit_crdt import crdt_sync, private_key, rooms

        chosen = st.selectbox("room", rooms.list_rooms(), key=private_key("room"))
        crdt_sync(chosen)
        st.text(f"{chosen} {chosen.people}")

    app = AppTest.from_function(choosing).run()
    assert not app.exception
    assert app.selectbox[0].options


@pytest.mark.parametrize("name", ["two words", "", None, 3, "a/b"])
def test_invalid_room_name_raises_RoomNameError(name: Any) -> None:
    with pytest.raises(RoomNameError):
        rooms.enter_room(name)
    with pytest.raises(RoomNameError):
        rooms.delete_room(name)


# -- authorization -------------------------------------------------------------------------------------------


@pytest.fixture
def authorize(room: str) -> Iterator[None]:
    def decide(visitor: Visitor) -> Any:
        return {room: "editor", f"{room}-viewed": "viewer"}.get(visitor.room)

    participant.install(decide)
    yield
    participant.install(None)


@pytest.mark.usefixtures("authorize")
def test_authorize_hook_limits_listing_entering_and_deleting(room: str, other: str) -> None:
    hub = backend.find(None).hub  # type: ignore[attr-defined]
    peers = [hub.open_local(name) for name in (room, other, f"{room}-viewed")]
    assert [str(one) for one in rooms.list_rooms() if one.startswith(room)] == [room, f"{room}-viewed"]
    with pytest.raises(EntryForbiddenError):
        rooms.enter_room(other)
    with pytest.raises(EntryForbiddenError):
        rooms.delete_room(other)
    with pytest.raises(ViewOnlyError, match="was not deleted"):
        rooms.delete_room(f"{room}-viewed")
    assert not any(peer.is_closed for peer in peers)
    rooms.delete_room(room)
    assert [peer.is_closed for peer in peers] == [True, False, False]
    app = AppTest.from_function(form)
    app.query_params["room"] = other
    app.run()
    assert "You may not enter the room" in app.error[0].value
    create(app, other)
    assert "You may not enter the room" in app.error[0].value


def viewing(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync, rooms

    crdt_sync(room, role="viewer")
    if st.button("delete"):
        rooms.delete_room(room)


def test_A1_viewer_cannot_delete_the_room(room: str) -> None:
    app = AppTest.from_function(viewing, kwargs={"room": room}).run()
    app.button[0].click().run()
    assert "was not deleted" in app.exception[0].value
    assert people(room) == 1


def test_left_and_closed_sessions_are_not_counted(room: str) -> None:
    one, two = click(open_app(room), "enter"), click(open_app(room), "enter")
    assert people(room) == 2
    click(one, "exit")
    assert people(room) == 1
    for live in registry.sessions():
        live.release()
    assert people(room) == 0
    two.run()
    assert people(room) == 1


def without_a_call(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync, rooms

    def page() -> None:
        st.slider("keyed", key="keyed")
        st.session_state.setdefault("initial", 3)
        st.slider("initial", key="initial")

    st.button("enter", on_click=rooms.enter_room, args=(room,))
    st.button("exit", on_click=rooms.exit_room)
    if name := rooms.current_room():
        with crdt_sync(name):
            page()
    else:
        page()


def test_widgets_outside_of_any_call_show_room_values_on_entry(room: str) -> None:
    one = click(AppTest.from_function(without_a_call, kwargs={"room": room}).run(), "enter")
    move(one, "keyed", 7)
    move(one, "initial", 8)
    settle()
    two = AppTest.from_function(without_a_call, kwargs={"room": room}).run()
    move(two, "keyed", 4)
    for _ in range(2):
        click(two, "enter")
        assert [slider.value for slider in two.slider] == [7, 8]
        click(two, "exit")
        assert [slider.value for slider in two.slider] == [0, 3]
        move(two, "initial", 5)
    assert [slider.value for slider in caught_up(one).slider] == [7, 8]
