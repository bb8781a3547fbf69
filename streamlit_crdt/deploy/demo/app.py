"""A dashboard that one call of `crdt_sync` shares. The other code is that of a single-user app."""

import altair as alt
import pandas as pd
import streamlit as st

from streamlit_crdt import crdt_sync
from streamlit_crdt.deploy.demo.sales import DRINKS, FIRST_DAY, LAST_DAY, SHOPS, sales

MEASURES = {"Revenue (€)": "revenue", "Cups": "cups"}
STATUS_COLORS = {"connected": "green", "connecting": "orange", "offline": "red"}

st.set_page_config(page_title="Coffee sales, together", page_icon="☕", layout="wide")

# Shares all widgets below with every session that has this page open. "counter" adds up concurrent clicks.
room = crdt_sync("demo", merge={"cups_drunk": "counter"})


@st.cache_data
def load() -> pd.DataFrame:
    return sales()


sold = load()

with st.sidebar:
    st.header("Filters")
    regions = st.multiselect("Regions", list(SHOPS), default=list(SHOPS))
    drinks = st.pills("Drinks", list(DRINKS), selection_mode="multi", default=list(DRINKS))
    period = st.date_input("Period", (FIRST_DAY, LAST_DAY), min_value=FIRST_DAY, max_value=LAST_DAY)
    least = st.slider("Days with at least this many cups per shop", 0, 350, 0, step=10)
    measure = st.radio("Show", list(MEASURES), horizontal=True)

title, undo_redo, status = st.columns([4, 1, 1], vertical_alignment="bottom")
title.title("☕ Coffee sales, together")
with undo_redo.container(horizontal=True):
    st.button(
        "", icon=":material/undo:", help="Undo", key="undo", on_click=room.undo, disabled=not room.can_undo
    )
    st.button(
        "", icon=":material/redo:", help="Redo", key="redo", on_click=room.redo, disabled=not room.can_redo
    )
status.markdown(f":{STATUS_COLORS[room.status]}-badge[{room.status}]")
st.caption("Open this page in a second window and move anything: a filter, the notes, the cups counter.")

first, last = [*period, LAST_DAY][:2]  # `period` has one date until the second is picked
cups_of_day = sold.groupby(["day", "shop"])["cups"].transform("sum")
chosen = sold[
    sold["region"].isin(regions)
    & sold["drink"].isin(drinks)
    & sold["day"].between(pd.Timestamp(first), pd.Timestamp(last))
    & (cups_of_day >= least)
]

figures = st.columns(3)
figures[0].metric("Revenue", f"€ {chosen['revenue'].sum():,.0f}", border=True)
figures[1].metric("Cups", f"{chosen['cups'].sum():,}", border=True)
figures[2].metric("Shops", chosen["shop"].nunique(), border=True)

column = MEASURES[measure]
weekly = chosen.groupby([pd.Grouper(key="day", freq="W"), "region"], as_index=False)[column].sum()
st.altair_chart(
    alt.Chart(weekly)
    .mark_area(opacity=0.85)
    .encode(
        x=alt.X("day:T", title=None),
        y=alt.Y(f"{column}:Q", title=f"{measure} per week"),
        color=alt.Color("region:N", title=None, legend=alt.Legend(orient="top")),
        tooltip=["day:T", "region:N", f"{column}:Q"],
    )
    .properties(height=300)
)

notes_side, counter_side = st.columns([3, 1])
notes_side.text_area(
    "Notes", key="notes", placeholder="What do you see? Everyone can write here.", height=120
)

st.session_state.setdefault("cups_drunk", 0)


def drink() -> None:
    st.session_state.cups_drunk += 1


with counter_side:
    st.button("☕ One more cup", width="stretch", on_click=drink)
    st.metric("Drunk while looking at this", st.session_state.cups_drunk)

if st.checkbox("Show the rows"):
    st.dataframe(chosen.sort_values(["day", "shop", "drink"]), hide_index=True, height=320)
