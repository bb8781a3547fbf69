"""What docs/testing.md shows passes, run by pytest as its reader would."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parent.parent.parent / "docs" / "testing.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_tests_in_the_documentation_pass(tmp_path: Path) -> None:
    app, *tests = BLOCKS
    assert "crdt_sync" in app
    (tmp_path / "app.py").write_text(app)
    for number, text in enumerate(tests):
        (tmp_path / f"test_{number}.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", str(tmp_path)]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert told.returncode == 0, told.stdout
    written = sum(text.count("\ndef test_") for text in tests)
    assert written == 6
    assert f"{written + 4} passed" in told.stdout, "one of them is run for five seeds"
