"""Wrapped functions of script runs: begin, client state, end, rerun requests, and the queue to the browser."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final
from weakref import WeakSet

from streamlit.runtime.scriptrunner import StopException

from streamlit_crdt._compat.hooks import Hooks, guarded, log_failure
from streamlit_crdt._compat.run_context import RunContext, begin_run, current_hooks, run_context_of
from streamlit_crdt._compat.session_state import (
    drop_triggers,
    put_number,
    read_client_state,
    take_number,
    without,
)


def request_fragment_rerun(run: RunContext, fragment: str) -> None:
    """Request a run of a fragment from a thread outside of runs (Runtime._session_mgr, AppSession, 1.65+).

    Without it, what such a thread writes for a remote server waits for the session's next run.
    """
    guarded(_request_fragment_rerun, run, fragment)


def _request_fragment_rerun(run: RunContext, fragment: str) -> None:
    from streamlit.runtime import exists, get_instance

    session_id = run.streamlit_context.session_id
    info = get_instance()._session_mgr.get_active_session_info(session_id) if exists() else None
    if info is None:
        return
    data = run.rerun_data(fragment)
    info.session._event_loop.call_soon_threadsafe(lambda: guarded(_rerun, info.session, data))


def _rerun(session: Any, data: Any) -> None:
    """Do what `AppSession.request_rerun` does for the browser. Runs in the event loop's thread."""
    runner = session._scriptrunner
    if session._fragment_storage.contains(data.fragment_id_queue[0]) and not (
        runner is not None and runner.request_rerun(data)
    ):
        session._create_scriptrunner(data)


_present: Final = threading.local()
"""The turn of the run that begins in this thread (see `wrap_begin`)."""


def wrap_begin(hooks: Hooks) -> None:
    """Wrap `SessionState.on_script_will_rerun`: a run resets triggers and takes the client state (1.65+).

    With fast reruns, two runs of a session can be in this function at the same moment. The older one would overwrite
    the client state of the newer one, and with it the edit that caused the newer run. So runs take turns. A run that is
    superseded before its turn ends here, as at a yield point of Streamlit's own.

    When the function returns, callbacks have run, and the script has not.
    """
    from streamlit.runtime.state.session_state import SessionState

    native = SessionState.on_script_will_rerun

    @functools.wraps(native)
    def begin(self: Any, *arguments: Any, **options: Any) -> None:
        with ExitStack() as turn:
            if _take_turn(hooks, turn) is False:
                raise StopException
            _present.turn = turn
            native(self, *arguments, **options)
        run = current_hooks(hooks)  # a callback may have entered the first room of the session
        if run is not None:
            try:
                run.run_begins()
            except Exception:
                log_failure()

    SessionState.on_script_will_rerun = begin  # type: ignore[method-assign]


def wrap_message(hooks: Hooks) -> None:
    """Wrap `SessionState.set_widgets_from_proto`, which takes the client state (1.65+).

    Without it, the cause of a run is unknown, and an echo counts as an edit (rule P1).
    """
    from streamlit.runtime.state.session_state import SessionState

    native = SessionState.set_widgets_from_proto

    @functools.wraps(native)
    def receive(self: Any, widget_states: Any) -> None:
        # The hook comes first: when it returns, no older run can overwrite the client state.
        run = current_hooks(hooks)
        number = take_number(widget_states)
        if run is not None:
            states, triggers = read_client_state(widget_states)
            try:
                stale = run.client_state_received(states, triggers, number)
            except Exception:
                log_failure()
            else:
                widget_states = without(widget_states, stale) if stale else widget_states
        native(self, widget_states)
        turn = getattr(_present, "turn", None)
        if turn is not None:
            turn.close()  # callbacks come next, and may take long

    SessionState.set_widgets_from_proto = receive  # type: ignore[method-assign]


def wrap_finish(hooks: Hooks) -> None:
    """Wrap `SessionState.on_script_finished`: a run resets triggers and drops widgets that it did not register (1.65+).

    Without it, an older run that ends beside a newer one does so with the client state of the newer one.
    """
    from streamlit.runtime.state.session_state import SessionState

    native = SessionState.on_script_finished

    @functools.wraps(native)
    def finish(self: Any, *arguments: Any, **options: Any) -> None:
        with ExitStack() as turn:
            if _take_turn(hooks, turn) is not False:
                native(self, *arguments, **options)

    SessionState.on_script_finished = finish  # type: ignore[method-assign]


def _take_turn(hooks: Hooks, turn: ExitStack) -> bool | None:
    """Exclude the session's other runs from its state until `turn` closes; return False if the run is superseded."""
    run = current_hooks(hooks)
    try:
        return None if run is None else run.take_turn(turn)
    except Exception:
        log_failure()
        return None


_watched: Final[WeakSet[Any]] = WeakSet()
"""Script runners whose present run calls `run_ended` when it ends."""


def wrap_end(hooks: Hooks) -> None:
    """Wrap `script_runner.exec_func_with_error_handling`, in which every run begins and ends (1.65+).

    Without it, what a script assigns is pushed by the next run only.
    """
    from streamlit.runtime.scriptrunner import script_runner

    native = script_runner.exec_func_with_error_handling  # type: ignore[attr-defined]

    @functools.wraps(native)
    def execute(func: Callable[[], Any], ctx: Any) -> Any:
        runner = _runner_of(ctx)
        if runner is not None:
            _watched.add(runner)
        try:
            begin_run(ctx)
        except Exception:
            log_failure()
        _write_to_the_main_page()
        try:
            outcome = native(func, ctx)
        finally:
            if runner is not None:
                _watched.discard(runner)
        _result, _without_errors, rerun, *_ = outcome
        try:
            _end_run(hooks, run_context_of(ctx), is_followed=rerun is not None)
        except Exception:
            log_failure()
        return outcome

    script_runner.exec_func_with_error_handling = execute  # type: ignore[attr-defined]


def _end_run(hooks: Hooks, context: RunContext, *, is_followed: bool) -> None:
    """Call `run_ended` once a run is over.

    A run is complete if it was a full run, whatever ended it: after `st.stop()` or an error, the browser drops the
    elements that are missing. A run that a newer one stopped is not complete, also if the newer one has yet to begin:
    it was stopped in the middle of the script.

    Args:
        is_followed: whether another run follows at once.
    """
    is_complete = not (is_followed or context.fragments or context.is_superseded)
    hooks.run_ended(context, complete=is_complete, reruns=is_followed)


def _write_to_the_main_page() -> None:
    """Reset the container of this thread, as for the first run in a thread (delta_generator_singletons, 1.65+).

    A rerun of a fragment leaves the fragment's container as the thread's. A full run that follows in this thread, on
    request of code, would write there: all elements would move down, all fragments would get other ids, and the
    browser would create all widgets anew, without the drafts in them.
    """
    try:
        from streamlit.delta_generator_singletons import context_dg_stack, get_default_dg_stack_value

        context_dg_stack.set(get_default_dg_stack_value())
    except Exception:
        log_failure()


def watch_end(hooks: Hooks, context: RunContext) -> None:
    """Call `run_ended` for a run that began before `wrap_end`, like the first runs of a process (on_event, 1.65+).

    Such a run executes the original function. Its end is observed where Streamlit's AppSession observes it: after
    triggers are reset and the values of missing widgets are dropped.
    """
    runner = _runner_of(context.streamlit_context)
    if runner is None or runner in _watched:
        return
    _watched.add(runner)

    def observe(_sender: Any, event: Any = None, **_more: Any) -> None:
        name = getattr(event, "name", "")
        if "_STOPPED_" not in name:
            return
        runner.on_event.disconnect(observe)
        _watched.discard(runner)
        is_followed = name == "SCRIPT_STOPPED_FOR_RERUN"
        guarded(_end_run, hooks, context.latest(), is_followed=is_followed)

    runner.on_event.connect(observe, weak=False)


def _runner_of(ctx: Any) -> Any:
    """Return the ScriptRunner of a run (ScriptRunContext._enqueue, 1.65+); None if it is not found.

    Without it, what the first run of a process assigns is pushed by the next run.
    """
    runner = getattr(getattr(ctx, "_enqueue", None), "__self__", None)
    return runner if hasattr(runner, "on_event") else None


def wrap_request(hooks: Hooks) -> None:
    """Wrap `AppSession.request_rerun`, which the browser's requests call (1.65+).

    The browser sends everything that happens within one timer as one request. If one part belongs to a fragment, the
    request asks for that fragment alone, and no script reads a click elsewhere. A request of a fragment's timer
    contains a click that the browser sends again by itself: it would act twice.
    """
    from streamlit.runtime.app_session import AppSession

    native = AppSession.request_rerun

    @functools.wraps(native)
    def request(self: Any, client_state: Any) -> None:
        if client_state:
            guarded(_note_request, hooks, self, client_state)
        native(self, client_state)

    AppSession.request_rerun = request  # type: ignore[method-assign]


def _note_request(hooks: Hooks, session: Any, client_state: Any) -> None:
    """Number the request. Turn it into a request for a full run if a click in it needs that."""
    sent, fragment = client_state.widget_states, client_state.fragment_id
    take_number(sent)  # after a change of a source file, Streamlit requests again with the same object
    states, triggers = read_client_state(sent)
    is_timers = bool(client_state.is_auto_rerun)
    if not states and not triggers:
        return  # not from the browser: a source file changed, or the browser has no values yet
    number = hooks.requested(session.id, states, fragment=fragment, triggers=triggers, is_timers=is_timers)
    if number is None:
        return
    put_number(sent, number)
    if is_timers:
        drop_triggers(sent, triggers)
    elif fragment and hooks.needs_whole_run(session.id, _foreign_triggers(session, fragment, triggers)):
        client_state.fragment_id = ""


def _foreign_triggers(session: Any, fragment: str, triggers: frozenset[str]) -> frozenset[str]:
    """Return the triggers that are outside of this fragment (WStates.widget_metadata, 1.65+)."""
    known = session._session_state._new_widget_state.widget_metadata
    return frozenset(name for name in triggers if getattr(known.get(name), "fragment_id", None) != fragment)


def wrap_queue(hooks: Hooks) -> None:
    """Wrap `AppSession._clear_queue`, which drops a fragment's unsent elements when it runs again (1.65+).

    Streamlit drops them also if a full run wrote them. At the end of that full run, the browser then removes the
    fragment, elements below move up, and the fragment's elements replace the first of these. Values that code
    assigned to the fragment's widgets are lost as well: the browser creates the widgets anew, with their defaults.
    """
    from streamlit.runtime.app_session import AppSession

    native = AppSession._clear_queue

    @functools.wraps(native)
    def clear(self: Any, fragment_ids_this_run: list[str] | None = None) -> None:
        fragments = fragment_ids_this_run
        if fragments and guarded(hooks.is_known, self.id):
            self._browser_queue._delta_index_map = {}  # append new elements, do not replace unsent ones
            return
        native(self, fragments)

    AppSession._clear_queue = clear  # type: ignore[method-assign]


def wrap_runner(hooks: Hooks) -> None:
    """Wrap `AppSession._create_scriptrunner`, where Streamlit drops elements of a run (1.65+, streamlit#9921).

    A request for a fragment's rerun that comes when a run has just ended finds its runner stopped, and a new runner
    is created. Elements of the old runner that the event loop did not take yet are ignored from then on. A full rerun
    writes them again; a fragment writes only its own.
    """
    from streamlit.runtime.app_session import AppSession

    native = AppSession._create_scriptrunner

    @functools.wraps(native)
    def create(self: Any, initial_rerun_data: Any) -> None:
        of_fragments = initial_rerun_data.fragment_id or initial_rerun_data.fragment_id_queue
        if self._scriptrunner is not None and of_fragments:
            guarded(hooks.output_dropped, self.id)
        native(self, initial_rerun_data)

    AppSession._create_scriptrunner = create  # type: ignore[method-assign]
