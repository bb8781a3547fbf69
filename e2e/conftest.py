"""Fixtures of the browser tests: apps, tabs, rooms; and what a failure shows."""

from __future__ import annotations

import itertools
import os
import re
import uuid
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from e2e.browser import launch
from e2e.harness import ASGI_APP, RunningApp, Way, make_app
from e2e.tab import Tab, new_context

APPS = Path(__file__).parent / "apps"
EXAMPLES = Path(__file__).parent.parent / "examples"
PICTURES = Path(__file__).parent.parent / ".test" / "pictures"

HIDDEN_FAULT = "failed beside a Streamlit call"
"""What the library logs where a fault of its own must not stop the app: a test does not let it pass."""

StartApp = Callable[..., RunningApp]
OpenTab = Callable[..., Tab]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = launch(playwright)
        yield started
        started.close()


@pytest.fixture
def room() -> str:
    """The name of a room that no other test uses."""
    return f"room-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def start_app(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[StartApp]:
    """`start_app(script, Way.EMBEDDED, env={...})` starts an app for this test alone."""
    started: list[RunningApp] = request.node.stash.setdefault(_APPS, [])
    numbers = itertools.count()

    def start(
        script: Path | str,
        way: Way = Way.EMBEDDED,
        *,
        env: dict[str, str] | None = None,
        asgi_app: str = ASGI_APP,
    ) -> RunningApp:
        folder = tmp_path / f"app{next(numbers)}"
        folder.mkdir()
        app = make_app(way, _script(script), folder, env, asgi_app=asgi_app)
        started.append(app)
        app.start()
        return app

    yield start
    for app in reversed(started):
        app.stop()
        assert HIDDEN_FAULT not in app.logs, app.logs[-5_000:]


@pytest.fixture(scope="session")
def _pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[Path, Way], RunningApp]]:
    pool: dict[tuple[Path, Way], RunningApp] = {}
    yield pool
    for app in pool.values():
        app.stop()
        assert HIDDEN_FAULT not in app.logs, app.logs[-5_000:]


@pytest.fixture
def shared_app(
    _pool: dict[tuple[Path, Way], RunningApp],
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> StartApp:
    """`shared_app(script, way)` is an app that other tests use too: tell them apart by the room, stop nothing."""

    def find(script: Path | str, way: Way = Way.EMBEDDED) -> RunningApp:
        path = _script(script)
        if (path, way) not in _pool:
            app = make_app(way, path, tmp_path_factory.mktemp(f"{path.stem}-{way}"))
            request.node.stash.setdefault(_APPS, []).append(app)
            app.start()
            _pool[path, way] = app
        app = _pool[path, way]
        request.node.stash.setdefault(_APPS, []).append(app)
        return app

    return find


@pytest.fixture(scope="session")
def pages(browser: Browser) -> Iterator[list[Page]]:
    """One for each tab that a test has open, in a context of its own; kept for the next test."""
    opened: list[Page] = []
    yield opened
    for page in opened:
        page.context.close()


@pytest.fixture
def tab(browser: Browser, pages: list[Page], request: pytest.FixtureRequest) -> Iterator[OpenTab]:
    """`tab(app, room=room)` opens a page in a context of its own; none may have complained when the test ends.

    `prepare` is called with the page before it loads anything. What it does to the page cannot be undone, so that such
    a page is not used again.
    """
    opened: list[Tab] = request.node.stash.setdefault(_TABS, [])
    prepared: list[Tab] = []

    def open_tab(
        target: str | RunningApp,
        *,
        room: str | None = None,
        path: str = "/",
        name: str = "",
        cookies: dict[str, str] | None = None,
        prepare: Callable[[Page], None] | None = None,
    ) -> Tab:
        url = target if isinstance(target, str) else target.url + path
        if room is not None:
            url += f"{'&' if '?' in url else '?'}room={room}"
        if len(opened) == len(pages):
            pages.append(new_context(browser).new_page())
        elif pages[len(opened)].is_closed():
            pages[len(opened)] = pages[len(opened)].context.new_page()
        page = Tab(browser, url, name=name or f"tab {'ABCDEFGHIJ'[len(opened)]}", page=pages[len(opened)])
        opened.append(page)
        for name_, value in (cookies or {}).items():
            page.page.context.add_cookies([{"name": name_, "value": value, "url": url}])
        if prepare is not None:
            prepare(page.page)
            prepared.append(page)
        return page.open()

    yield open_tab
    complaints = [f"{page.name}: {said}" for page in opened for said in page.complaints]
    for page in opened:
        page.close()
    for page in prepared:
        page.page.close()
    assert not complaints, "the page complained:\n" + "\n".join(complaints)


_APPS = pytest.StashKey[list[RunningApp]]()
_TABS = pytest.StashKey[list[Tab]]()


def _script(script: Path | str) -> Path:
    """Find an app by its path, or by its name in e2e/apps or examples."""
    for candidate in (Path(script), APPS / str(script), EXAMPLES / str(script)):
        if candidate.is_file():
            return candidate.resolve()
    raise FileNotFoundError(f"there is no app {script}: put it into {APPS} or {EXAMPLES}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to a failure what each tab showed and what each process wrote."""
    report = yield
    if report.when == "call" and report.failed:
        for page in item.stash.get(_TABS, []):
            picture = page.screenshot(PICTURES / f"{_file_name(item.nodeid)}-{page.name[-1]}.png")
            where = os.path.relpath(picture) if picture else "no picture could be taken"
            report.sections.append((page.name, "\n".join([where, page.url, *page.complaints])))
    if report.failed:
        apps: list[RunningApp] = item.stash.get(_APPS, [])
        for app in {app.url: app for app in apps}.values():
            report.sections.append((f"{app.way} app", app.logs[-20_000:]))
    return report


def _file_name(node_id: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", node_id)[-100:]
