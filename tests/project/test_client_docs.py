"""Snippets of docs/jobs.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from streamlit_crdt import connect
from streamlit_crdt_server import EmbeddedServer, KeyRing, Settings

PAGE = Path(__file__).parents[2] / "docs" / "jobs.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
SECRET = "a secret that only this test knows"


def test_job_snippets_run(monkeypatch: pytest.MonkeyPatch) -> None:
    server = EmbeddedServer(Settings(port=0), keys=KeyRing.from_secret(SECRET))
    server.start()
    monkeypatch.setenv("STREAMLIT_CRDT_SECRET", SECRET)
    monkeypatch.setenv("STREAMLIT_CRDT_PORT", str(server.port))
    assert len(SNIPPETS) == 2
    for snippet in SNIPPETS:
        exec(compile(snippet, str(PAGE), "exec"), {})
    with connect("import") as room:
        assert dict(room.state) == {"done": 3, "rows": [0, 1, 4], "stop": False, "total": 3}
    server.stop()
