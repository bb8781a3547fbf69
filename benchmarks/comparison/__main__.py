"""Comparison of three libraries with the same apps, in two tabs each: `python -m benchmarks.comparison`.

The first call installs the two other libraries below `--folder`. All started processes are stopped at the end.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from importlib.metadata import version
from pathlib import Path

from playwright.sync_api import Browser, Error, sync_playwright

from benchmarks.comparison.environments import Library, import_error_today, prepare
from benchmarks.comparison.page import Page
from benchmarks.comparison.scenarios import SCENARIOS, Stage
from e2e.browser import launch
from e2e.harness import HOST, STREAMLIT_ENV, Process, free_port

DEFAULT_ROUNDS = 20
DEFAULT_FOLDER = Path(__file__).parent.parent.parent / ".venv-comparison"


class Running:
    """An app with one library, which can be killed and restarted with the same files."""

    def __init__(self, library: Library, case: str, folder: Path, browser: Browser) -> None:
        port, room_port = free_port(), free_port()
        env = {
            **STREAMLIT_ENV,
            "STREAMLIT_SERVER_PORT": str(port),
            "STREAMLIT_CRDT_PORT": str(room_port),
            "STREAMLIT_CRDT_STORE": str(folder / "rooms.db"),
            "COMPARISON_CASE": case,
            **library.env,
        }
        command = [str(library.python), "-W", "ignore", "-m", "streamlit", "run", str(library.script)]
        # Streamlit 1.8 answers at /healthz; the present version also answers at another path.
        health = (
            f"http://{HOST}:{port}/{'healthz' if library.streamlit.startswith('1.8.') else '_stcore/health'}"
        )
        self.url = f"http://{HOST}:{port}"
        self.process = Process(library.name, command, health, env, folder)
        self._browser = browser
        self._pages: list[Page] = []

    def open(self, query: str = "") -> Page:
        page = self.start_to_open(query)
        page.wait_rendered()
        return page

    def start_to_open(self, query: str = "") -> Page:
        page = Page(self._browser, f"{self.url}/{query}")
        self._pages.append(page)
        return page

    def kill_and_restart(self) -> None:
        self.process.restart(signal.SIGKILL)

    def count_runs(self) -> int:
        return self.process.log.count("RUN\n")

    def stop(self) -> None:
        for page in self._pages:
            page.close()
        self.process.stop(signal.SIGKILL)


@contextmanager
def running(library: Library, case: str, browser: Browser) -> Iterator[Running]:
    with tempfile.TemporaryDirectory() as folder:
        app = Running(library, case, Path(folder), browser)
        app.process.start()
        try:
            yield app
        finally:
            app.stop()


def measure(library: Library, name: str, rounds: int, seed: int, browser: Browser) -> str:
    """Return the result of a scenario for a library. An error in the app is a result, too."""
    if name == "people" and not library.counts_people:
        return "not counted"
    if name == "form" and not library.shares_widgets:
        return "fields are not shared"
    scenario, _ = SCENARIOS[name]
    with running(library, name, browser) as app:
        # A page whose script reruns without end may never show anything, which is a result.
        start = app.start_to_open if name == "volatile" else app.open
        a, b = start(), start()
        try:
            for page in (a, b):
                if page.has_failed:
                    return f"fails: {page.failure}"
            stage = Stage(a, b, rounds, random.Random(seed), app.open, app.kill_and_restart, app.count_runs)
            return scenario(stage)
        except Error:
            failed = [page for page in (a, b) if not page.page.is_closed() and page.has_failed]
            if not failed:
                raise
            return f"fails: {failed[0].failure}"


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # like Ctrl+C, so that no process remains
    parser = argparse.ArgumentParser(prog="python -m benchmarks.comparison", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="SCENARIO", help=f"any of {', '.join(SCENARIOS)}; all if none is given"
    )
    parser.add_argument("--rounds", type=int, default=DEFAULT_ROUNDS)
    parser.add_argument("--seed", type=int, default=1, help="seed of the order of actions, and of the pauses")
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="folder of the other libraries")
    parser.add_argument("--only", help="measure only this library")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in SCENARIOS]:
        parser.error(f"scenario {unknown[0]} does not exist; choose from {', '.join(SCENARIOS)}")
    libraries = prepare(options.folder)
    import_error = import_error_today(libraries)
    measured = [library for library in libraries if options.only in (None, library.name)]
    with sync_playwright() as playwright:
        browser = launch(playwright)
        print(
            f"{date.today()}: seed {options.seed}, {options.rounds} rounds, Chromium {browser.version}, "
            f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
        )
        print(f"streamlit-sync with Streamlit {version('streamlit')}: {import_error or 'imports'}\n")
        print("| | " + " | ".join(f"{one.name}, Streamlit {one.streamlit}" for one in measured) + " |")
        print("|---|" + "---|" * len(measured))
        for name in options.names or SCENARIOS:
            results = [measure(one, name, options.rounds, options.seed, browser) for one in measured]
            print(f"| {SCENARIOS[name][1]} | " + " | ".join(results) + " |", flush=True)
        browser.close()


if __name__ == "__main__":
    main()
