"""An app on a simulated busy machine: output and remote edits reach the page late."""

import asyncio
import json

import streamlit as st
from streamlit.runtime.app_session import AppSession

from streamlit_crdt import crdt_sync, private_key
from streamlit_crdt_server.room.peers import SocketPeer

OUTPUT_DELAY_S = 0.1
ROOM_LATE_S = 0.06


@st.cache_resource
def make_late() -> None:
    deliver = SocketPeer.deliver

    def draw_later(self, callback):
        loop = self._event_loop
        loop.call_soon_threadsafe(lambda: loop.call_later(OUTPUT_DELAY_S, callback))

    def deliver_later(self, *frame):
        asyncio.get_running_loop().call_later(ROOM_LATE_S, lambda: deliver(self, *frame))

    AppSession._call_soon_on_event_loop = draw_later
    SocketPeer.deliver = deliver_later


make_late()
crdt_sync(st.query_params.get("room", "late"))
shared = st.number_input("b", 0, 100_000, 0, key="b")
note = st.number_input("note", 0, 100_000, 0, key=private_key("note"))
if note:
    st.session_state["note"] = note
with st.container(key="state"):
    st.text(json.dumps({"b": shared, "note": st.session_state.get("note", 0)}))
