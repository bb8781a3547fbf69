"""Several sessions of one app, run by Streamlit's AppTest, for tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from streamlit_crdt.session.streamlit_hooks import registry


def settle() -> None:
    """Wait until the rooms have applied what all sessions wrote."""
    for session in registry.sessions():
        for binding in session.room_sessions.values():
            assert binding.flush(timeout_s=5)


def caught_up(session: AppTest) -> AppTest:
    """Run `session` once the room has applied what the others wrote."""
    settle()
    return session.run()


def session(app: Callable[..., None], room: str, **kwargs: Any) -> AppTest:
    """Open the app, as a new tab does."""
    return AppTest.from_function(app, kwargs={"room": room, **kwargs}).run()


def run_fragment(one: AppTest, monkeypatch: pytest.MonkeyPatch, fragment: str = "panel") -> None:
    """Run `one` as Streamlit runs a fragment: the script's other parts look where they are run, and do nothing."""
    with monkeypatch.context() as patch:
        patch.setattr("streamlit_crdt._compat.run_context.fragments_of_run", lambda _ctx: (fragment,))
        one.run()
