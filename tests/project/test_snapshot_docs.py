"""Snippets and room file of docs/snapshots.md."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from streamlit_crdt import crdt_sync
from streamlit_crdt_server import EmbeddedServer, KeyRing, Settings

PAGE = Path(__file__).parents[2] / "docs" / "snapshots.md"
TEXT = PAGE.read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
SECRET = "a secret that only this test knows"


@pytest.mark.parametrize("snippet", [snippet for snippet in SNIPPETS if "crdt_sync(" in snippet])
def test_snapshot_app_snippets_run(snippet: str) -> None:
    app = AppTest.from_string(snippet).run()
    assert not app.exception
    if "Keep this" in snippet:
        app.button[0].click().run()
        app.slider[0].set_value(7).run()
        app.button[1].click().run()
        assert not app.exception and app.slider[0].value == 1 and "by Ada at" in app.markdown[0].value


def test_snapshot_job_snippet_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = EmbeddedServer(Settings(port=0), keys=KeyRing.from_secret(SECRET))
    server.start()
    monkeypatch.setenv("STREAMLIT_CRDT_SECRET", SECRET)
    monkeypatch.setenv("STREAMLIT_CRDT_PORT", str(server.port))
    (snippet,) = (snippet for snippet in SNIPPETS if "connect(" in snippet)
    exec(compile(snippet, str(PAGE), "exec"), {})
    assert capsys.readouterr().out == "3 ['before the import']\n"
    server.stop()


def test_documented_room_file_loads() -> None:
    room = crdt_sync(None)
    (file,) = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    room.load(file)
    assert dict(room.state) == {
        "guests": 8, "notes": "hello", "period": (date(2026, 11, 27), date(2026, 12, 1)),
    }  # fmt: skip
    room.snapshots.restore("as presented")
    assert dict(room.state) == {"guests": 5}
