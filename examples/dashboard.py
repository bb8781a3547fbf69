"""A plan for an evening. Run `streamlit run examples/dashboard.py` and open it in two windows.

Choose a room in the sidebar, change a widget, and watch the other window.
"""

import altair as alt
import pandas as pd
import streamlit as st

from streamlit_crdt import crdt_sync, private_key, select_room_widget

VENUES = {"Garden": (0, 120), "Old cinema": (900, 250), "Town hall": (2400, 600)}  # rent in €, seats

st.set_page_config("An evening together", "🎪", layout="wide")

name = select_room_widget()  # lists, creates, joins and leaves rooms; returns None outside of any room

with crdt_sync(name, merge={"votes": "counter"}) as room:
    title, tools = st.columns([2, 1], vertical_alignment="bottom")
    title.title("An evening together")
    with tools.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center"):
        room.status_badge()
        room.snapshot_menu()  # saves and restores these values by name, and as a file

    # --- sliders and choices, with and without a key: shared with all sessions in the room -------------------
    left, right = st.columns([1, 2], gap="large")
    with left:
        venue = st.selectbox("Where", VENUES)
        price = st.slider("A ticket costs (€)", 0, 40, 12)
        lowest, highest = st.slider("How many may come", 0, 600, (60, 200), step=20)
        drinks = st.multiselect("We pour", ["Juice", "Beer", "Wine", "Mate"], default=["Juice"])
        indoors = st.toggle("It will rain", key="rain")

    # --- derived values: computed in each session, not shared -------------------------------------------------
    rent, seats = VENUES[venue]
    fee = 400 + 50 * st.session_state.get("acts_wanted", 2) + (300 if indoors and venue == "Garden" else 0)
    people = list(range(0, 601, 20))
    result = pd.DataFrame(
        {
            "people": people,
            "profit": [min(n, seats) * (price + 1.5 * len(drinks)) - rent - fee for n in people],
        }
    )
    result["expected"] = result["people"].between(lowest, highest)
    expected = result[result["expected"]]["profit"]
    with right:
        figures = st.columns(3)
        figures[0].metric("At worst", f"{expected.min():,.0f} €", border=True)
        figures[1].metric("At best", f"{expected.max():,.0f} €", border=True)
        figures[2].metric("Seats", seats, border=True)
        bars = alt.Chart(result).mark_bar(cornerRadius=2).encode(
            x=alt.X("people:O", title="people", axis=alt.Axis(labelOverlap=True, labelAngle=0)),
            y=alt.Y("profit:Q", title="€"),
            color=alt.condition("datum.profit >= 0", alt.value("#21c354"), alt.value("#ff4b4b")),
            opacity=alt.condition("datum.expected", alt.value(1.0), alt.value(0.3)),
        )  # fmt: skip
        st.altair_chart(bars.properties(height=280))

    # --- text, buttons, forms --------------------------------------------------------------------------------
    writing, voting, asking = st.columns(3, gap="large")
    with writing:
        st.subheader("Notes")
        st.text_area("Notes", key="notes", height=160, label_visibility="collapsed",
                     placeholder="Several people can write here at once.")  # fmt: skip
        # Private: never leaves this session.
        st.text_input("What only you see", key=private_key("reminder"))

    with voting:
        st.subheader("Votes")
        st.session_state.setdefault("votes", 0)
        with st.container(horizontal=True, vertical_alignment="center"):
            if st.button("Let's do it", icon=":material/thumb_up:"):
                st.session_state.votes += 1  # the click acts in this session, the new value is shared
            if st.button("Balloons", help="Only in this window"):
                st.balloons()
        st.metric("Votes so far", st.session_state.votes, border=True)

        # The fields of a form are shared on submit.
        with st.form("stage"):
            st.number_input("Acts on stage", 1, 10, 2, key="acts_wanted")
            st.form_submit_button("Apply")

    with asking:
        st.subheader("Acts")
        with st.form("propose", clear_on_submit=True):
            act = st.text_input("An act to invite")
            if st.form_submit_button("Propose") and act:
                st.session_state["acts"] = [*st.session_state.get("acts", []), act]
        for number, proposed in enumerate(st.session_state.get("acts", []), 1):
            st.markdown(f"{number}. {proposed}")
