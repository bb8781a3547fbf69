"""Fixtures of the browser tests: apps, tabs and rooms. A failure reports screenshots and logs."""

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
from e2e.harness import ASGI_APP, Deployment, RunningApp, make_app
from e2e.tab import Tab, new_context

APPS = Path(__file__).parent / "apps"
EXAMPLES = Path(__file__).parent.parent / "examples"
PICTURES = Path(__file__).parent.parent / ".test" / "pictures"

SUPPRESSED_ERROR = "failed beside a Streamlit call"
"""Log text of an internal error that the library suppresses so that the app continues. A test fails on it."""

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
    """Return a room name that no other test uses."""
    return f"room-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def start_app(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[StartApp]:
    """Return `start_app(script, Deployment.EMBEDDED, env={...})`, which starts an app for this test."""
    started: list[RunningApp] = request.node.stash.setdefault(_APPS, [])
    numbers = itertools.count()

    def start(
        script: Path | str,
        deployment: Deployment = Deployment.EMBEDDED,
        *,
        env: dict[str, str] | None = None,
        asgi_app: str = ASGI_APP,
    ) -> RunningApp:
        folder = tmp_path / f"app{next(numbers)}"
        folder.mkdir()
        app = make_app(deployment, _script(script), folder, env, asgi_app=asgi_app)
        started.append(app)
        app.start()
        return app

    yield start
    for app in reversed(started):
        app.end()
        assert SUPPRESSED_ERROR not in app.logs, app.logs[-5_000:]


@pytest.fixture(scope="module")
def _pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[Path, Deployment], RunningApp]]:
    pool: dict[tuple[Path, Deployment], RunningApp] = {}
    yield pool
    for app in pool.values():
        app.end()
        assert SUPPRESSED_ERROR not in app.logs, app.logs[-5_000:]


@pytest.fixture
def shared_app(
    _pool: dict[tuple[Path, Deployment], RunningApp],
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> StartApp:
    """Return `shared_app(script, deployment)`, which starts an app once for the tests of a module.

    A test uses its own room, and must not stop the app.
    """

    def find(script: Path | str, deployment: Deployment = Deployment.EMBEDDED) -> RunningApp:
        path = _script(script)
        if (path, deployment) not in _pool:
            app = make_app(deployment, path, tmp_path_factory.mktemp(f"{path.stem}-{deployment}"))
            request.node.stash.setdefault(_APPS, []).append(app)
            app.start()
            _pool[path, deployment] = app
        app = _pool[path, deployment]
        request.node.stash.setdefault(_APPS, []).append(app)
        return app

    return find


@pytest.fixture(scope="session")
def pages(browser: Browser) -> Iterator[list[Page]]:
    """Pages, each in its own browser context, that are reused by the following tests."""
    opened: list[Page] = []
    yield opened
    for page in opened:
        page.context.close()


@pytest.fixture
def tab(browser: Browser, pages: list[Page], request: pytest.FixtureRequest) -> Iterator[OpenTab]:
    """Return `tab(app, room=room)`, which opens a page in its own browser context.

    The test fails if a page has reported an error. `prepare` is called with the page before it loads the app. Its
    changes cannot be undone, so the page is not reused.
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
    errors = [f"{page.name}: {error}" for page in opened for error in page.errors]
    for page in opened:
        page.close()
    for page in prepared:
        page.page.close()
    assert not errors, "the page reported errors:\n" + "\n".join(errors)


_APPS = pytest.StashKey[list[RunningApp]]()
_TABS = pytest.StashKey[list[Tab]]()


def _script(script: Path | str) -> Path:
    """Find an app by its path, or by its name in e2e/apps or examples."""
    for candidate in (Path(script), APPS / str(script), EXAMPLES / str(script)):
        if candidate.is_file():
            return candidate.resolve()
    raise FileNotFoundError(f"app {script} does not exist: add it to {APPS} or {EXAMPLES}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add a screenshot of each tab and the log of each process to a failure."""
    report = yield
    if report.when == "call" and report.failed:
        for page in item.stash.get(_TABS, []):
            picture = page.screenshot(PICTURES / f"{_file_name(item.nodeid)}-{page.name[-1]}.png")
            location = os.path.relpath(picture) if picture else "the screenshot failed"
            report.sections.append((page.name, "\n".join([location, page.url, *page.errors])))
    if report.failed:
        apps: list[RunningApp] = item.stash.get(_APPS, [])
        for app in {app.url: app for app in apps}.values():
            report.sections.append((f"{app.deployment} app", app.logs[-20_000:]))
    return report


def _file_name(node_id: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", node_id)[-100:]
