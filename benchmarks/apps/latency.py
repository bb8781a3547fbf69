"""A text field and its value. Writes the time of each stage of an edit to stderr.

A line is `latency {"tab": ..., "event": ..., "at_ms": ..., "detail": ...}`. Functions of the library are wrapped here,
so that the library contains no code for the measurement.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from streamlit_crdt import crdt_sync
from streamlit_crdt.session.room_session import RoomSession
from streamlit_crdt.session.streamlit_hooks import registry
from streamlit_crdt_server import LocalPeer

ROOM = "latency"


def write_mark(tab: str | None, event: str, at_s: float, detail: object = None) -> None:
    line = json.dumps({"tab": tab, "event": event, "at_ms": at_s * 1_000, "detail": detail})
    # One unbuffered call, so that lines of several threads do not mix.
    os.write(sys.stderr.fileno(), f"latency {line}\n".encode())


@st.cache_resource(show_spinner=False)
def instrument() -> dict[object, str]:
    """Wrap the functions once per process.

    Returns:
        Names of tabs by room session and by local peer. The script adds its own.
    """
    names: dict[object, str] = {}
    receive, push, deliver = RoomSession.receive, LocalPeer.push, LocalPeer.deliver
    collection_started_s = [0.0]

    def timed_receive(room_session: Any, frame: Any, report: Any, client_state: Any) -> bool:
        write_mark(names.get(room_session), "callback", time.time(), report.why)
        return receive(room_session, frame, report, client_state)

    def timed_push(peer: Any, update: bytes) -> Any:
        at_s = time.time()
        pushed = push(peer, update)
        write_mark(names.get(peer), "push", at_s)
        return pushed

    def timed_deliver(peer: Any, frame: bytes, update: bytes | None = None) -> None:
        deliver(peer, frame, update)
        if update is not None:
            write_mark(names.get(peer), "deliver", time.time())

    def timed_collection(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            collection_started_s[0] = time.time()
        elif info["generation"] == 2:
            write_mark(None, "collection", time.time(), (time.time() - collection_started_s[0]) * 1_000)

    peers: Any = LocalPeer
    sessions: Any = RoomSession
    sessions.receive, peers.push, peers.deliver = timed_receive, timed_push, timed_deliver
    gc.callbacks.append(timed_collection)
    return names


started_s = time.time()
tab = st.query_params.get("tab", "")
names = instrument()
ctx = get_script_run_ctx()
assert ctx is not None

with crdt_sync(ROOM, server=os.environ.get("CRDT_SERVER")):
    synced_s = time.time()
    session = registry.get(ctx.session_id)
    assert session is not None
    room_session = session.room_sessions[ROOM]
    names[room_session] = names[room_session.connection.peer] = tab
    st.text_input("edit", key="edit")

with st.container(key="shown"):
    st.text(st.session_state["edit"])

write_mark(tab, "script", started_s, st.session_state["edit"])
write_mark(tab, "synced", synced_s)
write_mark(tab, "script-end", time.time())
