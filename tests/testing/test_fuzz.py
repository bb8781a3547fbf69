"""Random actions of several sessions, connected or apart, converge. The test id of a failure contains its seed."""

from __future__ import annotations

from random import Random

import pytest
from streamlit.testing.v1 import AppTest

from streamlit_crdt.testing import Sessions, sessions_of

SEEDS = range(4)
SOAK_SEEDS = range(4, 104)
STEPS = 30
WORDS = ["bread", "wine", "cheese", "grapes", "🍇", "ä"]


def everything() -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync, private_key

    room = crdt_sync("room", merge={"clicks": "counter"})
    st.session_state.setdefault("clicks", 0)
    st.slider("Guests", 0, 50, 8, key="guests")
    st.number_input("without a key", 0, 100, 1)
    st.text_area("Notes", "Bring ", key="notes")
    st.multiselect("Days", ["Mon", "Tue", "Wed", "Thu"], key="days")
    st.selectbox("Meal", ["soup", "rice", "cake"], index=None)
    if st.checkbox("more", key=private_key("more")):
        st.slider("hidden", 0.0, 1.0, key="hidden")
    if st.button("click", key="click"):
        st.session_state.clicks += 1
        st.session_state.setdefault("plan", {})[f"n{st.session_state.clicks % 5}"] = st.session_state.guests
    if st.button("append", key="append"):
        room.list("log").append(st.session_state.guests)
    if st.button("delete", key="delete"):
        st.session_state.pop("plan", None)
    st.button("undo", key="undo", on_click=room.undo)


def random_edit(one: AppTest, chance: Random) -> None:
    """Make one to three random edits on a page, and run it."""
    for _ in range(chance.randint(1, 3)):
        match chance.randrange(8):
            case 0:
                one.slider(key="guests").set_value(chance.randint(0, 50))
            case 1:
                one.number_input[0].set_value(chance.randint(0, 100))
            case 2:
                text = one.text_area[0].value or ""
                at = chance.randint(0, len(text))
                one.text_area[0].set_value(
                    text[:at] + chance.choice(WORDS) + text[at + chance.randint(0, 3) :]
                )
            case 3:
                chosen = chance.sample(["Mon", "Tue", "Wed", "Thu"], chance.randint(0, 3))
                one.multiselect[0].set_value(chosen)
            case 4:
                one.selectbox[0].set_value(chance.choice(["soup", "rice", "cake", None]))
            case 5:
                one.checkbox[0].set_value(chance.random() < 0.6)
            case 6:
                for slider in list(one.slider)[1:]:
                    slider.set_value(chance.random())
            case _:
                one.button(key=chance.choice(["click", "append", "delete", "undo"])).click()
    if chance.random() < 0.8:  # otherwise the text stays a draft
        one.run()


def random_actions(people: Sessions, chance: Random) -> None:
    for _ in range(STEPS):
        match chance.randrange(8):
            case 0:
                apart = chance.sample(list(people), chance.randint(0, len(people)))
                with people.apart(*apart):
                    for one in chance.choices(people, k=chance.randint(1, 6)):
                        random_edit(one, chance)
                    if chance.random() < 0.3:
                        people.settle()
            case 1:
                people.settle()
            case 2 if len(people) < 5 and chance.random() < 0.4:
                people.join()
            case 3 if len(people) > 2 and chance.random() < 0.4:
                people.leave(chance.choice(people))
            case _:
                random_edit(chance.choice(people), chance)


@pytest.mark.parametrize("seed", SEEDS)
def test_random_actions_converge(seed: int) -> None:
    print(f"seed {seed}")
    use_the_app(Random(seed))


@pytest.mark.soak
@pytest.mark.parametrize("seed", SOAK_SEEDS)
def test_random_actions_converge_in_a_long_run(seed: int) -> None:
    print(f"seed {seed}")
    use_the_app(Random(seed))


def use_the_app(chance: Random) -> None:
    with sessions_of(everything, 3) as people:
        random_actions(people, chance)
        for one in people:
            one.run()
        people.assert_converged()
        assert {"clicks", "guests", "notes"} <= people.values_in("room").keys()
