"""Scripts with several rooms, blocks or calls of `crdt_sync`."""

from __future__ import annotations

import uuid

import pytest

from streamlit_crdt.session.streamlit_hooks import registry
from tests.support.app_sessions import caught_up, session


@pytest.fixture
def room() -> str:
    return f"room-{uuid.uuid4().hex[:12]}"


def two_rooms(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    with crdt_sync(room + "-x", keys=["x*"]):
        st.slider("x", key="x")
    with crdt_sync(room + "-y", keys=["y*"]):
        st.slider("y", key="y")


def test_two_rooms_in_one_script_share_their_keys(room: str) -> None:
    one, two = session(two_rooms, room), session(two_rooms, room)
    one.slider[0].set_value(3)
    one.slider[1].set_value(4).run()
    caught_up(two)
    assert [slider.value for slider in two.slider] == [3, 4]


def chooser(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync, private_key

    which = st.radio("room", ["a", "b"], key=private_key("which"))
    crdt_sync(f"{room}-{which}")
    st.slider("x", key="x")
    st.session_state.setdefault("n", 0)
    if st.button("add"):
        st.session_state["n"] += 1


def test_change_of_room_carries_no_edit_into_the_other_room(
    room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = session(chooser, room), session(chooser, room)
    one.slider[0].set_value(3)
    one.button[0].click().run()
    one.radio[0].set_value("b").run()
    one.slider[0].set_value(7)
    one.button[0].click().run()
    one.button[0].click().run()
    with monkeypatch.context() as patch:
        patch.setattr("streamlit_crdt._compat.run_context.fragments_of_run", lambda _ctx: ("f",))
        one.run()
    one.run()
    caught_up(two)
    assert (two.slider[0].value, two.session_state["n"]) == (3, 1)
    one.radio[0].set_value("a").run()
    one.run()
    assert (one.slider[0].value, one.session_state["n"]) == (3, 1)
    caught_up(two)
    assert (two.slider[0].value, two.session_state["n"]) == (3, 1)


def both_rooms(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    with crdt_sync(room + "-x") as first:
        st.slider("x", key="x")
    with crdt_sync(room + "-y") as second:
        st.slider("y", key="y")
        if st.toggle("more", key="more"):
            st.slider("z", key="z")
    st.write(sorted(first.state), sorted(second.state))


def test_widget_belongs_only_to_the_room_of_its_block(room: str) -> None:
    one, two = session(both_rooms, room), session(both_rooms, room)
    for _ in range(2):
        one.slider[0].set_value(3)
        one.slider[1].set_value(4)
        one.toggle[0].set_value(True).run()
        caught_up(two)
        assert not two.exception
        assert [slider.value for slider in two.slider][:2] == [3, 4]
        one.slider[2].set_value(5).run()
        caught_up(two)
        assert not two.exception
        assert [slider.value for slider in two.slider] == [3, 4, 5]
    of_first_room = [
        b for s in registry.sessions() for b in s.room_sessions.values() if b.room == room + "-x"
    ]
    assert {key for b in of_first_room for key in b.replica} == {"x"}


def in_fragment(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    @st.fragment
    def fragment_part() -> None:
        crdt_sync(room)
        st.slider("inside", key="inside")

    fragment_part()
    st.slider("outside", key="outside")


def test_room_entered_in_a_fragment_shares_only_its_widgets(room: str) -> None:
    one, two = session(in_fragment, room), session(in_fragment, room)
    one.slider[0].set_value(3)
    one.slider[1].set_value(4).run()
    caught_up(two)
    assert [slider.value for slider in two.slider] == [3, 0]


def called_twice(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync(room, private=["mine*"])
    crdt_sync(room, private=["secret"])
    for key in ("mine", "secret", "open"):
        st.session_state.setdefault(key, 1)
    st.button("go")


def test_P8_second_call_for_a_room_keeps_private_keys_private(room: str) -> None:
    one = session(called_twice, room)
    for _ in range(3):
        one.run()
    bindings = [b for s in registry.sessions() for name, b in s.room_sessions.items() if name == room]
    assert [list(binding.replica) for binding in bindings] == [["open"]]


def nested(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    with crdt_sync(room):
        with crdt_sync(room):
            st.slider("inner", key="inner")
        st.slider("outer", key="outer")
    st.slider("outside", key="outside")


def test_inner_block_of_the_same_room_does_not_end_the_outer(room: str) -> None:
    one, two = session(nested, room), session(nested, room)
    for number, slider in enumerate(one.slider, 3):
        slider.set_value(number)
    one.run()
    caught_up(two)
    assert [slider.value for slider in two.slider] == [3, 4, 0]


def leaving(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import _compat, crdt_sync
    from streamlit_crdt.session.streamlit_hooks import registry

    crdt_sync(room)
    if st.button("go"):
        live = registry.get(_compat.current_run().session_key)
        assert live is not None
        live.release()  # Streamlit does so when the page closes
        st.session_state["result"] = 42


def test_run_that_ends_after_its_page_shares_its_assignments(
    room: str,
) -> None:
    one = session(leaving, room)
    binding = next(live.room_sessions[room] for live in registry.sessions() if room in live.room_sessions)
    one.button[0].click().run()
    assert binding.connection.peer is None
    assert binding.flush(30)
    assert session(leaving, room).session_state["result"] == 42
