"""Sessions of one app, run by Streamlit's AppTest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from streamlit_crdt.session.streamlit_hooks import registry


def settle() -> None:
    """Wait until the rooms have applied the edits of all sessions."""
    for session in registry.sessions():
        for room_session in session.room_sessions.values():
            assert room_session.flush(timeout_s=30)


def caught_up(session: AppTest) -> AppTest:
    """Run `session` once the rooms have applied the edits of all sessions."""
    settle()
    return session.run()


def session(app: Callable[..., None], room: str, **kwargs: Any) -> AppTest:
    """Open the app in a new session."""
    return AppTest.from_function(app, kwargs={"room": room, **kwargs}).run()


def run_fragment(one: AppTest, monkeypatch: pytest.MonkeyPatch, fragment: str = "panel") -> None:
    """Run `one` as a rerun of `fragment`. The app itself must skip the parts outside of it."""
    with monkeypatch.context() as patch:
        patch.setattr("streamlit_crdt._compat.run_context.fragments_of_run", lambda _ctx: (fragment,))
        one.run()
