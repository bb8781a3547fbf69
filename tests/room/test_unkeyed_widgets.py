"""Widgets without a key, in scripts that AppTest runs."""

from __future__ import annotations

import uuid

import pytest

from streamlit_crdt.session.streamlit_hooks import registry
from tests.support.app_sessions import caught_up, session


@pytest.fixture
def room() -> str:
    return f"room-{uuid.uuid4().hex[:12]}"


def readme(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    with crdt_sync(room):
        y = st.slider("Select a value")
        st.write(y, "squared is", y * y)


def test_readme_example_shares_a_slider_without_a_key(room: str) -> None:
    one, two = session(readme, room), session(readme, room)
    one.slider[0].set_value(12).run()
    caught_up(two)
    assert two.slider[0].value == 12
    assert not two.exception


def early_import(room: str) -> None:
    from streamlit import number_input, slider

    from streamlit_crdt import crdt_sync

    crdt_sync(room)
    slider("a")
    number_input("b", 0, 10, 0)


def test_widget_functions_imported_before_the_library_are_shared(room: str) -> None:
    one, two = session(early_import, room), session(early_import, room)
    one.slider[0].set_value(3)
    one.number_input[0].set_value(4).run()
    caught_up(two)
    assert (two.slider[0].value, two.number_input[0].value) == (3, 4)


def fragment(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync(room)

    @st.fragment
    def fragment_part() -> None:
        st.slider("inside", key="inside")
        st.slider("unkeyed inside")

    fragment_part()


def test_fragment_shares_keyed_and_unkeyed_widgets(room: str) -> None:
    one, two = session(fragment, room), session(fragment, room)
    one.slider[0].set_value(3)
    one.slider[1].set_value(4).run()
    caught_up(two)
    assert [slider.value for slider in two.slider] == [3, 4]


def many_options(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync(room)
    runs = st.session_state.setdefault("crdt-private:runs", [])
    runs.append(1)
    st.selectbox("x", list(range(len(runs))))


def test_widget_with_changing_options_leaves_no_old_records(room: str) -> None:
    one = session(many_options, room)
    for _ in range(5):
        one.run()
    assert not one.exception
    sessions = [s for s in registry.sessions() for name in s.room_sessions if name == room]
    assert len(sessions[0].room_sessions[room].binding.widgets) == 1
    assert sessions[0]._run is not None
    assert sessions[0]._run.context.hooks._calls == {}
