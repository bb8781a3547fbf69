"""First runs of a process, which began before the library wrapped Streamlit's functions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

DEADLINE_S = 60

APP = """
import threading
from streamlit.testing.v1 import AppTest

def app(how):
    import streamlit as st
    from streamlit_crdt import crdt_sync, private_key
    crdt_sync("r")
    st.slider("moved", key="moved")
    st.session_state["plain"] = how
    if how == "stop":
        st.stop()
    if how == "error":
        raise RuntimeError("expected")
    if how == "rerun" and private_key("again") not in st.session_state:
        st.session_state[private_key("again")] = 1
        st.rerun()

def shared():
    from streamlit_crdt.session.streamlit_hooks import registry
    return [sorted(session.room_sessions["r"].replica.items()) for session in registry.sessions()]
"""

ALONE = """
AppTest.from_function(app, default_timeout=60, kwargs={"how": HOW}).run()
assert shared() == [[("plain", HOW)]], shared()
"""

OVERLAPPING = """
def late(how, inside, may_continue):
    import streamlit as st
    inside.set()
    assert may_continue.wait(30)
    from streamlit_crdt import crdt_sync
    crdt_sync("r")
    st.session_state["late"] = how

inside, may_continue = threading.Event(), threading.Event()
second = AppTest.from_function(late, default_timeout=30, kwargs=dict(how=HOW, inside=inside, may_continue=may_continue))
running = threading.Thread(target=second.run)
running.start()
assert inside.wait(30)
AppTest.from_function(app, default_timeout=60, kwargs={"how": HOW}).run()
may_continue.set()
running.join()
assert [("late", HOW), ("plain", HOW)] in shared(), shared()
"""


@pytest.mark.parametrize("how", ["end", "stop", "error", "rerun"])
def test_assignment_of_first_run_in_process_is_shared_at_its_end(how: str, tmp_path: Path) -> None:
    check(f"HOW = {how!r}" + APP + ALONE, tmp_path)


def test_assignment_of_run_older_than_install_is_shared(tmp_path: Path) -> None:
    check("HOW = 'end'" + APP + OVERLAPPING, tmp_path)


def check(script: str, folder: Path) -> None:
    """Run a script in a separate process; fail with its error output."""
    (folder / "script.py").write_text(script)
    environment = {**os.environ, "STREAMLIT_CRDT_STORE": "memory"}
    process = subprocess.run(
        [sys.executable, "script.py"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert process.returncode == 0, process.stderr[-2000:]
