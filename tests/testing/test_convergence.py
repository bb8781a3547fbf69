"""`assert_converged`: failures and their messages."""

from __future__ import annotations

import pytest

from streamlit_crdt.document.replica import ROOM
from streamlit_crdt.session.streamlit_hooks import registry
from streamlit_crdt.testing import (
    NotConvergedError,
    NothingSharedError,
    Sessions,
    StillApartError,
    sessions_of,
)


def failure(people: Sessions) -> str:
    with pytest.raises(NotConvergedError) as raised:
        people.assert_converged()
    return str(raised.value)


def narrow(top: int) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync("room")
    st.slider("Guests", 0, top, key="guests")
    st.slider("other", 0, 100, key="other")


def test_P2_widget_that_cannot_show_the_room_value_differs() -> None:
    with sessions_of(narrow, 0) as people:
        wide = people.join(args=(100,))
        people.join(args=(10,))
        wide.slider(key="other").set_value(3).run()
        people.assert_converged()
        wide.slider(key="guests").set_value(50).run()
        assert failure(people) == (
            "the sessions do not show the same:\n"
            "  'guests' in room 'room'\n"
            "    the room   50\n"
            "    people[0]  50\n"
            "    people[1]  0   its widget cannot show the room's value (rule P2)"
        )
        people.assert_converged(ignore=["gue*"])
        people.assert_converged(wide)
        wide.slider(key="guests").set_value(7).run()
        people.assert_converged()


def defaults_differ(start: int) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync("room")
    st.slider("Guests", 0, 100, start, key="guests")
    st.session_state.setdefault("model", object())


def test_different_defaults_differ_until_a_value_is_set() -> None:
    with sessions_of(defaults_differ, 0) as people:
        ada, _ben = people.join(args=(5,)), people.join(args=(6,))
        assert "the room   nothing\n    people[0]  5\n    people[1]  6" in failure(people)
        ada.slider[0].set_value(8).run()
        people.assert_converged()


def unkeyed(step: int) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync("room", private=["secret"])
    st.slider("Select a value", 0, 100)
    st.session_state["secret"] = step
    st.button("go", key="go")
    if step:
        st.session_state["first"] = "x" * 100 + "1"


def test_unkeyed_widget_is_named_by_label_and_private_keys_ignored() -> None:
    with sessions_of(unkeyed, 0) as people:
        ada, ben = people.join(args=(0,)), people.join(args=(0,))
        ada.slider[0].set_value(3).run()
        people.assert_converged()
        ben.args = (1,)
        ben.run()
        people.assert_converged()
        assert ada.session_state["secret"] == 0
        session = registry.sessions()[0]
        key = next(key for key in session.room_sessions["room"].binding.widgets if key.startswith("crdt:"))
        session.room_sessions["room"].detach()
        session.room_sessions["room"].replica.set(key, 4)
        message = failure(people)
        assert "the slider 'Select a value' in room 'room'" in message
        assert "its replica holds 4" in message


def assigns(text: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync("room", merge={"text": "value"})
    if st.button("go"):
        st.session_state["text"] = text


def test_long_texts_are_shown_from_their_difference() -> None:
    with sessions_of(assigns, 0) as people:
        ada, ben = people.join(args=("same " * 30 + "Ada",)), people.join(args=("same " * 30 + "Ben",))
        ada.button[0].click().run()
        people.assert_converged()
        ben.session_state["text"] = "same " * 30 + "Ben"
        message = failure(people)
        assert "…'same same same Ada'" in message
        assert "…'same same same Ben'" in message


def test_different_replica_of_an_invisible_key_differs() -> None:
    with sessions_of(assigns, 2, args=("x",)) as people:
        people[0].button[0].click().run()
        people.assert_converged()
        replica = registry.sessions()[1].room_sessions["room"].replica
        other = type(replica)()
        other.set("hidden", 1)
        replica.apply(other.diff(), origin=ROOM)
        assert "people[1]  nothing   its replica holds 1" in failure(people)


def chooses() -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync, private_key

    which = st.radio("room", [None, "a", "b"], key=private_key("which"))
    crdt_sync(which)
    st.slider("x", key="x")


def test_sessions_without_a_common_room_raise_NothingSharedError() -> None:
    with sessions_of(chooses) as people:
        ada, ben = people
        with pytest.raises(NothingSharedError, match=r"people\[0\] is in none"):
            people.assert_converged()
        ada.radio[0].set_value("a").run()
        ada.slider[0].set_value(3).run()
        ben.radio[0].set_value("b").run()
        with pytest.raises(NothingSharedError, match=r"people\[0\] is in a; people\[1\] is in b"):
            people.assert_converged()
        ben.slider[0].set_value(7).run()
        ben.radio[0].set_value("a").run()
        people.assert_converged()
        assert ben.slider[0].value == 3
        assert (people.values_in("a"), people.values_in("b")) == ({"x": 3}, {"x": 7})


def test_comparing_a_session_that_is_apart_raises() -> None:
    with sessions_of(narrow, 3, args=(10,)) as people:
        ada, ben, cem = people
        with people.apart(ben):
            ada.slider(key="guests").set_value(3).run()
            with pytest.raises(StillApartError, match=r"people\[1\]"):
                people.assert_converged()
            people.assert_converged(ada, cem)
            assert (cem.slider[0].value, ben.slider[0].value) == (3, 0)
