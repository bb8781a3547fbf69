"""Number of freezes of the garbage collector."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import streamlit_crdt_server

CODE = """
import gc
from streamlit_crdt_server import freeze_collector
print([freeze_collector() for _ in range(5)], gc.get_freeze_count() > 10_000)
"""


def test_first_three_calls_freeze_and_later_calls_do_nothing() -> None:
    env = os.environ | {"PYTHONPATH": str(Path(streamlit_crdt_server.__file__).parents[1])}
    answer = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, env=env)
    assert answer.stdout.split("]") == ["[True, True, True, False, False", " True\n"]
