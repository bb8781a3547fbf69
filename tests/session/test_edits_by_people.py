"""Edits by people and computed edits (R9): equal additions of two people are two, equal computed edits are one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from streamlit_crdt.testing import sessions_of


def press(person: AppTest, key: str) -> AppTest:
    return next(button for button in person.button if button.key == key).click().run()


FILE: list[str] = []


def board() -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync
    from tests.session.test_edits_by_people import FILE

    state = st.session_state
    with crdt_sync("room", merge={"votes": "counter"}) as room:
        state.setdefault("chat", [])
        state.setdefault("explicit", [])
        state.setdefault("cards", [])
        state.setdefault("votes", 10)
        state.setdefault("seen", [])

        def add() -> None:
            state.cards.append(state.draft)

        def start() -> None:
            state.cards = ["one", "two"]

        level = st.slider("level", key="level")
        state.levels = list(range(level))
        st.text_area("Notes", key="notes")
        st.text_input("Draft", key="draft", on_change=add)
        if text := st.chat_input("Say", key="say"):
            state.chat.append(text)
            room.list("explicit").append(text)
            room.text("log").append(text)
        if st.button("start", key="start") and not state.chat:
            state.chat = ["welcome", "please be kind"]
        st.button("deal", key="deal", on_click=start)
        if st.button("template", key="template"):
            state.text = "Café:\n- 👍 first\n"
        if st.button("change", key="change"):
            state.text = state.text.replace("first", "second")
        if st.button("spoil", key="spoil"):
            del state.chat[1:]
            state.votes += 7
        if st.button("vote", key="vote"):
            state.votes += 1
        st.button("save", key="save", on_click=lambda: room.snapshots.save("v"))
        st.button("restore", key="restore", on_click=lambda: room.snapshots.restore("v"))
        st.button("export", key="export", on_click=lambda: FILE.append(room.export()))
        st.button("load", key="load", on_click=lambda: room.load(FILE[0]))


def say(text: str) -> Callable[[AppTest], Any]:
    return lambda person: person.chat_input(key="say").set_value(text).run()


def click(key: str) -> Callable[[AppTest], Any]:
    return lambda person: press(person, key)


def draft(text: str) -> Callable[[AppTest], Any]:
    return lambda person: person.text_input(key="draft").set_value(text).run()


def slide(level: int) -> Callable[[AppTest], Any]:
    return lambda person: person.slider(key="level").set_value(level).run()


def write(text: str) -> Callable[[AppTest], Any]:
    return lambda person: person.text_area(key="notes").set_value(text).run()


Act = Callable[[AppTest], Any]


def results(before: list[Act], at_once: list[Act]) -> dict[str, Any]:
    """Return the values after acts of one person, and one act of each person at the same moment."""
    with sessions_of(board) as people:
        people.settle()
        for act in before:
            act(people[0])
            people.settle()
        with people.apart():
            for act, person in zip(at_once, people, strict=True):
                act(person)
        people.assert_converged()
        return people.values_in("room")


def test_R9_two_people_who_say_the_same_are_two_messages() -> None:
    values = results([], [say("hi"), say("hi")])
    assert values["chat"] == values["explicit"] == ["hi", "hi"]
    assert values["log"] == "hihi"


def test_R9_two_people_who_add_the_same_in_a_callback_add_two() -> None:
    assert results([], [draft("x"), draft("x")])["cards"] == ["x", "x"]


def test_R9_two_people_who_start_an_empty_list_start_once() -> None:
    assert results([], [click("start"), click("start")])["chat"] == ["welcome", "please be kind"]


def test_R9_two_people_who_replace_a_list_replace_it_once() -> None:
    assert results([draft("x")], [click("deal"), click("deal")])["cards"] == ["one", "two"]


def test_R9_two_people_who_assign_a_text_assign_it_once() -> None:
    assert results([], [click("template"), click("template")])["text"] == "Café:\n- 👍 first\n"
    values = results([click("template")], [click("change"), click("change")])
    assert values["text"] == "Café:\n- 👍 second\n"


def test_R9_two_people_who_commit_a_text_commit_it_once() -> None:
    assert results([write("Grüße 👍")], [write("Grüße 👍 an alle")] * 2)["notes"] == "Grüße 👍 an alle"


def test_R9_list_computed_from_a_widget_by_two_people_stands_once() -> None:
    assert results([slide(2)], [slide(5), slide(5)])["levels"] == [0, 1, 2, 3, 4]


def test_R9_two_people_who_vote_are_two_votes() -> None:
    assert results([], [click("vote"), click("vote")])["votes"] == 12


@pytest.mark.parametrize("action", ["restore", "load"])
def test_R9_two_people_who_restore_restore_once(action: str) -> None:
    FILE.clear()
    first = [say("a"), say("b"), write("Türen öffnen um acht 👍."), click("save"), click("export")]
    values = results([*first, click("spoil"), write("Türen")], [click(action), click(action)])
    assert values["chat"] == ["a", "b"]
    assert values["notes"] == "Türen öffnen um acht 👍."
    assert values["votes"] == 10


def test_R9_restoring_keeps_what_another_person_adds_meanwhile() -> None:
    before = [say("a"), say("b"), click("save"), click("spoil")]
    values = results(before, [click("restore"), say("c")])
    assert sorted(values["chat"]) == ["a", "b", "c"]
    assert values["votes"] == 10


def test_R9_click_that_computes_from_an_arrived_key_is_no_addition() -> None:
    with sessions_of(board) as people:
        ada, ben = people
        people.settle()
        with people.apart():
            ada.slider(key="level").set_value(3).run()
        press(ben, "vote")  # its run receives the slider before the list
        people.assert_converged()
        assert people.values_in("room")["levels"] == [0, 1, 2]
