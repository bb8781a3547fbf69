"""The test suite of pycrdt-websocket, run on `Hub` and `Room`.

Its wheel contains no tests: set STREAMLIT_CRDT_TEST_UPSTREAM to a checkout of
https://github.com/y-crdt/pycrdt-websocket whose test requirements (httpx-ws, trio, sniffio, and the packages of its
tests/package.json) are installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = os.environ.get("STREAMLIT_CRDT_TEST_UPSTREAM")
HERE = Path(__file__).parents[1]


@pytest.mark.skipif(
    CHECKOUT is None, reason="STREAMLIT_CRDT_TEST_UPSTREAM is not set to a checkout of pycrdt-websocket"
)
def test_pycrdt_websocket_test_suite_passes_on_hub_and_room() -> None:
    assert CHECKOUT is not None
    paths = [HERE / "substitute", Path(CHECKOUT) / "tests", HERE.parents[1] / "server"]
    inherited = os.environ.get("PYTHONPATH", "")
    env = os.environ | {"PYTHONPATH": os.pathsep.join([*map(str, paths), inherited])}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "our_classes", "tests"]
    result = subprocess.run(command, cwd=CHECKOUT, env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-4000:]
