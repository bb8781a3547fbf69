"""Time of an edit to the other tab, divided by the time that Streamlit itself takes to the tab's own page.

The machine, the browser and Streamlit affect both times equally, so the quotient shows the cost of sharing. The pages
and the app record the times (see `stopwatch.js` and `apps/latency.py`). Queries from outside would disturb them.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from importlib.metadata import version
from pathlib import Path

from playwright.sync_api import Browser, Playwright, sync_playwright

from benchmarks.stages import Mark, Round, breakdown, follow, summary
from e2e.browser import launch
from e2e.harness import DEPLOYMENTS, Deployment, RunningApp, make_app
from e2e.polling import eventually
from e2e.tab import Tab

HERE = Path(__file__).parent
APP = HERE / "apps" / "latency.py"
STOPWATCH = HERE / "stopwatch.js"

DEFAULT_ROUNDS = 40
WARM_UP_ROUNDS = 5
MAX_CLOCK_OFFSET_MS = 3.0
"""Maximum difference between a page's clock and the system's. A page reads the system's clock once, when it loads."""


def run(
    rounds: int, deployments: Sequence[Deployment] = DEPLOYMENTS, *, say: Callable[[str], None] = print
) -> None:
    """Measure each deployment with and without a frozen garbage collector, and print the tables."""
    results: dict[str, list[Round]] = {}
    with sync_playwright() as playwright, launched(playwright) as browser:
        say(f"{date.today()}: {_versions(browser)}")
        for deployment in deployments:
            for is_frozen in (True, False):
                name = f"{deployment}, {'frozen' if is_frozen else 'not frozen'}"
                results[name] = _measure(
                    browser, deployment, is_frozen, rounds, lambda line: say(f"  {line}")
                )
                say(f"  measured: {name}; load of the machine {_load()}")
    say("")
    for line in summary(results):
        say(line)
    say("")
    for line in breakdown(results):
        say(line)


@contextmanager
def launched(playwright: Playwright) -> Iterator[Browser]:
    browser = launch(playwright)
    try:
        yield browser
    finally:
        browser.close()


# --- measurement ----------------------------------------------------------------------------------------------


def _measure(
    browser: Browser, deployment: Deployment, is_frozen: bool, rounds: int, say: Callable[[str], None]
) -> list[Round]:
    with tempfile.TemporaryDirectory() as folder:
        env = {"STREAMLIT_CRDT_FREEZE_GC": "1" if is_frozen else "0"}
        app = make_app(deployment, APP, Path(folder), env)
        try:
            app.start()
            with _open(browser, app, "A") as a, _open(browser, app, "B") as b:
                _require_undisturbed(a, b, say)
                pair = _Pair(a, b, _Journal(app))
                measured = [pair.round(f"edit {number}") for number in range(WARM_UP_ROUNDS + rounds)]
            return measured[WARM_UP_ROUNDS:]
        except Exception:
            say(app.logs)
            raise
        finally:
            app.stop()


def _open(browser: Browser, app: RunningApp, name: str) -> Tab:
    tab = Tab(browser, f"{app.url}/?tab={name}", name=name)
    tab.page.add_init_script(path=STOPWATCH)
    return tab.open()


def _require_undisturbed(a: Tab, b: Tab, say: Callable[[str], None]) -> None:
    """Raise RuntimeError if the browser treats a tab as hidden, or if the clock of a tab is off."""
    for tab in (a, b):
        found = tab.page.evaluate("stopwatch.condition()")
        say(
            f"tab {tab.name} is {found['visibility']}, a frame takes {found['frame_ms']:.1f} ms, "
            f"its clock is {found['clock_off_ms']:.1f} ms off"
        )
        if found["visibility"] != "visible" or abs(found["clock_off_ms"]) > MAX_CLOCK_OFFSET_MS:
            raise RuntimeError(f"tab {tab.name} is hidden, or its clock is off: {found}")


class _Journal:
    """Incremental reader of the app's stderr."""

    def __init__(self, app: RunningApp) -> None:
        self._path = app.app.log_path
        self._read_bytes = 0

    def read(self) -> list[Mark]:
        """Return the marks written since the last call."""
        with self._path.open("rb") as source:
            source.seek(self._read_bytes)
            content = source.read()
        whole, newline, _ = content.rpartition(b"\n")
        self._read_bytes += len(whole) + len(newline)
        lines = whole.decode(errors="replace").splitlines()
        return [
            Mark(**json.loads(line.removeprefix("latency "))) for line in lines if line.startswith("latency ")
        ]


class _Pair:
    """Tab A, which makes the edits, and tab B, which receives them."""

    def __init__(self, a: Tab, b: Tab, journal: _Journal) -> None:
        self._a = a
        self._b = b
        self._journal = journal

    def round(self, text: str) -> Round:
        """Make one edit, and return its stages."""
        self._take_marks()
        self._journal.read()
        field = self._a.page.get_by_label("edit", exact=True)
        field.fill(text)
        field.press("Enter")
        for tab in (self._a, self._b):
            tab.page.evaluate("text => stopwatch.until(text)", text)
        marks = self._wait_confirmed()
        return follow(text, [*marks, *self._take_marks()])

    def _wait_confirmed(self) -> list[Mark]:
        """Wait until B's tab has confirmed the remote write to its session (rule P1). Return the marks until then."""
        marks: list[Mark] = []

        def is_confirmed() -> bool:
            marks.extend(self._journal.read())
            return any(m.tab == "B" and m.event == "callback" and m.detail == "confirm" for m in marks)

        eventually(is_confirmed, why="B's tab confirms the edit to its session")
        for tab in (self._a, self._b):
            tab.wait_idle()
        return marks

    def _take_marks(self) -> list[Mark]:
        return [
            Mark(tab.name, event, at_ms)
            for tab in (self._a, self._b)
            for event, at_ms in tab.page.evaluate("stopwatch.take()")
        ]


def _versions(browser: Browser) -> str:
    packages = ("streamlit", "pycrdt", "hypercorn")
    found = ", ".join(f"{package} {version(package)}" for package in packages)
    return (
        f"{found}, Chromium {browser.version}, Python {platform.python_version()}, "
        f"{os.cpu_count()} cores, load {_load()}"
    )


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}"
