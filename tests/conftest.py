"""Fixtures that fail a test with a hidden error, and that remove its sessions."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from streamlit.testing.v1 import AppTest

RUN_TIMEOUT_S = 60
"""Streamlit's default of 3 s for one run of an AppTest fails on a loaded machine."""

for _create in (AppTest.from_function, AppTest.from_string, AppTest.from_file):
    _create.__func__.__kwdefaults__["default_timeout"] = RUN_TIMEOUT_S


@pytest.fixture
def anyio_backend() -> str:
    """Return the event loop of async tests. The server and Streamlit run on asyncio only."""
    return "asyncio"


@pytest.fixture(autouse=True)
def no_failed_hook(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail the test if a hook failed. The hooks log their failures and do not stop the app."""
    yield
    failures = [
        record for record in caplog.get_records("call") if "failed beside a Streamlit call" in record.message
    ]
    assert not failures, failures[0].exc_text


@pytest.fixture(autouse=True)
def no_remaining_session() -> Iterator[None]:
    """Remove the sessions of the test. Their edits may never be saved, and later tests must not wait for them."""
    yield
    loaded = sys.modules.get("streamlit_crdt.session.streamlit_hooks")
    if loaded is not None:
        for session in loaded.registry.sessions():
            session.release()
        loaded.registry._sessions.clear()


@pytest.fixture
def requested(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The requested reruns: of a fragment, or (None) of the whole script."""
    fragments: list[str | None] = []
    monkeypatch.setattr(
        "streamlit_crdt._compat.RunContext.request_rerun", lambda _run, fragment: fragments.append(fragment)
    )
    return fragments
