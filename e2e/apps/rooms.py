"""An app with a choice of rooms, by the library's room picker or by buttons of the app."""

import json
import os

import streamlit as st

from streamlit_crdt import crdt_sync, private_key, rooms, select_room_widget

SERVER = os.environ.get("CRDT_SERVER")
own = st.query_params.get("ui") == "own"
st.session_state.setdefault(private_key("runs"), 0)
st.session_state[private_key("runs")] += 1

outside = st.number_input("outside", value=1, key=private_key("outside"))
own = st.session_state.setdefault(private_key("own"), own)
if own:
    with st.container(horizontal=True):
        for listed in rooms.list_rooms(server=SERVER):
            label = f"go to {listed} ({listed.people})"
            st.button(label, key=private_key(f"go {listed}"), on_click=rooms.enter_room, args=(listed,))
        st.button("to a", on_click=rooms.enter_room, args=("own-a",))
        st.button("to b", on_click=rooms.enter_room, args=("own-b",))
        st.button("out", on_click=rooms.exit_room)
    name = rooms.current_room()
else:
    name = select_room_widget(server=SERVER)

with crdt_sync(name, server=SERVER) as room:
    number = st.number_input("number", value=0, key="number")
    st.number_input("unkeyed", value=0)
    text = st.text_input("text", key="text")
    mine = st.number_input("mine", value=0, key=private_key("mine"))
    if st.button("assign"):
        st.session_state["plain"] = number
    if st.button("delete the room"):
        rooms.delete_room(name, server=SERVER)
        st.rerun()
    flushed = st.button("flush") and room.flush()
    if name is not None:
        room.status_badge()
    with st.container(key="state"):
        st.text(
            json.dumps(
                {
                    "room": name,
                    "number": number,
                    "text": text,
                    "mine": mine,
                    "outside": outside,
                    "plain": st.session_state.get("plain"),
                    "status": room.status,
                    "flushed": flushed,
                    "runs": st.session_state[private_key("runs")],
                }
            )
        )
