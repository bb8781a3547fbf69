"""A chat. Run `streamlit run examples/chat.py` and open it in two windows."""

import os

import streamlit as st

from streamlit_crdt import crdt_sync, private_key

st.title("Chat")
name = st.text_input("Your name", "Guest", key=private_key("name"))

with crdt_sync(st.query_params.get("room", "chat"), server=os.environ.get("CRDT_SERVER")) as room:
    messages = room.list("messages")
    if text := st.chat_input("Say something"):
        messages.append({"name": name, "text": text})
    for message in messages:
        with st.chat_message("user" if message["name"] == name else "human"):
            st.markdown(f"**{message['name']}**")
            st.text(message["text"])
