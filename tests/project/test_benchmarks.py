"""Apps of the comparison benchmark, with streamlit-crdt only. The measurement itself needs a browser."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from benchmarks.comparison.environments import APPS
from benchmarks.comparison.scenarios import SCENARIOS


@pytest.mark.parametrize("case", SCENARIOS)
def test_comparison_scenario_app_runs(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(APPS)
    monkeypatch.setenv("COMPARISON_CASE", case)
    monkeypatch.setenv("STREAMLIT_CRDT_STORE", "memory")
    app = AppTest.from_file(str(APPS / "with_streamlit_crdt.py"), default_timeout=30).run()
    assert not app.exception
    assert app.text[0].value.startswith("SHOWN ")
