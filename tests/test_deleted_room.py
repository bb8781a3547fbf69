"""A room that is deleted while people are in it: nothing of it comes into the one that begins anew."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from streamlit.testing.v1 import AppTest

from streamlit_crdt import place
from streamlit_crdt.binding import Binding
from streamlit_crdt.channel import decode_frame
from streamlit_crdt.registry import registry
from tests.scripted import ScriptedPeer, ScriptedPlace


@pytest.fixture
def room() -> str:
    return f"room-{uuid.uuid4().hex[:12]}"


def app(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync(room)
    st.slider("moved", key="moved")
    if st.button("assign"):
        st.session_state["plain"] = 1
    st.write(str(st.session_state.get("plain")))


def delete(room: str) -> None:
    hub = place.find(None).server.hub  # type: ignore[attr-defined]
    assert hub.loop is not None
    asyncio.run_coroutine_threadsafe(hub.delete_room(name=room), hub.loop).result(10)


def flush(room: str) -> None:
    for live in registry.sessions():
        if room in live.bindings:
            assert live.bindings[room].flush(timeout_s=5)


def session(room: str) -> AppTest:
    return AppTest.from_function(app, kwargs={"room": room}).run()


def test_sessions_that_are_in_a_deleted_room_bring_nothing_into_the_next(room: str) -> None:
    one, two = session(room), session(room)
    one.slider[0].set_value(7)
    one.button[0].click().run()
    flush(room)
    two.run()
    assert two.session_state["plain"] == 1
    delete(room)
    for _ in range(2):
        one.run()
        two.run()
    assert not one.exception
    assert "plain" not in one.session_state
    assert [list(live.bindings[room].replica) for live in registry.sessions() if room in live.bindings] == [
        [],
        [],
    ]
    late = session(room)
    assert late.slider[0].value == 0
    assert "plain" not in late.session_state


def test_a_thread_that_finds_the_room_begun_anew_exchanges_nothing_that_another_is_using() -> None:
    first, second = ScriptedPeer("1" * 32), ScriptedPeer("2" * 32)
    binding = Binding("r", ScriptedPlace(first, second))
    way = binding.way
    way.attach()
    way.replica.set("a", 1)
    replica, link = way.replica, way.link
    first.is_closed = True
    joined = way.reach()
    assert (way.replica, way.link) == (replica, link)
    replica.set("b", 1)  # by a script that goes on meanwhile
    way.arrive(joined)
    assert way.replica is not replica
    assert second.updates == []


def test_a_tab_that_asks_before_the_replica_was_exchanged_gets_nothing_of_the_deleted_room() -> None:
    first, second = ScriptedPeer("1" * 32), ScriptedPeer("2" * 32)
    binding = Binding("r", ScriptedPlace(first, second))
    binding.attach()
    binding.replica.set("a", 1)
    first.is_closed = True
    joined = binding.way.reach()
    sent = decode_frame(binding.frame())
    assert (sent.extra["epoch"], sent.v) == (second.epoch, 0)
    binding.way.arrive(joined)
    assert second.updates == []


def test_after_a_room_was_deleted_its_people_go_on_in_the_new_one(room: str) -> None:
    one, two = session(room), session(room)
    one.slider[0].set_value(7).run()
    flush(room)
    two.run()
    delete(room)
    one.run()
    two.run()
    one.slider[0].set_value(8)
    one.button[0].click().run()
    flush(room)
    two.run()
    assert (two.slider[0].value, two.session_state["plain"]) == (8, 1)
