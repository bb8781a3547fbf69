"""`crdt_sync` in real scripts, run by Streamlit's AppTest: several sessions of one app, no browser."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

import streamlit_crdt
from streamlit_crdt import RoomNameError, ValueNotShareableError, crdt_sync, private_key
from streamlit_crdt._compat import run_context_of
from streamlit_crdt.backend.backend import RemoteBackend
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.session.room_session import RoomSession
from streamlit_crdt.session.session import Session as LiveSession
from streamlit_crdt.session.streamlit_hooks import registry
from streamlit_crdt.transport.frame import StatusReport
from streamlit_crdt_server import HubNotRunningError
from tests.support.app_sessions import caught_up, session
from tests.support.scripted_backend import ScriptedBackend


@pytest.fixture
def room() -> str:
    return f"room-{uuid.uuid4().hex[:12]}"


def readme(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    with crdt_sync(room):
        y = st.slider("Select a value")
        st.write(y, "squared is", y * y)


def test_the_example_of_the_readme_shares_a_slider_without_a_key(room: str) -> None:
    one, two = session(readme, room), session(readme, room)
    one.slider[0].set_value(12).run()
    caught_up(two)
    assert two.slider[0].value == 12
    assert not two.exception


def early_import(room: str) -> None:
    from streamlit import number_input, slider

    from streamlit_crdt import crdt_sync

    crdt_sync(room)
    slider("a")
    number_input("b", 0, 10, 0)


def test_widgets_imported_before_the_library_are_shared_too(room: str) -> None:
    one, two = session(early_import, room), session(early_import, room)
    one.slider[0].set_value(3)
    one.number_input[0].set_value(4).run()
    caught_up(two)
    assert (two.slider[0].value, two.number_input[0].value) == (3, 4)


def callbacks(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    def reset() -> None:
        st.session_state["n"] = 0
        st.session_state["log"] = [*st.session_state.get("log", []), "reset"]

    crdt_sync(room)
    st.number_input("n", 0, 100, 5, key="n")
    st.button("reset", on_click=reset)


def test_what_a_callback_sets_is_shared(room: str) -> None:
    one, two = session(callbacks, room), session(callbacks, room)
    one.number_input[0].set_value(9).run()
    caught_up(two)
    assert two.number_input[0].value == 9
    two.button[0].click().run()
    caught_up(one)
    assert one.number_input[0].value == 0
    assert one.session_state["log"] == ["reset"]


def endings(room: str, how: str = "end") -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    with crdt_sync(room):
        if st.button("go"):
            st.session_state["done"] = how
            if how == "stop":
                st.stop()
            if how == "rerun":
                st.rerun()
            if how == "error":
                raise RuntimeError("an app's own error")
        st.session_state.setdefault("after", 0)


def without_block(room: str, how: str = "end") -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync(room)
    if st.button("go"):
        st.session_state["done"] = how
        if how == "stop":
            st.stop()
        if how == "rerun":
            st.rerun()
        if how == "error":
            raise RuntimeError("an app's own error")


@pytest.mark.parametrize("app", [endings, without_block], ids=["with", "without"])
@pytest.mark.parametrize("how", ["end", "stop", "rerun", "error"])
def test_however_a_run_ends_what_it_assigned_is_pushed(room: str, app: Callable[..., None], how: str) -> None:
    one, two = session(app, room, how=how), session(app, room, how=how)
    one.button[0].click().run()
    caught_up(two)
    assert two.session_state["done"] == how


def unshareable(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    with crdt_sync(room):
        if st.button("go"):
            st.session_state["a"] = 1
            st.session_state["lock"] = object()
            st.session_state["z"] = 2
        st.slider("x", key="x")


def test_R5_an_unshareable_value_is_named_and_everything_else_is_shared(room: str) -> None:
    one, two = session(unshareable, room), session(unshareable, room)
    one.slider[0].set_value(8)
    one.button[0].click().run()
    assert "lock" in one.exception[0].message
    assert "object" in one.exception[0].message
    caught_up(two)
    assert not two.exception
    assert (two.session_state["a"], two.session_state["z"], two.slider[0].value) == (1, 2, 8)
    assert "lock" not in two.session_state


def selective(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync, private_key

    with crdt_sync(room, keys=["a*", "b"], private=["a_secret*"]):
        for name in ("a1", "a_secret1", "b", "c", private_key("a2")):
            st.number_input(name, 0, 9, 0, key=name)
    st.number_input("outside", 0, 9, 0, key="a_outside")


def test_P8_only_the_chosen_keys_are_shared_and_private_ones_never(room: str) -> None:
    one, two = session(selective, room), session(selective, room)
    for box in one.number_input:
        box.set_value(5)
    one.run()
    caught_up(two)
    shared = {box.key for box in two.number_input if box.value == 5}
    assert shared == {"a1", "b"}


def two_rooms(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    with crdt_sync(room + "-x", keys=["x*"]):
        st.slider("x", key="x")
    with crdt_sync(room + "-y", keys=["y*"]):
        st.slider("y", key="y")


def test_an_app_can_be_in_two_rooms(room: str) -> None:
    one, two = session(two_rooms, room), session(two_rooms, room)
    one.slider[0].set_value(3)
    one.slider[1].set_value(4).run()
    caught_up(two)
    assert [slider.value for slider in two.slider] == [3, 4]


def changing(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    seen = st.session_state.setdefault("crdt-private:seen", [])
    crdt_sync(room, on_change=lambda word: seen.append(word), args=("changed",))
    st.slider("x", key="x")


def test_on_change_is_called_when_values_of_others_were_taken_over(room: str) -> None:
    one, two = session(changing, room), session(changing, room)
    one.slider[0].set_value(3).run()
    assert one.session_state["crdt-private:seen"] == []
    caught_up(two)
    two.run()
    assert two.session_state["crdt-private:seen"] == ["changed"]


def out_of_range(room: str, top: int) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync(room)
    st.slider("x", 0, top, key="x")
    st.slider("unkeyed", 0, 100)


def test_P2_a_value_that_a_widget_cannot_show_is_kept_by_the_room(room: str) -> None:
    wide, narrow = session(out_of_range, room, top=100), session(out_of_range, room, top=10)
    wide.slider[0].set_value(50).run()
    for _ in range(3):
        caught_up(narrow)
        assert not narrow.exception
        assert narrow.slider[0].value == 0
    narrow.slider[1].set_value(7).run()
    caught_up(wide)
    assert [slider.value for slider in wide.slider] == [50, 7]
    narrow.slider[0].set_value(4).run()
    caught_up(wide)
    assert wide.slider[0].value == 4


def test_P2_a_late_session_whose_widget_cannot_show_the_value_starts_from_its_default(room: str) -> None:
    wide = session(out_of_range, room, top=100)
    wide.slider[0].set_value(50).run()
    narrow = session(out_of_range, room, top=10)
    assert not narrow.exception
    assert narrow.slider[0].value == 0
    caught_up(wide)
    assert wide.slider[0].value == 50


def button_now(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync(room)
    st.button("x", key="x")


def test_P6_a_key_that_is_a_button_here_survives_being_a_value_elsewhere(room: str) -> None:
    wide = session(out_of_range, room, top=100)
    wide.slider[0].set_value(50).run()
    late = session(button_now, room)
    assert not late.exception
    late.button[0].click().run()
    assert not late.exception
    caught_up(wide)
    assert wide.slider[0].value == 50


def hidden(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync(room, private=["show"])
    if st.checkbox("show", value=True, key="show"):
        st.slider("x", key="x")


def test_P3_a_hidden_widget_neither_deletes_nor_overwrites(room: str) -> None:
    one, two = session(hidden, room), session(hidden, room)
    one.slider[0].set_value(3).run()
    caught_up(two)
    one.checkbox[0].uncheck().run()
    one.run()
    two.slider[0].set_value(8).run()
    one.checkbox[0].check().run()
    assert one.slider[0].value == 8
    caught_up(two)
    assert two.slider[0].value == 8


def fragment(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync(room)

    @st.fragment
    def part() -> None:
        st.slider("inside", key="inside")
        st.slider("unkeyed inside")

    part()


def test_edits_inside_a_fragment_are_shared(room: str) -> None:
    one, two = session(fragment, room), session(fragment, room)
    one.slider[0].set_value(3)
    one.slider[1].set_value(4).run()
    caught_up(two)
    assert [slider.value for slider in two.slider] == [3, 4]


def state_view(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    room_ = crdt_sync(room)
    if st.button("set"):
        room_.state["a"] = {"x": 1}
    if st.button("delete"):
        del room_.state["a"]
    st.write(str(dict(room_.state)), room_.status)


def test_the_rooms_state_can_be_read_and_written_as_a_mapping(room: str) -> None:
    one, two = session(state_view, room), session(state_view, room)
    one.button[0].click().run()
    caught_up(two)
    assert two.session_state["a"] == {"x": 1}
    assert "{'a': {'x': 1}}" in two.markdown[0].value
    assert "connected" in two.markdown[0].value
    two.button[1].click().run()
    caught_up(one)
    assert "a" not in one.session_state


@pytest.mark.parametrize("name", ["", "a/b", "a b", "ä", "..", ".", "x" * 129, 7, "a\n"])
def test_a_room_name_with_other_characters_is_refused_at_the_call(name: Any) -> None:
    with pytest.raises(RoomNameError, match="A-Z"):
        crdt_sync(name)


def test_in_no_room_nothing_is_shared() -> None:
    room = crdt_sync(None)
    assert room.name is None
    assert room.status == "offline"
    with room:
        pass


def test_a_server_address_of_another_kind_is_refused(room: str) -> None:
    def app(room: str) -> None:
        from streamlit_crdt import crdt_sync

        crdt_sync(room, server="http://localhost:1")

    assert "ws://" in session(app, room).exception[0].message


def test_a_private_key_keeps_its_name_recognisable() -> None:
    assert private_key("a").endswith("a")
    assert private_key("a") != "a"


def test_errors_are_also_what_a_user_would_catch() -> None:
    assert issubclass(ValueNotShareableError, TypeError)
    assert issubclass(RoomNameError, ValueError)


def test_all_names_in_all_exist_and_nothing_private_is_exported() -> None:
    assert sorted(streamlit_crdt.__all__) == streamlit_crdt.__all__
    for name in streamlit_crdt.__all__:
        assert hasattr(streamlit_crdt, name)


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
        patch.setattr("streamlit_crdt._compat.run_context.fragments_of_run", lambda _ctx: ("f",))
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
    mine = [b for s in registry.sessions() for b in s.room_sessions.values() if b.room == room + "-x"]
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
    mine = [s for s in registry.sessions() for name in s.room_sessions if name == room]
    assert len(mine[0].room_sessions[room].binding.widgets) == 1
    assert mine[0]._run is not None
    assert mine[0]._run.context.hooks.calls._calls == {}


def test_R4_a_widget_that_its_making_did_not_tell_of_is_no_plain_value(
    room: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_args: Any, **_kwargs: Any) -> None:
        raise RuntimeError("a fault of ours")

    with monkeypatch.context() as patch:
        patch.setattr(LiveSession, "widget_registered", fails)
        one = session(out_of_range, room, top=10).run()
    session(out_of_range, room, top=10)
    bindings = [b for s in registry.sessions() for name, b in s.room_sessions.items() if name == room]
    assert [list(b.replica) for b in bindings] == [[], []]
    assert not one.exception
    caplog.clear()  # the fault that was made on purpose


def test_what_changed_while_a_session_was_away_is_merged_when_it_returns(room: str) -> None:
    one, two = session(out_of_range, room, top=10), session(out_of_range, room, top=10)
    away = next(s for s in registry.sessions() for name in s.room_sessions if name == room)
    away.release()
    two.slider[0].set_value(4).run()
    caught_up(two)
    one.slider[1].set_value(7).run()
    caught_up(two)
    assert [slider.value for slider in one.slider] == [4, 7]
    assert [slider.value for slider in two.slider] == [4, 7]


class Peer:
    epoch = "0" * 32
    is_closed = False
    was_deleted = False

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

    def close(self, *, for_good: bool = False) -> None:
        pass


def test_a_room_that_refuses_at_once_what_is_brought_along_is_left_and_joined_again() -> None:
    second = Peer()
    binding = RoomSession("r", ScriptedBackend(Peer(HubNotRunningError()), second))
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
    binding = RoomSession("r", ScriptedBackend(HubNotRunningError()))
    with caplog.at_level(logging.WARNING):
        binding.attach()
        binding.attach()
    assert binding.status != "connected"
    assert len(caplog.records) == 1


def test_a_parallel_fragment_need_not_wait_for_the_sessions_lock() -> None:
    class Ctx:
        session_id = "s"
        cursors = ()
        script_requests = None

    live = LiveSession("s")
    asked: list[object] = []
    with live.lock:
        worker = threading.Thread(
            target=lambda: asked.append(live.run_of(run_context_of(Ctx()))), daemon=True
        )
        worker.start()
        worker.join(5)
        assert asked


def called_twice(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync(room, private=["mine*"])
    crdt_sync(room, private=["secret"])
    for key in ("mine", "secret", "open"):
        st.session_state.setdefault(key, 1)
    st.button("go")


def test_P8_a_second_call_for_the_same_room_makes_no_private_key_public(room: str) -> None:
    one = session(called_twice, room)
    for _ in range(3):
        one.run()
    bindings = [b for s in registry.sessions() for name, b in s.room_sessions.items() if name == room]
    assert [list(binding.replica) for binding in bindings] == [["open"]]


def nested(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    with crdt_sync(room):
        with crdt_sync(room):
            st.slider("inner", key="inner")
        st.slider("outer", key="outer")
    st.slider("outside", key="outside")


def test_a_block_inside_a_block_of_the_same_room_ends_itself_alone(room: str) -> None:
    one, two = session(nested, room), session(nested, room)
    for number, slider in enumerate(one.slider, 3):
        slider.set_value(number)
    one.run()
    caught_up(two)
    assert [slider.value for slider in two.slider] == [3, 4, 0]


def stopping(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync(room)
    if st.checkbox("stop", key="stop"):
        st.stop()
    st.slider("x", key="x")


def test_P3_widgets_below_a_stop_neither_lose_nor_reset_their_value(room: str) -> None:
    one, two = session(stopping, room), session(stopping, room)
    one.slider[0].set_value(7).run()
    caught_up(two)
    one.checkbox[0].check().run()
    assert not one.slider
    caught_up(two)
    one.checkbox[0].uncheck().run()
    assert one.slider[0].value == 7
    caught_up(two)
    assert two.slider[0].value == 7
    one.run()
    assert one.slider[0].value == 7


def test_R4_a_binding_that_has_been_in_sync_stays_so_while_its_tab_is_mounted_anew(room: str) -> None:
    binding = RoomSession(room, RemoteBackend("ws://127.0.0.1:9"))
    assert not binding.synced
    binding.connection.channel.report = StatusReport(synced=True)
    assert binding.synced
    binding.connection.channel.report = StatusReport()
    assert binding.synced
    assert not binding.holds()


def leaving(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import _compat, crdt_sync
    from streamlit_crdt.session.streamlit_hooks import registry

    crdt_sync(room)
    if st.button("go"):
        live = registry.get(_compat.current_run().session_key)
        assert live is not None
        live.release()  # as Streamlit does when the page closes
        st.session_state["result"] = 42


def test_what_a_run_assigns_after_its_page_was_closed_is_shared_and_the_session_leaves_the_room(
    room: str,
) -> None:
    one = session(leaving, room)
    binding = next(live.room_sessions[room] for live in registry.sessions() if room in live.room_sessions)
    one.button[0].click().run()
    assert binding.connection.peer is None
    assert binding.flush(5)
    assert session(leaving, room).session_state["result"] == 42
