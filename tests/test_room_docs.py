"""The scripts of docs/rooms.md run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

PAGE = Path(__file__).parent.parent / "docs" / "rooms.md"
SCRIPTS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_every_script_is_found() -> None:
    assert len(SCRIPTS) == 2


@pytest.mark.parametrize("script", SCRIPTS, ids=["form", "own form"])
def test_the_scripts_about_rooms_run_as_they_stand_there(script: str) -> None:
    app = AppTest.from_string(script, default_timeout=20)
    app.query_params["room"] = "documented"
    assert not app.run().exception
    leave = next(button for button in app.button if button.label == "Leave")
    assert not leave.click().run().exception
    assert "room" not in app.query_params
