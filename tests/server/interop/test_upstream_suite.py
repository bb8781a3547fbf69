"""The test suite of pycrdt-websocket, run on `Hub` and `Room`.

Its wheel contains no tests. `make install` downloads the source distribution that requirements/upstream-tests.txt
pins, and `make` names its folder in STREAMLIT_CRDT_TEST_UPSTREAM. The packages that the suite needs are in the extra
`dev`; its Node clients use the packages of package.json.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

UPSTREAM = os.environ.get("STREAMLIT_CRDT_TEST_UPSTREAM")
HERE = Path(__file__).parents[1]
TESTS = 54


@pytest.mark.skipif(UPSTREAM is None, reason="needs the tests of pycrdt-websocket: run it by `make test-py`")
def test_pycrdt_websocket_test_suite_passes_on_hub_and_room() -> None:
    assert UPSTREAM is not None
    paths = [HERE / "substitute", Path(UPSTREAM) / "tests", HERE.parents[1] / "server"]
    inherited = os.environ.get("PYTHONPATH", "")
    env = os.environ | {"PYTHONPATH": os.pathsep.join([*map(str, paths), inherited])}
    options = ["-c", os.devnull, "--rootdir", UPSTREAM, "-p", "no:cacheprovider", "-p", "our_classes"]
    command = [sys.executable, "-m", "pytest", "-q", *options, "tests"]
    result = subprocess.run(command, cwd=UPSTREAM, env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]
    assert re.search(rf"\b{TESTS} passed", result.stdout), result.stdout[-1000:]
