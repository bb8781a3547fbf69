"""How long an edit takes to the other tab, compared with the time that Streamlit itself takes to this tab's own page.

The quotient of the two is the figure to look at: the machine, the browser and Streamlit are in both, so that it says
what sharing adds. Times are taken in the pages and in the app (see `stopwatch.js` and `apps/latency.py`), never by
asking from outside: a page that is asked is a page that does something else.
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
MAX_CLOCK_OFF_MS = 3.0
"""A page's clock is the system's, read once when the page began, and then a steady one."""


def run(
    rounds: int, deployments: Sequence[Deployment] = DEPLOYMENTS, *, say: Callable[[str], None] = print
) -> None:
    """Measure each deployment to run, collector frozen and not, and print the tables."""
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


# --- measuring ----------------------------------------------------------------------------------------------


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
    """Refuse to measure a tab that the browser takes for one in the background, or whose clock is another one."""
    for tab in (a, b):
        found = tab.page.evaluate("stopwatch.condition()")
        say(
            f"tab {tab.name} is {found['visibility']}, a frame takes {found['frame_ms']:.1f} ms, "
            f"its clock is {found['clock_off_ms']:.1f} ms off"
        )
        if found["visibility"] != "visible" or abs(found["clock_off_ms"]) > MAX_CLOCK_OFF_MS:
            raise RuntimeError(f"tab {tab.name} cannot be measured: {found}")


class _Journal:
    """What the app wrote on stderr, read as it grows."""

    def __init__(self, app: RunningApp) -> None:
        self._path = app.app.log_path
        self._read_bytes = 0

    def read(self) -> list[Mark]:
        """Return the marks that were written since the last call."""
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
    """Tab A, which edits, and tab B, which is looked at."""

    def __init__(self, a: Tab, b: Tab, journal: _Journal) -> None:
        self._a = a
        self._b = b
        self._journal = journal

    def round(self, text: str) -> Round:
        """Make one edit and follow it."""
        self._take_notes()
        self._journal.read()
        field = self._a.page.get_by_label("edit", exact=True)
        field.fill(text)
        field.press("Enter")
        for tab in (self._a, self._b):
            tab.page.evaluate("text => stopwatch.until(text)", text)
        marks = self._until_quiet()
        return follow(text, [*marks, *self._take_notes()])

    def _until_quiet(self) -> list[Mark]:
        """Wait for what comes after the edit: B's tab confirms to its session what it was given (rule P1)."""
        marks: list[Mark] = []

        def is_confirmed() -> bool:
            marks.extend(self._journal.read())
            return any(m.tab == "B" and m.what == "callback" and m.detail == "confirm" for m in marks)

        eventually(is_confirmed, why="B's session hears that the edit was shown")
        for tab in (self._a, self._b):
            tab.wait_idle()
        return marks

    def _take_notes(self) -> list[Mark]:
        return [
            Mark(tab.name, what, at_ms)
            for tab in (self._a, self._b)
            for what, at_ms in tab.page.evaluate("stopwatch.take()")
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
