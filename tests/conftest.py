"""What every unit test must not leave behind."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from streamlit.testing.v1 import AppTest

RUN_TIMEOUT_S = 60
"""Streamlit's default of 3 s for one run of an AppTest fails on a loaded machine."""

for _create in (AppTest.from_function, AppTest.from_string, AppTest.from_file):
    _create.__func__.__kwdefaults__["default_timeout"] = RUN_TIMEOUT_S


@pytest.fixture(autouse=True)
def no_hidden_fault(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The hooks log a fault of their own instead of stopping the app; a test does not let it pass."""
    yield
    hidden = [
        record for record in caplog.get_records("call") if "failed beside a Streamlit call" in record.message
    ]
    assert not hidden, hidden[0].exc_text


@pytest.fixture(autouse=True)
def no_session_left() -> Iterator[None]:
    """A session that another test leaves, perhaps with edits that can never be saved, is nobody's to wait for."""
    yield
    loaded = sys.modules.get("streamlit_crdt.session.streamlit_hooks")
    if loaded is not None:
        for session in loaded.registry.sessions():
            session.release()
        loaded.registry._sessions.clear()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The reruns that were asked for: of a fragment, or (None) of the whole script."""
    fragments: list[str | None] = []
    monkeypatch.setattr(
        "streamlit_crdt._compat.RunContext.request_rerun", lambda _run, fragment: fragments.append(fragment)
    )
    return fragments
