"""What the context of a script run tells: which session, which run of it, which page and fragment."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from streamlit import config
from streamlit.runtime.scriptrunner import get_script_run_ctx

from streamlit_crdt._compat.app_test import app_test_key


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


def name_run(ctx: Any) -> None:
    """Tell the run that begins from all others: a context is used for many."""
    ctx.streamlit_crdt_run = object()


def run_identity(ctx: Any) -> Any:
    """Return an object that is the same throughout one run and another in the next.

    A run that began before `name_run` was called for it has its cursors (`reset` makes them anew, but so does a
    fragment when it begins).
    """
    return getattr(ctx, "streamlit_crdt_run", ctx.cursors)


def state_lock(ctx: Any) -> AbstractContextManager[Any]:
    """Return the lock that this run's accesses to the session's state take (SafeSessionState, 1.65+)."""
    lock: AbstractContextManager[Any] | None = getattr(ctx.session_state, "_lock", None)
    return nullcontext() if lock is None else lock


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


def session_key(ctx: Any) -> str:
    """Return what tells sessions apart: their id. AppTest gives all its sessions one id, so their state does there."""
    if not is_app_test():
        return str(ctx.session_id)
    return app_test_key(ctx.session_state)


def running_session_key() -> str | None:
    """Return the key of the session whose script runs in this thread, None if none does."""
    ctx = script_context()
    return None if ctx is None else session_key(ctx)


def is_app_test() -> bool:
    """Say whether Streamlit's AppTest runs the script: there is no browser then."""
    return bool(config.get_option("global.appTest"))


def script_folder() -> Path | None:
    """Return the folder of the script that runs; None outside of a run and in an AppTest (ScriptRunContext, 1.65+)."""
    path = getattr(script_context(), "main_script_path", None)
    return None if not path or is_app_test() else Path(path).resolve().parent


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
