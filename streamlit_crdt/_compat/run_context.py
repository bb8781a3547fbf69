"""Context of a script run: session, fragments, page, and requests for further runs."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from streamlit import config, runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

from streamlit_crdt._compat.hooks import log_failure

if TYPE_CHECKING:
    from streamlit_crdt._compat.hooks import Hooks, RunHooks

_creation_lock: Final = threading.Lock()
"""Fragments that run in parallel threads share one run context."""


class RunContext:
    """One run of a session's script, full or of fragments.

    The object is the identity of the run. Streamlit uses one `ScriptRunContext` for all runs of a thread.

    Attributes:
        streamlit_context: Streamlit's ScriptRunContext. Only this package reads it.
        is_app_test: whether Streamlit's AppTest runs the script. Then there is no browser.
        session_key: id of the session. AppTest gives all its sessions one id; the key contains the id of the state
            there.
        fragments: ids of the fragments that this run reruns; empty in a full run.
        state_lock: the lock that this run's accesses to session state take (SafeSessionState, 1.65+). Without it, a run
            that begins or ends may wait for the session's lock while it holds this one.
        hooks: session side of the run; None until the session enters a room.
    """

    def __init__(self, streamlit_context: Any, *, cursors: object = None) -> None:
        """Read what does not change during a run.

        Args:
            cursors: the identity of a run that began before the library was installed (see `run_context_of`).
        """
        self.streamlit_context = streamlit_context
        self.cursors = cursors
        self.is_app_test = is_app_test()
        self._thread_id = threading.get_ident()
        self.session_key = session_key(streamlit_context, is_app_test=self.is_app_test)
        self.fragments = fragments_of_run(streamlit_context)
        self.state_lock: AbstractContextManager[Any] = (
            getattr(streamlit_context.session_state, "_lock", None) or nullcontext()
        )
        self.hooks: RunHooks | None = None

    @property
    def is_superseded(self) -> bool:
        """True if a newer run replaces this one (ScriptRequests, 1.65+). It does not change back.

        With `runner.fastReruns`, the default, a click starts a second thread at once. The first thread goes on to its
        next yield point. For a moment two runs of one session overlap. Without ScriptRequests, no run is superseded.
        """
        state = getattr(self.streamlit_context.script_requests, "_state", None)
        return getattr(state, "name", None) == "STOP"

    @property
    def is_in_script(self) -> bool:
        """True in the thread of the script, and in that of a parallel fragment, but not in a thread of the app."""
        return threading.get_ident() == self._thread_id or fragment_id() is not None

    @property
    def page(self) -> str:
        """Hash of the page that the script shows; `st.navigation` changes it during a run (ScriptRunContext, 1.65+)."""
        return str(self.streamlit_context.page_script_hash)

    def latest(self) -> RunContext:
        """Return the context of the newest run in the thread of this run."""
        return run_context_of(self.streamlit_context)

    def request_rerun(self, fragment: str | None) -> None:
        """Request one more run after this one: of one fragment, or (None) of the whole script (RerunData, 1.65+).

        `st.rerun()` interrupts a script. At the end of a run there is nothing left to interrupt.
        """
        requests = self.streamlit_context.script_requests
        if requests is not None:
            requests.request_rerun(self.rerun_data(fragment))

    def rerun_data(self, fragment: str | None) -> Any:
        """Return Streamlit's request for a run of one fragment, or (None) of the whole script (RerunData, 1.65+)."""
        from streamlit.runtime.scriptrunner_utils.script_requests import RerunData

        ctx = self.streamlit_context
        return RerunData(
            query_string=ctx.query_string,
            page_script_hash=ctx.page_script_hash,
            fragment_id_queue=[fragment] if fragment else [],
            cached_message_hashes=ctx.cached_message_hashes,
            context_info=ctx.context_info,
        )


def current_run() -> RunContext | None:
    """Return the context of the run in this thread; None outside of runs (get_script_run_ctx, 1.65+)."""
    ctx = get_script_run_ctx(suppress_warning=True)
    return None if ctx is None else run_context_of(ctx)


def current_hooks(hooks: Hooks) -> RunHooks | None:
    """Return the hooks of the run in this thread; None outside of runs and in sessions that are in no room."""
    run = current_run()
    if run is None:
        return None
    if run.hooks is None:
        try:
            run.hooks = hooks.find_run(run)
        except Exception:
            log_failure()
    return run.hooks


def begin_run(ctx: Any) -> None:
    """Create the context of a run that begins."""
    ctx.streamlit_crdt_run = RunContext(ctx)


def run_context_of(ctx: Any) -> RunContext:
    """Return the context of the run that a ScriptRunContext is in.

    A run that began before the library was installed gets its context at the first call. Its identity is its cursors:
    `reset` replaces them at the start of a run, and a fragment does so when it begins (1.65+).
    """
    run: RunContext | None = getattr(ctx, "streamlit_crdt_run", None)
    if run is not None and (run.cursors is None or run.cursors is ctx.cursors):
        return run
    with _creation_lock:
        run = getattr(ctx, "streamlit_crdt_run", None)
        if run is None or run.cursors is not ctx.cursors:
            run = ctx.streamlit_crdt_run = RunContext(ctx, cursors=ctx.cursors)
        return run


def fragment_id() -> str | None:
    """Return the id of the fragment whose body or callback this thread runs (ThreadState, 1.65+); None if unknown."""
    try:
        from streamlit.runtime.scriptrunner_utils.script_run_context import ThreadState

        return ThreadState.get().fragment_id
    except (ImportError, AttributeError, RuntimeError):
        return None


def fragments_of_run(ctx: Any) -> tuple[str, ...]:
    """Return the fragments that a run reruns (ScriptRunContext, 1.65+); empty in a full run."""
    return tuple(getattr(ctx, "fragment_ids_this_run", None) or ())


def session_key(ctx: Any, *, is_app_test: bool) -> str:
    """Return the key of a session: Streamlit's id, or in an AppTest the id of its state (ScriptRunContext, 1.65+)."""
    return app_test_key(ctx.session_state) if is_app_test else str(ctx.session_id)


def app_test_key(state: Any) -> str:
    """Return the key of an AppTest's session: the id of its state object (SafeSessionState, 1.65+)."""
    return f"AppTest {id(state._state)}"


def is_app_test() -> bool:
    """Return whether Streamlit's AppTest runs the script. Then there is no browser (option global.appTest, 1.65+)."""
    return bool(config.get_option("global.appTest"))


def has_server() -> bool:
    """Return whether Streamlit's server, or an AppTest, runs in this process (streamlit.runtime.exists, 1.65+)."""
    return runtime.exists()


def script_folder() -> Path | None:
    """Return the folder of the running script (ScriptRunContext, 1.65+); None outside of a run and in an AppTest."""
    path = getattr(get_script_run_ctx(suppress_warning=True), "main_script_path", None)
    return None if not path or is_app_test() else Path(path).resolve().parent


def page_name(ctx: Any, page_hash: str) -> str:
    """Return a name of a page that is equal in every process (PagesManager, 1.65+).

    Streamlit's hash of a page depends on its absolute path. Without PagesManager, the hash is returned; then widgets
    without a key are shared only between processes that have the script at the same path.
    """
    manager = getattr(ctx, "pages_manager", None)
    try:
        if manager is None or page_hash == manager.main_script_hash:
            return ""
        page = manager.get_pages().get(page_hash) or {}
        return str(page.get("url_pathname") or page.get("page_name") or page_hash)
    except AttributeError:
        return page_hash
