"""`crdt_sync` in scripts that AppTest runs: several sessions of one app, without a browser."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from typing import Any

import pytest

import streamlit_crdt
from streamlit_crdt import RoomNameError, ValueNotShareableError, crdt_sync, private_key
from streamlit_crdt.session.session import Session as LiveSession
from streamlit_crdt.session.streamlit_hooks import registry
from tests.support.app_sessions import caught_up, session, settle


@pytest.fixture
def room() -> str:
    return f"room-{uuid.uuid4().hex[:12]}"


def callbacks(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    def reset() -> None:
        st.session_state["n"] = 0
        st.session_state["log"] = [*st.session_state.get("log", []), "reset"]

    crdt_sync(room)
    st.number_input("n", 0, 100, 5, key="n")
    st.button("reset", on_click=reset)


def test_value_assigned_in_a_callback_is_shared(room: str) -> None:
    one, two = session(callbacks, room), session(callbacks, room)
    one.number_input[0].set_value(9).run()
    caught_up(two)
    assert two.number_input[0].value == 9
    two.button[0].click().run()
    caught_up(one)
    assert one.number_input[0].value == 0
    assert one.session_state["log"] == ["reset"]


def endings(room: str, how: str = "end") -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    with crdt_sync(room):
        if st.button("go"):
            st.session_state["done"] = how
            if how == "stop":
                st.stop()
            if how == "rerun":
                st.rerun()
            if how == "error":
                raise RuntimeError("an error of the app")
        st.session_state.setdefault("after", 0)


def without_block(room: str, how: str = "end") -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync(room)
    if st.button("go"):
        st.session_state["done"] = how
        if how == "stop":
            st.stop()
        if how == "rerun":
            st.rerun()
        if how == "error":
            raise RuntimeError("an error of the app")


@pytest.mark.parametrize("app", [endings, without_block], ids=["with", "without"])
@pytest.mark.parametrize("how", ["end", "stop", "rerun", "error"])
def test_run_pushes_its_assignments_at_any_ending(room: str, app: Callable[..., None], how: str) -> None:
    one, two = session(app, room, how=how), session(app, room, how=how)
    one.button[0].click().run()
    caught_up(two)
    assert two.session_state["done"] == how


def unshareable(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    with crdt_sync(room):
        if st.button("go"):
            st.session_state["a"] = 1
            st.session_state["lock"] = object()
            st.session_state["z"] = 2
        st.slider("x", key="x")


def test_R5_unshareable_value_is_named_and_others_are_shared(room: str) -> None:
    one, two = session(unshareable, room), session(unshareable, room)
    one.slider[0].set_value(8)
    one.button[0].click().run()
    assert "lock" in one.exception[0].message
    assert "object" in one.exception[0].message
    caught_up(two)
    assert not two.exception
    assert (two.session_state["a"], two.session_state["z"], two.slider[0].value) == (1, 2, 8)
    assert "lock" not in two.session_state


def selective(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync, private_key

    with crdt_sync(room, keys=["a*", "b"], private=["a_secret*"]):
        for name in ("a1", "a_secret1", "b", "c", private_key("a2")):
            st.number_input(name, 0, 9, 0, key=name)
    st.number_input("outside", 0, 9, 0, key="a_outside")


def test_P8_only_selected_keys_are_shared_without_private_ones(room: str) -> None:
    one, two = session(selective, room), session(selective, room)
    for box in one.number_input:
        box.set_value(5)
    one.run()
    caught_up(two)
    shared = {box.key for box in two.number_input if box.value == 5}
    assert shared == {"a1", "b"}


def changing(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    seen = st.session_state.setdefault("crdt-private:seen", [])
    crdt_sync(room, on_change=lambda word: seen.append(word), args=("changed",))
    st.slider("x", key="x")


def test_on_change_is_called_after_remote_writes(room: str) -> None:
    one, two = session(changing, room), session(changing, room)
    one.slider[0].set_value(3).run()
    assert one.session_state["crdt-private:seen"] == []
    caught_up(two)
    two.run()
    assert two.session_state["crdt-private:seen"] == ["changed"]


def out_of_range(room: str, top: int) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync(room)
    st.slider("x", 0, top, key="x")
    st.slider("unkeyed", 0, 100)


def test_P2_room_keeps_a_value_that_a_widget_cannot_show(room: str) -> None:
    wide, narrow = session(out_of_range, room, top=100), session(out_of_range, room, top=10)
    wide.slider[0].set_value(50).run()
    for _ in range(3):
        caught_up(narrow)
        assert not narrow.exception
        assert narrow.slider[0].value == 0
    narrow.slider[1].set_value(7).run()
    caught_up(wide)
    assert [slider.value for slider in wide.slider] == [50, 7]
    narrow.slider[0].set_value(4).run()
    caught_up(wide)
    assert wide.slider[0].value == 4


def test_P2_new_session_shows_its_default_for_an_invalid_value(room: str) -> None:
    wide = session(out_of_range, room, top=100)
    wide.slider[0].set_value(50).run()
    narrow = session(out_of_range, room, top=10)
    assert not narrow.exception
    assert narrow.slider[0].value == 0
    caught_up(wide)
    assert wide.slider[0].value == 50


def button_now(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync(room)
    st.button("x", key="x")


def test_P6_button_does_not_take_the_value_of_its_key(room: str) -> None:
    wide = session(out_of_range, room, top=100)
    wide.slider[0].set_value(50).run()
    late = session(button_now, room)
    assert not late.exception
    late.button[0].click().run()
    assert not late.exception
    caught_up(wide)
    assert wide.slider[0].value == 50


def hidden(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync(room, private=["show"])
    if st.checkbox("show", value=True, key="show"):
        st.slider("x", key="x")


def test_P3_hidden_widget_neither_deletes_nor_overwrites(room: str) -> None:
    one, two = session(hidden, room), session(hidden, room)
    one.slider[0].set_value(3).run()
    caught_up(two)
    one.checkbox[0].uncheck().run()
    one.run()
    two.slider[0].set_value(8).run()
    settle()
    one.checkbox[0].check().run()
    assert one.slider[0].value == 8
    caught_up(two)
    assert two.slider[0].value == 8


def state_view(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    room_ = crdt_sync(room)
    if st.button("set"):
        room_.state["a"] = {"x": 1}
    if st.button("delete"):
        del room_.state["a"]
    st.write(str(dict(room_.state)), room_.status)


def test_room_state_is_a_mutable_mapping(room: str) -> None:
    one, two = session(state_view, room), session(state_view, room)
    one.button[0].click().run()
    caught_up(two)
    assert two.session_state["a"] == {"x": 1}
    assert "{'a': {'x': 1}}" in two.markdown[0].value
    assert "connected" in two.markdown[0].value
    two.button[1].click().run()
    caught_up(one)
    assert "a" not in one.session_state


@pytest.mark.parametrize("name", ["", "a/b", "a b", "ä", "..", ".", "x" * 129, 7, "a\n"])
def test_invalid_room_name_raises_at_the_call(name: Any) -> None:
    with pytest.raises(RoomNameError, match="A-Z"):
        crdt_sync(name)


def test_room_without_a_name_is_offline() -> None:
    room = crdt_sync(None)
    assert room.name is None
    assert room.status == "offline"
    with room:
        pass


def test_server_address_without_ws_scheme_is_rejected(room: str) -> None:
    def app(room: str) -> None:
        from streamlit_crdt import crdt_sync

        crdt_sync(room, server="http://localhost:1")

    assert "ws://" in session(app, room).exception[0].message


def test_private_key_ends_with_its_name() -> None:
    assert private_key("a").endswith("a")
    assert private_key("a") != "a"


def test_errors_derive_from_builtin_errors() -> None:
    assert issubclass(ValueNotShareableError, TypeError)
    assert issubclass(RoomNameError, ValueError)


def test_all_is_sorted_and_its_names_exist() -> None:
    assert sorted(streamlit_crdt.__all__) == streamlit_crdt.__all__
    for name in streamlit_crdt.__all__:
        assert hasattr(streamlit_crdt, name)


def reserved(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    room_ = crdt_sync(room)
    if st.button("go"):
        room_.state["$$ID-hash-x"] = 1
        room_.state["fine"] = 2


def test_key_reserved_by_streamlit_does_not_block_others(room: str) -> None:
    one, two = session(reserved, room), session(reserved, room)
    one.button[0].click().run()
    caught_up(two)
    assert not two.exception
    assert two.session_state["fine"] == 2
    caught_up(one)
    assert not one.exception


def resets(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    def reset() -> None:
        st.session_state["n"] = 5

    crdt_sync(room)
    if st.button("reset in the script"):
        st.session_state["n"] = 5
        st.rerun()
    st.number_input("n", 0, 100, 5, key="n")
    st.button("reset", on_click=reset)


@pytest.mark.parametrize("button", [0, 1])
def test_P1_reset_to_the_value_before_a_remote_write_is_an_edit(room: str, button: int) -> None:
    one, two = session(resets, room), session(resets, room)
    one.number_input[0].set_value(9).run()
    caught_up(two)
    two.button[button].click().run()
    caught_up(one)
    assert (two.number_input[0].value, one.number_input[0].value) == (5, 5)


def secretive(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    room_ = crdt_sync(room, private=["secret"])
    if st.button("go"):
        room_.state["secret"] = "mine"


def test_P8_room_state_rejects_a_private_key(room: str) -> None:
    one, two = session(secretive, room), session(secretive, room)
    one.button[0].click().run()
    assert "private" in one.exception[0].message
    caught_up(two)
    assert "secret" not in two.session_state


def keeps_a_model(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync(room)
    st.session_state.setdefault("model", object())
    st.button("go")


def test_R5_unshareable_value_is_logged_once(room: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        one = session(keeps_a_model, room)
        for _ in range(3):
            one.run()
    assert len([record for record in caplog.records if "'model'" in record.getMessage()]) == 1


def test_R4_unregistered_widget_is_not_a_plain_value(
    room: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_args: Any, **_kwargs: Any) -> None:
        raise RuntimeError("an error in the library")

    with monkeypatch.context() as patch:
        patch.setattr(LiveSession, "widget_registered", fails)
        one = session(out_of_range, room, top=10).run()
    session(out_of_range, room, top=10)
    bindings = [b for s in registry.sessions() for name, b in s.room_sessions.items() if name == room]
    assert [list(b.replica) for b in bindings] == [[], []]
    assert not one.exception
    caplog.clear()  # the log of the error that the test causes


def test_edits_during_an_absence_merge_on_return(room: str) -> None:
    one, two = session(out_of_range, room, top=10), session(out_of_range, room, top=10)
    away = next(s for s in registry.sessions() for name in s.room_sessions if name == room)
    away.release()
    two.slider[0].set_value(4).run()
    caught_up(two)
    one.slider[1].set_value(7).run()
    caught_up(two)
    assert [slider.value for slider in one.slider] == [4, 7]
    assert [slider.value for slider in two.slider] == [4, 7]


def stopping(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync(room)
    if st.checkbox("stop", key="stop"):
        st.stop()
    st.slider("x", key="x")


def test_P3_widgets_below_st_stop_keep_their_values(room: str) -> None:
    one, two = session(stopping, room), session(stopping, room)
    one.slider[0].set_value(7).run()
    caught_up(two)
    one.checkbox[0].check().run()
    assert not one.slider
    caught_up(two)
    one.checkbox[0].uncheck().run()
    assert one.slider[0].value == 7
    caught_up(two)
    assert two.slider[0].value == 7
    one.run()
    assert one.slider[0].value == 7
