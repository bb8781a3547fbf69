"""`apart`: disconnected sessions."""

from __future__ import annotations

from streamlit_crdt.testing import sessions_of


def notes() -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    room = crdt_sync("notes", merge={"rounds": "counter"})
    st.text_area("Notes", key="notes")
    st.multiselect("Days", ["Mon", "Tue", "Wed"], key="days")
    st.number_input("n", 0, 100, 1, key="n")
    st.session_state.setdefault("rounds", 0)
    if st.button("Another round"):
        st.session_state.rounds += 1
    st.write(room.status, room.saved, room.unsaved_count)


def test_disconnected_session_merges_after_the_block() -> None:
    with sessions_of(notes, 3) as people:
        ada, ben, cem = people
        ada.text_area[0].set_value("Bring bread.").run()
        people.settle()
        with people.apart(ben):
            ada.text_area[0].set_value("Bring bread and wine.").run()
            ben.text_area[0].set_value("Please bring bread.").run()
            ben.number_input[0].set_value(3).run()
            people.settle()
            assert cem.text_area[0].value == "Bring bread and wine."
            assert (ben.text_area[0].value, cem.number_input[0].value) == ("Please bring bread.", 1)
        people.assert_converged()
        assert ben.text_area[0].value == "Please bring bread and wine."
        assert cem.number_input[0].value == 3


def test_apart_without_arguments_disconnects_all() -> None:
    with sessions_of(notes, 3) as people:
        with people.apart():
            for one, day in zip(people, ("Mon", "Tue", "Wed"), strict=True):
                one.button[0].click()
                one.multiselect[0].select(day).run()
        people.assert_converged()
        assert [one.session_state.rounds for one in people] == [3, 3, 3]
        assert all(one.multiselect[0].value == ["Mon", "Tue", "Wed"] for one in people)


def test_change_of_status_reruns_a_page_that_shows_it() -> None:
    with sessions_of(notes) as people:
        ada, ben = people
        assert ben.markdown[0].value == "connected `True` `0`"
        with people.apart(ben):
            people.settle()
            assert ben.markdown[0].value == "offline `True` `0`"
            ben.number_input[0].set_value(3).run()
            assert ben.markdown[0].value == "offline `False` `1`"
            assert ada.markdown[0].value == "connected `True` `0`"
        people.settle()
        assert ben.markdown[0].value == "connected `True` `0`"


def test_R4_session_joining_apart_writes_nothing_before_sync() -> None:
    with sessions_of(notes, 1) as people:
        ada = people[0]
        ada.number_input[0].set_value(7).run()
        with people.apart():
            ben = people.join()
            assert ben.number_input[0].value == 1
            ben.multiselect[0].select("Tue").run()
            assert people.values_in("notes") == {"n": 7, "rounds": 0}
        people.assert_converged()
        assert (ben.number_input[0].value, ada.multiselect[0].value) == (7, ["Tue"])


def test_apart_blocks_can_be_nested() -> None:
    with sessions_of(notes, 3) as people:
        ada, ben, cem = people
        with people.apart(ada):
            ada.number_input[0].set_value(2).run()
            with people.apart(ada, ben):
                ben.multiselect[0].select("Mon").run()
            people.settle()
            assert (cem.multiselect[0].value, cem.number_input[0].value) == (["Mon"], 1)
        people.assert_converged()
        assert cem.number_input[0].value == 2


def test_block_reconnects_after_an_error() -> None:
    with sessions_of(notes) as people:
        ada, ben = people
        try:
            with people.apart(ben):
                ada.number_input[0].set_value(2).run()
                raise KeyError
        except KeyError:
            people.assert_converged()
        assert ben.number_input[0].value == 2


def test_edits_made_apart_are_lost_with_the_session() -> None:
    with sessions_of(notes) as people:
        ada, ben = people
        with people.apart(ben):
            ben.number_input[0].set_value(2).run()
            people.leave(ben)
        people.assert_converged()
        assert ada.number_input[0].value == 1
