"""Every private name of Streamlit that this library touches, and nothing else.

Why here: private names change without notice. Each entry says since when it looks like this (checked on 1.65 and
1.67) and what is lost without it. `install()` wraps six functions of Streamlit once per process; where one of them is
gone, the library says so in a single warning and goes on with what is left.

The wrapped functions never raise because of us: a fault on our side is logged with its traceback and Streamlit's own
function runs as if we were not there.
"""

from __future__ import annotations

import functools
import logging
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import streamlit
from streamlit import config
from streamlit.runtime.scriptrunner import get_script_run_ctx

from streamlit_crdt.errors import StreamlitTooOldError

_log = logging.getLogger("streamlit_crdt")

MIN_STREAMLIT = (1, 65)


class Hooks(Protocol):
    """What the session side does at the six places; see `session.py`."""

    def key_for(self, ctx: Any, element_type: str, native_hash: Callable[[], str]) -> str | None:
        """Name the key of an unkeyed widget, or None to leave it alone."""

    def see_identity(self, ctx: Any, element_type: str, key: str, arguments: Mapping[str, Any]) -> None:
        """Remember the arguments under which a keyed widget is about to be made."""

    def before_rules(self, ctx: Any, key: str, *, writes_allowed: bool) -> bool:
        """Say whether the value that waits for `key` was written by this library."""

    def before_register(self, ctx: Any, state: RawState, metadata: Any, key: str) -> None:
        """Check the value that waits for widget `key`."""

    def after_register(self, ctx: Any, metadata: Any, key: str, value: Any, assigned: bool) -> None:
        """Learn what widget `key` shows."""

    def browser_message(self, ctx: Any, states: Mapping[str, bytes], triggers: frozenset[str]) -> None:
        """Keep the widget states that the browser sent with this run."""

    def run_ended(self, ctx: Any, *, complete: bool, reruns: bool) -> None:
        """Push what the run assigned; `complete` if it was a full run, `reruns` if another follows at once."""

    def output_dropped(self, session_id: str) -> None:
        """Note that the page may lack what the last run drew. In the event loop's thread."""


class RawState:
    """The one write that public API refuses: to a widget's value while that widget is being made."""

    def __init__(self, session_state: Any) -> None:
        self._session_state = session_state

    def is_new(self, key: str) -> bool:
        """Say whether `key` was assigned by code since the last browser message (SessionState, 1.65+)."""
        return key in self._session_state._new_session_state

    def value(self, key: str) -> Any:
        return self._session_state[key]

    def __contains__(self, key: str) -> bool:
        return key in self._session_state

    def replace(self, key: str, value: Any) -> None:
        self._session_state._new_session_state[key] = value

    def discard(self, key: str) -> None:
        """Forget `key` wholly, so that the widget starts from its own default."""
        if key in self._session_state:
            del self._session_state[key]


def require_streamlit() -> None:
    """Raise `StreamlitTooOldError` below the floor that pyproject.toml names."""
    found = tuple(int(part) for part in streamlit.__version__.split(".")[:2] if part.isdigit())
    if len(found) == 2 and found < MIN_STREAMLIT:
        raise StreamlitTooOldError(streamlit.__version__, ".".join(map(str, MIN_STREAMLIT)))


def script_context() -> Any:
    """Return the context of the script run that this thread is in, None outside of one (1.65+)."""
    return get_script_run_ctx(suppress_warning=True)


def fragment_id() -> str | None:
    """Return the id of the fragment whose body or callback runs, if any (ThreadState, 1.65+)."""
    try:
        from streamlit.runtime.scriptrunner_utils.script_run_context import ThreadState

        return ThreadState.get().fragment_id
    except (ImportError, AttributeError, RuntimeError):
        return None


def fragments_of_run(ctx: Any) -> tuple[str, ...]:
    """Return the fragments that this run reruns; empty in a full run."""
    return tuple(getattr(ctx, "fragment_ids_this_run", None) or ())


def is_superseded(ctx: Any) -> bool:
    """Say whether a newer run has taken this one's place (ScriptRequests, 1.65+).

    With `runner.fastReruns`, which is the default, a click starts a second thread at once while the first one
    goes on to its next yield point: for a moment two runs of one session are under way.
    """
    state = getattr(ctx.script_requests, "_state", None)
    return getattr(state, "name", None) == "STOP"


def run_identity(ctx: Any) -> Any:
    """Return an object that is the same throughout one run and another in the next (`reset` makes it anew)."""
    return ctx.cursors


def request_rerun(ctx: Any, fragment: str | None) -> None:
    """Ask for one more run once this one is over: of one fragment, or (None) of the whole app (RerunData, 1.65+).

    `st.rerun()` cannot be used where this is needed: at the end of a run there is nothing left to interrupt.
    """
    from streamlit.runtime.scriptrunner_utils.script_requests import RerunData

    if ctx.script_requests is not None:
        ctx.script_requests.request_rerun(
            RerunData(
                query_string=ctx.query_string,
                page_script_hash=ctx.page_script_hash,
                fragment_id_queue=[fragment] if fragment else [],
                cached_message_hashes=ctx.cached_message_hashes,
                context_info=ctx.context_info,
            )
        )


def widget_keys(ctx: Any) -> frozenset[str]:
    """Return the keys that belong to widgets drawn so far (SessionState's key mapping, 1.65+)."""
    try:
        return frozenset(ctx.session_state._state._key_id_mapper._key_id_mapping)
    except AttributeError:
        return frozenset()


def script_folder() -> Path | None:
    """Return the folder of the script that runs; None outside of a run and in an AppTest (ScriptRunContext, 1.65+)."""
    path = getattr(script_context(), "main_script_path", None)
    return None if not path or is_app_test() else Path(path).resolve().parent


def is_app_test() -> bool:
    """Say whether Streamlit's AppTest runs the script: there is no browser then."""
    return bool(config.get_option("global.appTest"))


def session_key(ctx: Any) -> str:
    """Return what tells sessions apart: their id. AppTest gives all its sessions one id, so their state does there."""
    if not is_app_test():
        return str(ctx.session_id)
    return f"{ctx.session_id} {id(ctx.session_state._state)}"


def page_name(ctx: Any, page_hash: str) -> str:
    """Name a page the same in every process: by its place beside the main script, not by an absolute path's hash."""
    manager = getattr(ctx, "pages_manager", None)
    try:
        if manager is None or page_hash == manager.main_script_hash:
            return ""
        page = manager.get_pages().get(page_hash) or {}
        return str(page.get("url_pathname") or page.get("page_name") or page_hash)
    except AttributeError:
        return page_hash


def caller_argument(function: str, name: str) -> Any:
    """Return the local variable `name` of the nearest calling function called `function`, or None.

    Needed for `st.text_input(type="password")`: a keyed widget's type is in no argument that the wrapped functions see.
    """
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == function:
            return frame.f_locals.get(name)
        frame = frame.f_back  # type: ignore[assignment]
    return None


def command_line() -> Any:
    """Return Streamlit's command line, which alone knows its options and their types: `main`, `main_run` (1.65+)."""
    from streamlit.web import cli

    return cli


def load_config(options: Mapping[str, Any]) -> None:
    """Read Streamlit's settings anew, with these options above the files (`bootstrap.load_config_options`, 1.65+)."""
    from streamlit.web import bootstrap

    bootstrap.load_config_options(dict(options))


def makes_its_own_app(script: Path) -> bool:
    """Say whether `streamlit run` would take the script for an ASGI app (`discover_asgi_app`, 1.65+)."""
    from streamlit.web.server.app_discovery import discover_asgi_app

    return discover_asgi_app(script).is_asgi_app


_lock = threading.Lock()
_installed = False


def install(hooks: Hooks) -> None:
    """Wrap Streamlit's functions, once per process; warn once where one is missing."""
    global _installed
    with _lock:
        if _installed:
            return
        _installed = True
    missing = [name for name, wrap in _WRAPPERS.items() if not _try(wrap, hooks)]
    if missing:
        _log.warning(
            "streamlit-crdt does not know Streamlit %s well enough: %s. Widgets without a key may not be shared, and "
            "values may travel one run late. Install a version of streamlit-crdt made for it.",
            streamlit.__version__,
            "; ".join(missing),
        )


def _try(wrap: Callable[[Hooks], None], hooks: Hooks) -> bool:
    try:
        wrap(hooks)
    except (ImportError, AttributeError):
        return False
    return True


def _guarded(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception:
        # The outer edge between Streamlit and us: an app must not fail because sharing did.
        _log.exception("streamlit-crdt failed beside a Streamlit call; the app goes on without it")
        return None


def _wrap_identity(hooks: Hooks) -> None:
    """`_compute_element_id`: the one place that every widget with or without a key passes (1.51 to 1.67)."""
    from streamlit.elements.lib import utils

    native = utils._compute_element_id

    @functools.wraps(native)
    def compute(element_type: str, user_key: str | None = None, **arguments: Any) -> str:
        element_id = native(element_type, user_key, **arguments)
        ctx = get_script_run_ctx(suppress_warning=True)
        if ctx is None:
            return element_id
        if user_key is not None:
            _guarded(lambda: hooks.see_identity(ctx, element_type, user_key, arguments))
            return element_id
        key = _guarded(
            lambda: hooks.key_for(ctx, element_type, lambda: _stable_hash(ctx, element_type, arguments))
        )
        if key is None:
            return element_id
        _guarded(lambda: hooks.see_identity(ctx, element_type, key, arguments))
        return f"{element_id.removesuffix('None')}{key}"

    def _stable_hash(ctx: Any, element_type: str, arguments: Mapping[str, Any]) -> str:
        page = page_name(ctx, str(arguments.get("active_script_hash", "")))
        stable = native(element_type, None, **{**arguments, "active_script_hash": page})
        return stable.split("-")[1]

    utils._compute_element_id = compute


def _wrap_rules(hooks: Hooks) -> None:
    """`check_session_state_rules`: refuses, or complains about, values that this library wrote (1.65+)."""
    from streamlit.elements.lib import policies

    native = policies.check_session_state_rules

    @functools.wraps(native)
    def check(default_value: Any, key: str | None, writes_allowed: bool = True) -> None:
        ctx = get_script_run_ctx(suppress_warning=True)
        if (
            ctx is not None
            and key is not None
            and _guarded(lambda: hooks.before_rules(ctx, key, writes_allowed=writes_allowed))
        ):
            if not writes_allowed:
                return
            default_value = None
        native(default_value, key, writes_allowed)

    policies.check_session_state_rules = check


def _wrap_register(hooks: Hooks) -> None:
    """`SessionState.register_widget`: the one place where a widget's kind and value are both known (1.65+)."""
    from streamlit.runtime.state.session_state import SessionState

    native = SessionState.register_widget

    @functools.wraps(native)
    def register(self: Any, metadata: Any, user_key: str | None) -> Any:
        ctx = get_script_run_ctx(suppress_warning=True)
        if ctx is None or user_key is None:
            return native(self, metadata, user_key)
        state = RawState(self)
        _guarded(lambda: hooks.before_register(ctx, state, metadata, user_key))
        assigned = state.is_new(user_key)
        result = native(self, metadata, user_key)
        _guarded(lambda: hooks.after_register(ctx, metadata, user_key, result.value, assigned))
        return result

    SessionState.register_widget = register  # type: ignore[method-assign]


def _wrap_message(hooks: Hooks) -> None:
    """`SessionState.set_widgets_from_proto`: what the browser says each widget holds (1.65+)."""
    from streamlit.runtime.state.session_state import SessionState

    native = SessionState.set_widgets_from_proto

    @functools.wraps(native)
    def receive(self: Any, widget_states: Any) -> None:
        # First the hook: once it returns, no older run can write over what the browser sent.
        ctx = get_script_run_ctx(suppress_warning=True)
        if ctx is not None:
            _guarded(lambda: hooks.browser_message(ctx, *_read_message(widget_states)))
        native(self, widget_states)

    SessionState.set_widgets_from_proto = receive  # type: ignore[method-assign]


def first_message(ctx: Any) -> tuple[dict[str, bytes], frozenset[str]] | None:
    """Return what the browser sent with this run, read from the session's state (WStates, 1.65+).

    A tab whose app was restarted brings its values into a session of which nobody told us yet.
    """
    try:
        held = list(ctx.session_state._state._new_widget_state.states.values())
    except AttributeError:
        return None
    sent = [entry.value for entry in held if hasattr(entry.value, "WhichOneof")]
    return _read_states(sent) if sent else None


def _read_message(widget_states: Any) -> tuple[dict[str, bytes], frozenset[str]]:
    return _read_states(widget_states.widgets)


def _read_states(sent: Iterable[Any]) -> tuple[dict[str, bytes], frozenset[str]]:
    states: dict[str, bytes] = {}
    triggers: set[str] = set()
    for state in sent:
        if "trigger" in (state.WhichOneof("value") or "") or state.WhichOneof("value") == "chat_input_value":
            triggers.add(state.id)
        else:
            states[state.id] = state.SerializeToString(deterministic=True)
    return states, frozenset(triggers)


def _wrap_end(hooks: Hooks) -> None:
    """`script_runner.exec_func_with_error_handling`: returns at the end of every run, whatever ended it (1.65+)."""
    from streamlit.runtime.scriptrunner import script_runner

    native = script_runner.exec_func_with_error_handling  # type: ignore[attr-defined]

    @functools.wraps(native)
    def execute(func: Callable[[], Any], ctx: Any) -> Any:
        outcome = native(func, ctx)
        _result, _without_errors, rerun, *_ = outcome
        # st.stop() and errors count too: the page drops what such a run has not drawn.
        complete = rerun is None and not fragments_of_run(ctx)
        _guarded(lambda: hooks.run_ended(ctx, complete=complete, reruns=rerun is not None))
        return outcome

    script_runner.exec_func_with_error_handling = execute  # type: ignore[attr-defined]


def _wrap_runner(hooks: Hooks) -> None:
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
            _guarded(lambda: hooks.output_dropped(self.id))
        native(self, initial_rerun_data)

    AppSession._create_scriptrunner = create  # type: ignore[method-assign]


_WRAPPERS: dict[str, Callable[[Hooks], None]] = {
    "the identity of elements moved (_compute_element_id)": _wrap_identity,
    "the rules for session state moved (check_session_state_rules)": _wrap_rules,
    "the registration of widgets moved (SessionState.register_widget)": _wrap_register,
    "the browser's message moved (SessionState.set_widgets_from_proto)": _wrap_message,
    "the end of a run moved (exec_func_with_error_handling)": _wrap_end,
    "the start of a script's thread moved (AppSession._create_scriptrunner)": _wrap_runner,
}
