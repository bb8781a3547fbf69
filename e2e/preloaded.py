"""App processes, forked from a process that has imported Streamlit and the room server.

The imports cost 1.5 CPU seconds in each new interpreter. `streamlit_crdt` is not imported before the fork: an app
imports it in its first script run, when Streamlit is already running.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

_context = multiprocessing.get_context("forkserver")
# A module that a version of these packages does not have is left out.
_context.set_forkserver_preload(
    [
        "streamlit.web.cli",
        "streamlit.web.server.starlette",
        "streamlit.components.v2.manifest_scanner",
        "anyio._backends._asyncio",
        "starlette.middleware.sessions",
        "starlette.staticfiles",
        "uvicorn.lifespan.on",
        "uvicorn.protocols.http.auto",
        "uvicorn.protocols.websockets.auto",
        "websockets.asyncio.client",
        "websockets.sync.client",
        "streamlit_crdt_server",
    ]
)


class PreloadedProcess:
    """A forked process that runs `python -m` with its own folder, environment, output and process group.

    It has the members of `subprocess.Popen` that the harness uses.
    """

    def __init__(
        self, arguments: Sequence[str], folder: Path, env: Mapping[str, str], log_path: Path
    ) -> None:
        self._process = _context.Process(target=_run, args=(list(arguments), folder, dict(env), log_path))
        with _without_main_module():
            self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, which: int) -> None:
        os.kill(self.pid, which)

    def wait(self, timeout: float) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout)
        return self._process.exitcode


@contextmanager
def _without_main_module() -> Iterator[None]:
    """Hide the main module, which multiprocessing would run in the child. An AppTest leaves its script there."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _run(arguments: list[str], folder: Path, env: dict[str, str], log_path: Path) -> None:
    os.setsid()
    with log_path.open("ab") as sink:
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    module, *rest = arguments
    sys.argv = [module, *rest]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:  # multiprocessing leaves the process without these steps of the interpreter
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
