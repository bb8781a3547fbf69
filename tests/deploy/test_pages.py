"""Pages of one app process: scripts that raise, loop or block, and hundreds of pages that come and go."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.harness import Deployment, RunningApp, make_app
from tests.support.streamlit_page import DEADLINE_S, Page, page

SCRIPT = """
import time
from pathlib import Path

import streamlit as st
from streamlit_crdt import crdt_sync

name = st.query_params.get("room")
crdt_sync(name)
a = st.text_input("A", key="a")
b = st.text_input("B", key="b")
st.text(f"a={a} b={b}.")
if a == "first" and "stuck" in st.query_params:
    if name == "raises":
        raise ValueError("raised by the script")
    counter = st.empty()
    while not Path(f"{name} may end").exists():
        if name == "sleeps":
            time.sleep(0.05)
        if name == "loops":
            counter.text("")
"""


@contextlib.contextmanager
def running(folder: Path, **env: str) -> Iterator[RunningApp]:
    (folder / "app.py").write_text(SCRIPT, encoding="utf-8")
    app = make_app(Deployment.EMBEDDED, folder / "app.py", folder, env)
    app.start()
    try:
        yield app
    finally:
        app.stop()


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """Port and folder of an app."""
    folder = tmp_path_factory.mktemp("pages")
    with running(folder) as started:
        yield port_of(started), folder


def port_of(app: RunningApp) -> int:
    return int(app.url.rstrip("/").rpartition(":")[2])


def wait_until_shown(shown: Page, text: str) -> None:
    """Rerun a page until it shows a text."""
    ends_at = time.monotonic() + DEADLINE_S
    while text not in shown.texts:
        assert time.monotonic() < ends_at, f"{text!r} is not in {shown.texts}"
        shown.run()
        shown.read_run()


@pytest.mark.parametrize("name", ["raises", "sleeps", "loops", "spins"])
def test_N1_stuck_script_stops_no_other_session_and_loses_no_edit(name: str, app: tuple[int, Path]) -> None:
    port, folder = app
    with page(port, f"room={name}") as ada, page(port, f"room={name}&stuck=1") as stuck:
        stuck.set_text("A", "first")
        stuck.run()
        wait_until_shown(ada, "a=first b=.")
        for number in range(5):
            ada.set_text("B", str(number))
            ada.run()
            ada.read_run()
            assert f"a=first b={number}." in ada.texts
        with page(port, f"room={name}") as ben:
            wait_until_shown(ben, "a=first b=4.")  # its first run may precede the last batch of the room
        stuck.set_text("A", "second")  # while the script is stuck
        stuck.run()
        if name != "raises":
            (folder / f"{name} may end").touch()
        wait_until_shown(ada, "a=second b=4.")
        while not any("second" in text for text in stuck.texts):
            stuck.read_run()
        assert "a=second b=4." in stuck.texts


@dataclass(frozen=True)
class Resources:
    """Resources of a process."""

    memory_kb: int
    threads: int
    files: int

    @classmethod
    def of(cls, pid: int) -> Resources:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
        status = dict(line.split(":", 1) for line in lines)
        return cls(
            int(status["VmRSS"].split()[0]), int(status["Threads"]), len(os.listdir(f"/proc/{pid}/fd"))
        )


def rest(pid: int) -> Resources:
    """Return the resources when threads and files do not become fewer any more."""
    before = Resources.of(pid)
    while True:
        time.sleep(6)
        after = Resources.of(pid)
        if after.threads >= before.threads and after.files >= before.files:
            return after
        before = after


@pytest.mark.soak
def test_N1_hundreds_of_pages_leave_no_resources(tmp_path: Path) -> None:
    with running(tmp_path, STREAMLIT_SERVER_DISCONNECTED_SESSION_TTL="1") as app:
        port, pid = port_of(app), app.server.pid
        rests = []
        for batch in range(3):
            for number in range(batch * 200, batch * 200 + 200, 5):
                with contextlib.ExitStack() as stack:
                    pages = [stack.enter_context(page(port, f"room=room{number % 20}")) for _ in range(5)]
                    for index, opened in enumerate(pages):
                        opened.set_text("A", f"{number} {index}")
                        opened.run()
                    for opened in pages:
                        opened.read_run()
            rests.append(rest(pid))
    first, second, third = rests
    assert third.memory_kb <= 1.1 * second.memory_kb, rests
    assert third.threads <= 1.1 * second.threads, rests
    assert third.files <= 1.1 * second.files, rests
    assert first.files <= 1.1 * third.files, rests
