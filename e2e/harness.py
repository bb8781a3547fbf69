"""Starts an app in any of the three ways to run it, and stops exactly what it started.

A port is picked by trying, a start is over when the health route answers, and what a process wrote is kept in a file
that a failing test shows. Streamlit is configured by variables, because these work however it is started.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from e2e.polling import eventually

HOST = "127.0.0.1"
START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 15.0

STREAMLIT_ENV = {
    "STREAMLIT_SERVER_HEADLESS": "true",
    "STREAMLIT_SERVER_ADDRESS": HOST,
    "STREAMLIT_SERVER_FILE_WATCHER_TYPE": "none",
    "STREAMLIT_SERVER_SHOW_EMAIL_PROMPT": "false",
    "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false",
    "PYTHONUNBUFFERED": "1",
}

ROOMS_ENV = {
    "STREAMLIT_CRDT_STORE": "memory",  # not a file beside the script, which all tests would share
    "STREAMLIT_CRDT_SECRET": "one secret for the app and the room server",
}

SERVER_VARIABLE = "CRDT_SERVER"
"""An app that is run against a stand-alone server finds its address here and passes it as `server=`."""

ASGI_MODULE = "asgi_app"
ASGI_APP = """import streamlit as st

from streamlit_crdt import crdt_app

app = st.App({script!r}, **crdt_app())
"""
"""The file that a deployment would have beside its script."""


class Way(StrEnum):
    """How an app and its room server are run."""

    EMBEDDED = "embedded"  # streamlit run script.py
    MOUNTED = "mounted"  # hypercorn app:app, where app = st.App(script, **crdt_app())
    RUN = "run"  # streamlit-crdt run script.py: the same on uvicorn
    STANDALONE = "standalone"  # streamlit-crdt serve, and streamlit run script.py beside it


THREE_WAYS = (Way.EMBEDDED, Way.MOUNTED, Way.STANDALONE)
TWO_WAYS = (Way.EMBEDDED, Way.STANDALONE)
"""An edit goes straight into the room or through the tab; where the room is mounted it goes as where it is embedded."""


# Below the range from which the system picks ports for outgoing connections, and elsewhere for each worker.
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_ports = itertools.cycle(random.sample(range(12_000 + _worker * 4_000, 16_000 + _worker * 4_000), 4_000))


def free_port() -> int:
    """Return a port of the loopback address that nobody listens on."""
    for port in _ports:
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise AssertionError("unreachable")


@dataclass
class Process:
    """One child process, its health route and its log. What it starts itself is in its group, and ends with it."""

    name: str
    command: Sequence[str]
    health_url: str
    env: Mapping[str, str]
    folder: Path
    _child: subprocess.Popen[bytes] | None = None

    @property
    def log_path(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8", errors="replace") if self.log_path.exists() else ""

    @property
    def pid(self) -> int:
        assert self._child is not None, f"{self.name} is not running"
        return self._child.pid

    def start(self) -> None:
        assert self._child is None, f"{self.name} is running already"
        with self.log_path.open("ab") as sink:
            self._child = subprocess.Popen(
                self.command, cwd=self.folder, env={**os.environ, **self.env},
                stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        eventually(self._is_up, deadline_s=START_DEADLINE_S, why=f"{self.name} answers at {self.health_url}")

    def _is_up(self) -> bool:
        child = self._child
        if child is not None and child.poll() is not None:
            self._child = None
            raise RuntimeError(
                f"{self.name} ended with {child.returncode} while it was starting:\n{self.log}"
            )
        return answers(self.health_url)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int | None:
        """End the process (SIGKILL for a crash) and return its exit code; None if it was not running."""
        child, self._child = self._child, None
        if child is None:
            return None
        was_running = child.poll() is None
        try:
            if was_running and how is not signal.SIGKILL:
                child.send_signal(how)
                child.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self.name} did not stop within {STOP_DEADLINE_S:g} s:\n{self.log}"
            ) from None
        finally:
            kill_group(child.pid)
            child.wait(STOP_DEADLINE_S)
        return child.returncode if was_running else None

    def restart(self, how: signal.Signals = signal.SIGTERM) -> None:
        self.stop(how)
        self.start()


@dataclass
class RunningApp:
    """An app that answers at `url`; `server` is the process that holds the rooms (the app's own, or its own)."""

    way: Way
    url: str
    app: Process
    server: Process
    room_socket: str
    processes: list[Process] = field(default_factory=list)

    def start(self) -> None:
        for process in self.processes:
            process.start()

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.stop()

    @property
    def logs(self) -> str:
        return "\n".join(f"--- {p.name}: {p.log_path}\n{p.log}" for p in self.processes)


def kill_group(leader: int) -> None:
    """Kill what is left of a process group, such as the worker of a hypercorn that was killed itself."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def answers(url: str) -> bool:
    """Say whether a GET of `url` gives 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def make_app(
    way: Way,
    script: Path,
    folder: Path,
    env: Mapping[str, str] | None = None,
    *,
    asgi_app: str = ASGI_APP,
) -> RunningApp:
    """Prepare (not start) an app; its files go to `folder`, and `env` wins over the defaults.

    Args:
        asgi_app: the source of the module whose `app` is served where it is mounted.
    """
    port, room_port = free_port(), free_port()
    (folder / f"{ASGI_MODULE}.py").write_text(asgi_app.format(script=str(script)), encoding="utf-8")
    variables = {
        **STREAMLIT_ENV,
        **ROOMS_ENV,
        "STREAMLIT_SERVER_PORT": str(port),
        "STREAMLIT_CRDT_PORT": str(room_port),
    }
    mounted = f"ws://{HOST}:{port}/crdt"
    separate = f"ws://{HOST}:{room_port}"
    if way is Way.STANDALONE:
        variables[SERVER_VARIABLE] = separate
    variables |= env or {}
    commands: dict[Way, list[str]] = {
        Way.EMBEDDED: ["-m", "streamlit", "run", str(script)],
        Way.STANDALONE: ["-m", "streamlit", "run", str(script)],
        Way.RUN: ["-m", "streamlit_crdt", "run", str(script)],
        Way.MOUNTED: ["-m", "hypercorn", "--bind", f"{HOST}:{port}", f"{ASGI_MODULE}:app"],
    }
    health = f"http://{HOST}:{port}/_stcore/health"
    app = Process("app", [sys.executable, *commands[way]], health, variables, folder)
    processes, server = [app], app
    if way is Way.STANDALONE:
        serve = [sys.executable, "-m", "streamlit_crdt", "serve"]
        server = Process("server", serve, f"http://{HOST}:{room_port}/healthz", variables, folder)
        processes = [server, app]
    room_socket = mounted if way in (Way.MOUNTED, Way.RUN) else separate
    return RunningApp(way, f"http://{HOST}:{port}", app, server, room_socket, processes)
