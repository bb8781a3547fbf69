"""Two overlapping runs of one session, as with Streamlit's fast reruns: the newer one keeps its client state."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from streamlit.delta_generator import DeltaGenerator
from streamlit.delta_generator_singletons import context_dg_stack, get_default_dg_stack_value
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetStates
from streamlit.runtime.app_session import AppSession
from streamlit.runtime.forward_msg_queue import ForwardMsgQueue
from streamlit.runtime.pages_manager import PagesManager
from streamlit.runtime.scriptrunner import (
    ScriptRunContext,
    StopException,
    add_script_run_ctx,
    script_runner,
)
from streamlit.runtime.scriptrunner_utils.script_requests import ScriptRequests
from streamlit.runtime.state.common import WidgetMetadata
from streamlit.runtime.state.safe_session_state import SafeSessionState
from streamlit.runtime.state.session_state import SessionState

from streamlit_crdt import _compat
from streamlit_crdt.session.streamlit_hooks import SessionHooks, registry

BUTTON = WidgetMetadata("button", bool, bool, "trigger_value")
NUMBER = WidgetMetadata("number", float, float, "double_value")
WAIT_S = 5.0
MEANWHILE_S = 0.2
"""Seconds that one run waits for the other one, which must not get in between."""


class Runner:
    """One of the session's script runners, with the context and state that its runs use."""

    def __init__(self, state: SessionState, name: str) -> None:
        self.requests = ScriptRequests()
        self.state = SafeSessionState(state, lambda: None)
        self.context = ScriptRunContext(
            session_id="superseded",
            _enqueue=lambda message: None,
            query_string="",
            session_state=self.state,
            uploaded_file_mgr=None,  # type: ignore[arg-type]
            main_script_path="app.py",
            user_info={},
            fragment_storage=None,  # type: ignore[arg-type]
            pages_manager=PagesManager("app.py"),
            cursors={0: name},  # type: ignore[dict-item]
            script_requests=self.requests,
        )
        self.was_stopped = False

    def start(self, call: Any, *arguments: Any) -> threading.Thread:
        def run() -> None:
            try:
                call(*arguments)
            except StopException:
                self.was_stopped = True

        thread = threading.Thread(target=run, daemon=True)
        add_script_run_ctx(thread, self.context)
        thread.start()
        return thread

    def begin(self, number: float, *, clicked: bool = False) -> threading.Thread:
        return self.start(self.state.on_script_will_rerun, client_state_of(number, clicked=clicked))


def client_state_of(number: float, *, clicked: bool) -> WidgetStates:
    states = WidgetStates()
    states.widgets.add(id="number", double_value=number)
    if clicked:
        states.widgets.add(id="button", trigger_value=True)
    return states


@pytest.fixture
def state() -> SessionState:
    made = SessionState()
    for metadata in (BUTTON, NUMBER):
        made._new_widget_state.set_widget_metadata(metadata)
    return made


@pytest.fixture
def older(state: SessionState) -> Iterator[Runner]:
    """Return the runner of a known session."""
    _compat.install(SessionHooks(registry))
    runner = Runner(state, "older")
    registry.open(_compat.run_context_of(runner.context))
    yield runner


@pytest.fixture
def newer(state: SessionState) -> Runner:
    return Runner(state, "newer")


def call_before(method: str, monkeypatch: pytest.MonkeyPatch, event: Any) -> None:
    """Call `event` once, right before `method` of SessionState."""
    native = getattr(SessionState, method)
    waiting = [event]

    def call(*arguments: Any) -> Any:
        if waiting:
            waiting.pop()()
        return native(*arguments)

    monkeypatch.setattr(SessionState, method, call)


@pytest.mark.parametrize("step", ["_reset_triggers", "_compact_state", "set_widgets_from_proto"])
def test_P5_begin_of_older_run_keeps_newer_client_state(
    step: str, state: SessionState, older: Runner, newer: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []

    def supersede() -> None:
        older.requests.request_stop()
        threads.append(newer.begin(22, clicked=True))
        threads[0].join(MEANWHILE_S)

    call_before(step, monkeypatch, supersede)
    older.begin(21).join(WAIT_S)
    threads[0].join(WAIT_S)
    assert (state["number"], state["button"]) == (22, True)


def test_P5_run_superseded_before_its_begin_stops(state: SessionState, older: Runner, newer: Runner) -> None:
    older.requests.request_stop()
    newer.begin(22, clicked=True).join(WAIT_S)
    older.begin(21).join(WAIT_S)
    assert older.was_stopped
    assert (state["number"], state["button"]) == (22, True)


def test_P5_end_of_older_run_keeps_click_of_newer_run(
    state: SessionState, older: Runner, newer: Runner
) -> None:
    older.begin(21).join(WAIT_S)
    older.requests.request_stop()
    newer.begin(22, clicked=True).join(WAIT_S)
    older.start(older.state.on_script_finished, frozenset()).join(WAIT_S)
    assert (state["number"], state["button"]) == (22, True)
    newer.start(newer.state.on_script_finished, frozenset({"number", "button"})).join(WAIT_S)
    assert (state["number"], state["button"]) == (22, False)


def test_P1_write_of_older_run_does_not_hide_newer_client_state(
    state: SessionState, older: Runner, newer: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = registry.open(_compat.run_context_of(older.context)).session
    compacted = threading.Event()
    call_before("set_widgets_from_proto", monkeypatch, compacted.set)
    with session.lock:  # as during the write of a remote value
        thread = newer.begin(22)
        compacted.wait(MEANWHILE_S)
        state["number"] = 21
    thread.join(WAIT_S)
    assert state["number"] == 22


def test_run_of_unknown_session_is_unchanged(state: SessionState, newer: Runner) -> None:
    _compat.install(SessionHooks(registry))
    newer.begin(22, clicked=True).join(WAIT_S)
    newer.start(newer.state.on_script_finished, frozenset({"number", "button"})).join(WAIT_S)
    assert (state["number"], state["button"]) == (22, False)


class BlockingRoomSession:
    """A room session whose push waits for an event, and then reads session state."""

    def __init__(self, state: SafeSessionState) -> None:
        self.begun, self.may_continue = threading.Event(), threading.Event()
        self._state = state

    def push_now(self, run: object, *, has_registered: bool) -> list[Any]:
        self.begun.set()
        self.may_continue.wait(WAIT_S)
        assert self._state["number"] == 21
        return []


def test_push_and_end_of_run_do_not_deadlock(state: SessionState, older: Runner) -> None:
    older.begin(21).join(WAIT_S)
    room_session = BlockingRoomSession(older.state)
    run = registry.open(_compat.run_context_of(older.context))
    pushing = older.start(run.session.push, run, room_session)
    assert room_session.begun.wait(WAIT_S)
    ending = older.start(older.state.on_script_finished, frozenset({"number", "button"}))
    ending.join(MEANWHILE_S)
    room_session.may_continue.set()
    for thread in (pushing, ending):
        thread.join(WAIT_S)
        assert not thread.is_alive()


class AppSessionWithQueue:
    """The part of Streamlit's AppSession with the queue to the browser; a full run added an element of one fragment."""

    def __init__(self, session_id: str) -> None:
        self.id = session_id
        message = ForwardMsg()
        message.metadata.delta_path[:] = [0, 1]
        message.delta.fragment_id = "panel"
        message.delta.new_element.markdown.body = "text"
        self._browser_queue = ForwardMsgQueue()
        self._browser_queue.enqueue(message)


@pytest.mark.parametrize(("session_id", "left"), [("superseded", 1), ("unknown", 0)])
def test_fragment_elements_of_full_run_survive_fragment_rerun(
    older: Runner, session_id: str, left: int
) -> None:
    registry.open(_compat.run_context_of(older.context))
    page = AppSessionWithQueue(session_id)
    AppSession._clear_queue(page, ["panel"])  # type: ignore[arg-type]
    assert len(page._browser_queue.flush()) == left


def test_full_run_drops_unsent_fragment_elements(older: Runner) -> None:
    registry.open(_compat.run_context_of(older.context))
    page = AppSessionWithQueue("superseded")
    AppSession._clear_queue(page, None)  # type: ignore[arg-type]
    assert page._browser_queue.is_empty()


def test_full_run_after_fragment_in_same_thread_starts_at_page_top(older: Runner) -> None:
    places: list[tuple[DeltaGenerator, ...]] = []

    def two_runs() -> None:
        older.context.cursors = {}
        stack = tuple(deepcopy(place) for place in get_default_dg_stack_value())
        context_dg_stack.set(stack)  # Streamlit leaves the container of the last fragment
        script_runner.exec_func_with_error_handling(
            lambda: places.append(context_dg_stack.get()), older.context
        )

    older.start(two_runs).join(WAIT_S)
    assert places == [get_default_dg_stack_value()]


def test_P3_run_stopped_for_newer_run_is_not_complete(older: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a form below the stop is dropped, and the submit that stopped the run is lost."""
    ends: list[bool] = []
    monkeypatch.setattr(
        SessionHooks, "run_ended", lambda _hooks, _ctx, *, complete, reruns: ends.append(complete)
    )

    def stop_for_a_newer_run() -> None:
        older.requests.request_stop()
        raise StopException

    def stop_itself() -> None:
        raise StopException

    for run in (stop_itself, stop_for_a_newer_run):
        thread = older.start(script_runner.exec_func_with_error_handling, run, older.context)  # type: ignore[attr-defined]
        thread.join(WAIT_S)
    assert ends == [True, False]
