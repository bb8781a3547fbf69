from __future__ import annotations

import logging
import threading
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pytest

from streamlit_crdt import ValueNotShareableError
from streamlit_crdt.binding import Binding
from streamlit_crdt.message import Message
from streamlit_crdt.mirror import CONFIRM_TRIES, VOLATILE_AFTER_ROUNDS, Mirror
from streamlit_crdt.replica import Replica
from streamlit_crdt.session import Session as LiveSession
from streamlit_crdt.session import registry
from streamlit_crdt.widgets import Widget
from streamlit_crdt_server import HubNotRunningError
from tests.test_mirror import Session, _same, number
from tests.test_sync import caught_up, fragment, room, session  # noqa: F401

# -- mirror


def test_P1_a_fragments_timer_that_brings_the_old_value_is_no_edit() -> None:
    room = Replica()
    one = Session(room, number("a"))
    one.run()
    one.message()
    room.set("a", 8)
    one.run(delivered=False)
    one.run(replace(one.message(), of_fragment=True))
    assert room.get("a") == 8


def test_P1_code_that_assigns_the_old_value_makes_an_edit() -> None:
    room = Replica()
    one = Session(room, number("a"))
    one.run()
    room.set("a", 8)
    one.run()
    message = one.message("reset")
    one.state["a"] = 0
    one.mirror.push(one.state, message, synced=True, at_top=True, assigned={"a"})
    assert one.replica.get("a") == 0


def test_P1_a_widget_that_the_browser_never_shows_is_not_waited_for_for_ever() -> None:
    room = Replica()
    one = Session(room, number("a"))
    one.run()
    room.set("a", 8)
    one.run()
    for _ in range(CONFIRM_TRIES):
        assert one.mirror.awaits_confirmation
        one.mirror.confirm(one.mirror.deliveries, Message({}), one.state)
    assert not one.mirror.awaits_confirmation


def test_P3_a_value_from_before_a_page_change_that_comes_back_is_no_edit() -> None:
    room = Replica()
    one = Session(room, number("a"))
    one.run()
    one.touch(a=5)
    one.mirror.page_changed()
    one.widgets, one.browser = (), {}
    one.state["a"] = 2  # Streamlit brings an older value back
    one.run(one.message())
    assert room.get("a") == 5


class Clocked(Session):
    """A script that assigns a new value to its widget's key each time before it draws the widget."""

    clock = 0

    def draw(self, widget: Widget) -> None:
        Clocked.clock = (Clocked.clock + 1) % 100
        self.state[widget.key] = Clocked.clock
        super().draw(widget)


def test_P4_a_widget_that_code_overwrites_on_each_run_does_not_wake_for_ever() -> None:
    room = Replica()
    one, two = Clocked(room, number("n")), Clocked(room, number("n"))
    one.run()
    two.run()
    rounds = 0
    for each in [two, one] * 15:
        each.replica.apply(room.diff())
        if each.mirror.needs_run():
            rounds += 1
            each.run(remote=True)
    assert 0 < rounds <= 2 * (VOLATILE_AFTER_ROUNDS + 1)


def test_P4_a_value_that_is_overwritten_now_and_then_is_not_volatile() -> None:
    room = Replica()
    one = Session(room)
    for value in range(0, 40, 4):
        room.set("x", value)
        one.run(body=lambda state: state.update(x=state["x"] + 1), remote=True)
        for extra in (2, 3):
            room.set("x", value + extra)
            one.run(remote=True)
    room.set("x", 100)
    one.replica.apply(room.diff())
    assert one.mirror.needs_run()


def test_R4_a_plain_value_that_was_changed_before_the_first_sync_wins_over_the_room() -> None:
    replica = Replica()
    mirror = Mirror(replica, lambda _key: True)
    mirror.push({"edited": 0, "first": 0}, None, synced=False)
    mirror.push({"edited": 1, "first": 0}, None, synced=False)
    replica.set("edited", 5)
    replica.set("first", 5)
    mirror.push({"edited": 1, "first": 0}, None, synced=True)
    assert (replica.get("edited"), replica.get("first")) == (1, 5)


class Odd:
    pass


def test_P2_an_option_that_the_widget_cannot_name_any_more_does_not_stop_the_run() -> None:
    def serialize(value: Any) -> Any:
        raise KeyError(value)

    room = Replica()
    widget = Widget("a", "$$ID-hash-a", "selectbox", True, serialize, _same)
    one = Session(room, widget)
    one.mirror.widgets["a"] = widget
    one.mirror.drew(widget, "fine", assigned=False)
    one.mirror.end_run(complete=True, remote=False)
    one.state["a"] = Odd()
    room.set("a", "other")
    message = Message({widget.element_id: b""})
    for _ in range(2):
        errors = one.mirror.push(one.state, message, synced=True, at_top=True)
        one.replica.apply(room.diff())
        one.mirror.begin_run()
        for write in one.mirror.plan(one.state):
            one.mirror.wrote(write, one.state)
        one.mirror.drew(widget, one.state["a"], assigned=False)
        one.mirror.check_drawn(one.state)
        one.mirror.confirm(one.mirror.deliveries, message, one.state)
    assert [error.key for error in errors] == ["a"]


# -- binding


class Peer:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.pushed: list[bytes] = []

    def push(self, update: bytes) -> Future[None]:
        done: Future[None] = Future()
        if self.error is None:
            self.pushed.append(update)
            done.set_result(None)
        else:
            done.set_exception(self.error)
        return done

    def drain(self) -> bytes | None:
        return None

    def close(self) -> None:
        pass


class Place:
    poll_s = None
    tab_brings_the_room = False

    def __init__(self, *peers: Any) -> None:
        self.peers = list(peers)

    def open(self, room: str) -> Any:
        peer = self.peers.pop(0)
        if isinstance(peer, Exception):
            raise peer
        return peer

    def socket(self, room: str) -> dict[str, Any]:
        return {}


def test_a_room_that_refuses_at_once_what_is_brought_along_is_left_and_joined_again() -> None:
    second = Peer()
    binding = Binding("r", Place(Peer(HubNotRunningError()), second))
    binding.replica.set("x", 1)
    joining = threading.Thread(target=binding.attach, daemon=True)
    joining.start()
    joining.join(5)
    assert not joining.is_alive()
    assert binding.status != "connected"
    binding.attach()
    other = Replica()
    other.apply(second.pushed[0])
    assert other.get("x") == 1


def test_a_room_that_cannot_be_joined_does_not_stop_the_app(caplog: pytest.LogCaptureFixture) -> None:
    binding = Binding("r", Place(HubNotRunningError()))
    with caplog.at_level(logging.WARNING):
        binding.attach()
        binding.attach()
    assert binding.status != "connected"
    assert len(caplog.records) == 1


def test_a_parallel_fragment_need_not_wait_for_the_sessions_lock() -> None:
    class Ctx:
        cursors: dict[int, int] = {}
        script_requests = None

    live = LiveSession("s")
    asked: list[object] = []
    with live.lock:
        worker = threading.Thread(target=lambda: asked.append(live.run_of(Ctx())), daemon=True)
        worker.start()
        worker.join(5)
        assert asked


# -- app


def chooser(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync, private_key

    which = st.radio("room", ["a", "b"], key=private_key("which"))
    crdt_sync(f"{room}-{which}")
    st.slider("x", key="x")
    st.session_state.setdefault("n", 0)
    if st.button("add"):
        st.session_state["n"] += 1


def test_a_session_that_changes_rooms_carries_no_edit_from_one_into_the_other(
    room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = session(chooser, room), session(chooser, room)
    one.slider[0].set_value(3)
    one.button[0].click().run()
    one.radio[0].set_value("b").run()
    one.slider[0].set_value(7)
    one.button[0].click().run()
    one.button[0].click().run()
    with monkeypatch.context() as patch:
        patch.setattr("streamlit_crdt._compat.fragments_of_run", lambda _ctx: ("f",))
        one.run()
    one.run()
    caught_up(two)
    assert (two.slider[0].value, two.session_state["n"]) == (3, 1)
    one.radio[0].set_value("a").run()
    one.run()
    assert (one.slider[0].value, one.session_state["n"]) == (3, 1)
    caught_up(two)
    assert (two.slider[0].value, two.session_state["n"]) == (3, 1)


def both_rooms(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    with crdt_sync(room + "-x") as first:
        st.slider("x", key="x")
    with crdt_sync(room + "-y") as second:
        st.slider("y", key="y")
        if st.toggle("more", key="more"):
            st.slider("z", key="z")
    st.write(sorted(first.state), sorted(second.state))


def test_a_widget_belongs_to_the_room_of_its_block_alone(room: str) -> None:
    one, two = session(both_rooms, room), session(both_rooms, room)
    for _ in range(2):
        one.slider[0].set_value(3)
        one.slider[1].set_value(4)
        one.toggle[0].set_value(True).run()
        caught_up(two)
        assert not two.exception
        assert [slider.value for slider in two.slider][:2] == [3, 4]
        one.slider[2].set_value(5).run()
        caught_up(two)
        assert not two.exception
        assert [slider.value for slider in two.slider] == [3, 4, 5]
    mine = [b for s in registry.sessions() for b in s.bindings.values() if b.room == room + "-x"]
    assert {key for b in mine for key in b.replica} == {"x"}


def reserved(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    room_ = crdt_sync(room)
    if st.button("go"):
        room_.state["$$ID-hash-x"] = 1
        room_.state["fine"] = 2


def test_a_key_that_streamlit_reserves_does_not_stop_the_others(room: str) -> None:
    one, two = session(reserved, room), session(reserved, room)
    one.button[0].click().run()
    caught_up(two)
    assert not two.exception
    assert two.session_state["fine"] == 2
    caught_up(one)
    assert not one.exception


def resets(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    def reset() -> None:
        st.session_state["n"] = 5

    crdt_sync(room)
    if st.button("reset in the script"):
        st.session_state["n"] = 5
        st.rerun()
    st.number_input("n", 0, 100, 5, key="n")
    st.button("reset", on_click=reset)


@pytest.mark.parametrize("button", [0, 1])
def test_P1_a_reset_to_the_value_before_the_remote_one_is_an_edit(room: str, button: int) -> None:
    one, two = session(resets, room), session(resets, room)
    one.number_input[0].set_value(9).run()
    caught_up(two)
    two.button[button].click().run()
    caught_up(one)
    assert (two.number_input[0].value, one.number_input[0].value) == (5, 5)


def secretive(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    room_ = crdt_sync(room, private=["secret"])
    if st.button("go"):
        room_.state["secret"] = "mine"


def test_P8_a_private_key_is_refused_by_the_rooms_state_too(room: str) -> None:
    one, two = session(secretive, room), session(secretive, room)
    one.button[0].click().run()
    assert "private" in one.exception[0].message
    caught_up(two)
    assert "secret" not in two.session_state


def keeps_a_model(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync(room)
    st.session_state.setdefault("model", object())
    st.button("go")


def test_R5_what_cannot_be_shared_is_logged_once(room: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        one = session(keeps_a_model, room)
        for _ in range(3):
            one.run()
    assert len([record for record in caplog.records if "'model'" in record.getMessage()]) == 1


def in_fragment(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    @st.fragment
    def part() -> None:
        crdt_sync(room)
        st.slider("inside", key="inside")

    part()
    st.slider("outside", key="outside")


def test_a_room_that_a_fragment_enters_has_the_fragments_widgets_only(room: str) -> None:
    one, two = session(in_fragment, room), session(in_fragment, room)
    one.slider[0].set_value(3)
    one.slider[1].set_value(4).run()
    caught_up(two)
    assert [slider.value for slider in two.slider] == [3, 0]


def test_a_widget_without_a_key_that_is_gone_and_that_nobody_changed_is_forgotten() -> None:
    room = Replica()
    one = Session(room)
    for size in range(50):
        one.widgets = (number(f"crdt:slider:{size}"),)
        one.browser, one.state = {}, {}
        one.run()
        if size == 20:
            one.touch(**{"crdt:slider:20": 5})
    assert set(one.mirror.widgets) == {"crdt:slider:20", "crdt:slider:49"}


def many_options(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync(room)
    runs = st.session_state.setdefault("crdt-private:runs", [])
    runs.append(1)
    st.selectbox("x", list(range(len(runs))))


def test_options_that_change_with_each_run_do_not_pile_up(room: str) -> None:
    one = session(many_options, room)
    for _ in range(5):
        one.run()
    assert not one.exception
    mine = [s for s in registry.sessions() for name in s.bindings if name == room]
    assert len(mine[0].bindings[room].mirror.widgets) == 1
    assert mine[0]._identities == {}
