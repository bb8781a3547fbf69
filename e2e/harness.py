"""Processes of the browser tests: an app and its room server in one of the supported deployments.

A port is chosen by binding it. A start ends when the health endpoint answers. The output of a process is written to a
log file, which a failing test shows. Environment variables configure Streamlit, because they work for every launcher.
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
from e2e.preloaded import PreloadedProcess

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
    "STREAMLIT_CRDT_STORE": "memory",  # a file beside the script would be shared by all tests
    "STREAMLIT_CRDT_SECRET": "one secret for the app and the room server",
}

SERVER_VARIABLE = "CRDT_SERVER"
"""Environment variable with the address of a stand-alone server. The test apps pass it as `server=`."""

ASGI_MODULE = "asgi_app"
ASGI_APP = """import streamlit as st

from streamlit_crdt import crdt_app

app = st.App({script!r}, **crdt_app())
"""
"""Source of the ASGI module beside the script."""


class Deployment(StrEnum):
    """Launcher of an app, and location of its room server."""

    EMBEDDED = "embedded"  # streamlit run script.py
    MOUNTED = "mounted"  # hypercorn app:app, where app = st.App(script, **crdt_app())
    RUN = "run"  # streamlit-crdt run script.py: mounted, on uvicorn
    STANDALONE = "standalone"  # streamlit-crdt serve, and streamlit run script.py


DEPLOYMENTS = (Deployment.EMBEDDED, Deployment.MOUNTED, Deployment.STANDALONE)
EDIT_PATHS = (Deployment.EMBEDDED, Deployment.STANDALONE)
"""One deployment for each path of an edit: directly into the room, or through the tab. Mounted equals embedded here."""


# Below the system's range of ephemeral ports. Each pytest worker has its own range.
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_ports = itertools.cycle(random.sample(range(12_000 + _worker * 4_000, 16_000 + _worker * 4_000), 4_000))
_released: list[int] = []
"""Ports of ended apps. A browser has their frontend compiled, and loads the next app there in half the time."""


def page_port() -> int:
    """Return a free port for an app: that of an ended app, or another one."""
    return _released.pop() if _released else free_port()


def free_port() -> int:
    """Return a free port of the loopback address."""
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
    """A child process with its health endpoint and log. Its own children are in its process group, and end with it.

    A preloaded process is forked with Streamlit imported. Its command begins with `sys.executable, "-m"`.
    """

    name: str
    command: Sequence[str]
    health_url: str
    env: Mapping[str, str]
    folder: Path
    preloaded: bool = False
    _child: subprocess.Popen[bytes] | PreloadedProcess | None = None

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
        env = {**os.environ, **self.env}
        if self.preloaded:
            self._child = PreloadedProcess(self.command[2:], self.folder, env, self.log_path)
        else:
            with self.log_path.open("ab") as sink:
                self._child = subprocess.Popen(
                    self.command, cwd=self.folder, env=env,
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
        """Stop the process, with SIGKILL to simulate a crash. Return its exit code, None if it was not running."""
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
    """An app at `url`. `server` is the process with the rooms: that of the app, or of the stand-alone server."""

    deployment: Deployment
    port: int
    app: Process
    server: Process
    room_socket: str
    processes: list[Process] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def start(self) -> None:
        for process in self.processes:
            process.start()

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.stop()

    def end(self) -> None:
        """Stop the app for good. Another app may use its port afterwards."""
        self.stop()
        _released.append(self.port)

    @property
    def logs(self) -> str:
        return "\n".join(f"--- {p.name}: {p.log_path}\n{p.log}" for p in self.processes)


def kill_group(leader: int) -> None:
    """Kill the remaining processes of a group, for example the worker of a killed hypercorn."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def answers(url: str) -> bool:
    """Return True if a GET of `url` returns status 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def make_app(
    deployment: Deployment,
    script: Path,
    folder: Path,
    env: Mapping[str, str] | None = None,
    *,
    asgi_app: str = ASGI_APP,
) -> RunningApp:
    """Return an app that is not started.

    Args:
        deployment: launcher and location of the room server.
        script: path of the script.
        folder: folder for the logs and the store.
        env: environment variables, in addition to the defaults.
        asgi_app: source of the ASGI module, for `Deployment.MOUNTED`.
    """
    port, room_port = page_port(), free_port()
    (folder / f"{ASGI_MODULE}.py").write_text(asgi_app.format(script=str(script)), encoding="utf-8")
    variables = {
        **STREAMLIT_ENV,
        **ROOMS_ENV,
        "STREAMLIT_SERVER_PORT": str(port),
        "STREAMLIT_CRDT_PORT": str(room_port),
    }
    mounted = f"ws://{HOST}:{port}/crdt"
    separate = f"ws://{HOST}:{room_port}"
    if deployment is Deployment.STANDALONE:
        variables[SERVER_VARIABLE] = separate
    variables |= env or {}
    commands: dict[Deployment, list[str]] = {
        Deployment.EMBEDDED: ["-m", "streamlit", "run", str(script)],
        Deployment.STANDALONE: ["-m", "streamlit", "run", str(script)],
        Deployment.RUN: ["-m", "streamlit_crdt", "run", str(script)],
        Deployment.MOUNTED: ["-m", "hypercorn", "--bind", f"{HOST}:{port}", f"{ASGI_MODULE}:app"],
    }
    health = f"http://{HOST}:{port}/_stcore/health"
    # Hypercorn starts its worker itself, and `streamlit-crdt run` configures Streamlit before it is imported.
    preloaded = deployment in EDIT_PATHS
    app = Process("app", [sys.executable, *commands[deployment]], health, variables, folder, preloaded)
    processes, server = [app], app
    if deployment is Deployment.STANDALONE:
        serve = [sys.executable, "-m", "streamlit_crdt", "serve"]
        server = Process("server", serve, f"http://{HOST}:{room_port}/healthz", variables, folder, preloaded)
        processes = [server, app]
    room_socket = mounted if deployment in (Deployment.MOUNTED, Deployment.RUN) else separate
    return RunningApp(deployment, port, app, server, room_socket, processes)
