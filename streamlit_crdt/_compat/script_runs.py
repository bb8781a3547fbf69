"""The wrapped functions around a run: its end, the page's request for it, the start of its thread.

Running one fragment of a session from a thread that is in none of its runs.

The wrapped functions with which a run takes the session's state and leaves it, one run after the other.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final
from weakref import WeakSet

from streamlit.runtime.scriptrunner import StopException, get_script_run_ctx

from streamlit_crdt._compat.hooks import Hooks, guarded
from streamlit_crdt._compat.run_context import fragments_of_run, is_superseded, name_run
from streamlit_crdt._compat.session_state import (
    drop_triggers,
    put_number,
    read_client_state,
    take_number,
    without,
)


def request_fragment_rerun(ctx: Any, fragment: str) -> None:
    """Have a fragment of a session run, although no script does now (Runtime._session_mgr, AppSession, 1.65+).

    Without it, what such a thread writes for a stand-alone server waits for the session's next run.
    """
    guarded(lambda: _ask(ctx, fragment))


def _ask(ctx: Any, fragment: str) -> None:
    from streamlit.runtime import exists, get_instance
    from streamlit.runtime.scriptrunner_utils.script_requests import RerunData

    info = get_instance()._session_mgr.get_active_session_info(ctx.session_id) if exists() else None
    if info is None:
        return
    data = RerunData(
        query_string=ctx.query_string,
        page_script_hash=ctx.page_script_hash,
        fragment_id_queue=[fragment],
        cached_message_hashes=ctx.cached_message_hashes,
        context_info=ctx.context_info,
    )
    info.session._event_loop.call_soon_threadsafe(lambda: guarded(lambda: _run(info.session, data)))


def _run(session: Any, data: Any) -> None:
    """In the event loop, as `AppSession.request_rerun` does it for the page."""
    runner = session._scriptrunner
    if session._fragment_storage.contains(data.fragment_id_queue[0]) and not (
        runner is not None and runner.request_rerun(data)
    ):
        session._create_scriptrunner(data)


_present: Final = threading.local()
"""The turn that this thread's run has, see `wrap_begin`."""


def wrap_begin(hooks: Hooks) -> None:
    """`SessionState.on_script_will_rerun`: a run resets what was clicked and takes what the browser sent (1.65+).

    With fast reruns two runs of a session can be at it at the same moment. Then the older one would put its own,
    older message over the newer one, and with it the edit that the newer one is for. So they go one after the
    other, and one that was overtaken before its turn ends here, as at a yield point of Streamlit's own.

    Once it returns, callbacks have run and the script has not.
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
        ctx = get_script_run_ctx(suppress_warning=True)
        if ctx is not None:
            guarded(lambda: hooks.run_begins(ctx))

    SessionState.on_script_will_rerun = begin  # type: ignore[method-assign]


def wrap_message(hooks: Hooks) -> None:
    """`SessionState.set_widgets_from_proto`: what the browser says each widget holds (1.65+)."""
    from streamlit.runtime.state.session_state import SessionState

    native = SessionState.set_widgets_from_proto

    @functools.wraps(native)
    def receive(self: Any, widget_states: Any) -> None:
        # First the hook: once it returns, no older run can write over what the browser sent.
        ctx = get_script_run_ctx(suppress_warning=True)
        number = take_number(widget_states)
        if ctx is not None:
            outdated = guarded(lambda: hooks.browser_message(ctx, *read_client_state(widget_states), number))
            widget_states = without(widget_states, outdated or frozenset())
        native(self, widget_states)
        turn = getattr(_present, "turn", None)
        if turn is not None:
            turn.close()  # callbacks come next, and may take long

    SessionState.set_widgets_from_proto = receive  # type: ignore[method-assign]


def wrap_finish(hooks: Hooks) -> None:
    """`SessionState.on_script_finished`: a run resets what was clicked, and drops widgets that were not drawn (1.65+).

    An older run that ends beside a newer one would do that to what the newer one has just been sent.
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
    """Keep the session's other runs from its state until `turn` is closed; False if a newer one has had it."""
    ctx = get_script_run_ctx(suppress_warning=True)
    return None if ctx is None else guarded(lambda: turn.enter_context(hooks.turn(ctx)))


_watched: Final[WeakSet[Any]] = WeakSet()
"""The script runners of which the end of the present run will be seen."""


def wrap_end(hooks: Hooks) -> None:
    """`script_runner.exec_func_with_error_handling`: returns at the end of every run, whatever ended it (1.65+).

    It is also where a run begins, of the whole script or of fragments.
    """
    from streamlit.runtime.scriptrunner import script_runner

    native = script_runner.exec_func_with_error_handling  # type: ignore[attr-defined]

    @functools.wraps(native)
    def execute(func: Callable[[], Any], ctx: Any) -> Any:
        runner = _runner_of(ctx)
        if runner is not None:
            _watched.add(runner)
        name_run(ctx)
        guarded(_write_to_the_main_page)
        try:
            outcome = native(func, ctx)
        finally:
            if runner is not None:
                _watched.discard(runner)
        _result, _without_errors, rerun, *_ = outcome
        complete = rerun is None and _is_complete(ctx)
        guarded(lambda: hooks.run_ended(ctx, complete=complete, reruns=rerun is not None))
        return outcome

    script_runner.exec_func_with_error_handling = execute  # type: ignore[attr-defined]


def _is_complete(ctx: Any) -> bool:
    """Say whether a run that ended tells what the page has: st.stop() and errors count, the page drops what is missing.

    A run that a newer one has stopped does not, also where that one has yet to begin: it was somewhere in the script.
    """
    return not fragments_of_run(ctx) and not is_superseded(ctx)


def _write_to_the_main_page() -> None:
    """Have the run that begins write where a thread's first run does (delta_generator_singletons, 1.65+).

    A fragment that runs again leaves its own place behind as that of the thread. A run of the whole script that follows
    in this thread, as runs that code asks for do, would be written from there on: all elements would move down and all
    fragments get other ids, and the page would make all widgets anew, with what somebody was just doing in them.
    """
    from streamlit.delta_generator_singletons import context_dg_stack, get_default_dg_stack_value

    context_dg_stack.set(get_default_dg_stack_value())


def watch_end(hooks: Hooks, ctx: Any) -> None:
    """See the end of this run too if it began before `wrap_end`, as the first runs of a process do (on_event, 1.65+).

    They are inside of the function that is wrapped now. So their end is heard of where Streamlit's own session hears of
    it: once triggers are reset, and the values of widgets that were not drawn are gone.
    """
    runner = _runner_of(ctx)
    if runner is None or runner in _watched:
        return
    _watched.add(runner)

    def hear(_sender: Any, event: Any = None, **_more: Any) -> None:
        name = getattr(event, "name", "")
        if "_STOPPED_" not in name:
            return
        runner.on_event.disconnect(hear)
        _watched.discard(runner)
        reruns = name == "SCRIPT_STOPPED_FOR_RERUN"
        complete = not reruns and _is_complete(ctx)
        guarded(lambda: hooks.run_ended(ctx, complete=complete, reruns=reruns))

    runner.on_event.connect(hear, weak=False)


def _runner_of(ctx: Any) -> Any:
    """Return the ScriptRunner of a run, None if it cannot be found (ScriptRunContext._enqueue, 1.65+)."""
    runner = getattr(getattr(ctx, "_enqueue", None), "__self__", None)
    return runner if hasattr(runner, "on_event") else None


def wrap_request(hooks: Hooks) -> None:
    """`AppSession.request_rerun`: what the page asks for (1.65+).

    The page sends what happens within one timer as one message. If one of it belongs to a fragment, all of it asks for
    that fragment's rerun alone, and what somebody clicked elsewhere at that moment is seen by no script. And what the
    timer of a fragment sends holds a click that the page has not sent yet, and sends then: it would act twice.
    """
    from streamlit.runtime.app_session import AppSession

    native = AppSession.request_rerun

    @functools.wraps(native)
    def request(self: Any, client_state: Any) -> None:
        if client_state:
            guarded(lambda: _note(hooks, self, client_state))
        native(self, client_state)

    AppSession.request_rerun = request  # type: ignore[method-assign]


def _note(hooks: Hooks, session: Any, client_state: Any) -> None:
    """Number the request, and have it ask for what somebody's click in it needs."""
    sent, fragment = client_state.widget_states, client_state.fragment_id
    take_number(sent)  # where a file has changed, Streamlit asks with the object that it asked with before
    states, triggers = read_client_state(sent)
    is_timers = bool(client_state.is_auto_rerun)
    if not states and not triggers:
        return  # no page has sent this: a file has changed, or a page has nothing yet
    number = hooks.requested(session.id, states, is_timers=is_timers)
    if number is None:
        return
    put_number(sent, number)
    if is_timers:
        drop_triggers(sent, triggers)
    elif fragment and hooks.needs_whole_run(session.id, _strangers(session, fragment, triggers)):
        client_state.fragment_id = ""


def _strangers(session: Any, fragment: str, triggers: frozenset[str]) -> frozenset[str]:
    """Return the triggers that are not of this fragment's (WStates.widget_metadata, 1.65+)."""
    known = session._session_state._new_widget_state.widget_metadata
    return frozenset(name for name in triggers if getattr(known.get(name), "fragment_id", None) != fragment)


def wrap_queue(hooks: Hooks) -> None:
    """`AppSession._clear_queue`: what the page has not been sent yet of a fragment that runs again (1.65+).

    Streamlit drops it, also where a full run has drawn it. The page then takes that fragment away at the end of the
    full run, all that stands below moves up by one, and the fragment is drawn over the first of it. What widgets of the
    fragment were told by code is lost too: the page makes them anew, and they show their defaults.
    """
    from streamlit.runtime.app_session import AppSession

    native = AppSession._clear_queue

    @functools.wraps(native)
    def clear(self: Any, fragment_ids_this_run: list[str] | None = None) -> None:
        fragments = fragment_ids_this_run
        if fragments and guarded(lambda: hooks.knows(self.id)):
            self._browser_queue._delta_index_map = {}  # what comes is put behind what is there, not into its place
            return
        native(self, fragments)

    AppSession._clear_queue = clear  # type: ignore[method-assign]


def wrap_runner(hooks: Hooks) -> None:
    """`AppSession._create_scriptrunner`: where Streamlit drops what a run drew (1.65+, streamlit#9921).

    A fragment's rerun that comes when a run has just ended finds its runner stopped, and a new one is made; whatever
    the event loop had not yet taken from the old one is ignored from then on. After a full rerun nobody misses it,
    but a fragment draws only itself.
    """
    from streamlit.runtime.app_session import AppSession

    native = AppSession._create_scriptrunner

    @functools.wraps(native)
    def create(self: Any, initial_rerun_data: Any) -> None:
        of_fragments = initial_rerun_data.fragment_id or initial_rerun_data.fragment_id_queue
        if self._scriptrunner is not None and of_fragments:
            guarded(lambda: hooks.output_dropped(self.id))
        native(self, initial_rerun_data)

    AppSession._create_scriptrunner = create  # type: ignore[method-assign]
