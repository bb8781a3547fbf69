"""Running one fragment of a session from a thread that is in none of its runs."""

from __future__ import annotations

from typing import Any

from streamlit_crdt._compat.hooks import guarded


def run_fragment_soon(ctx: Any, fragment: str) -> None:
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
