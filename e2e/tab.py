"""A browser tab in its own context, so that two tabs share only the room."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page, Request, Response

from e2e.polling import DEFAULT_DEADLINE_S, eventually

OPEN_DEADLINE_MS = 60_000

# True if no script is running and all elements are rendered: the code of a widget is loaded when it is first shown.
# A page with a chat input at its bottom has another container.
IDLE = """() => document.querySelector('[data-testid="stApp"][data-test-script-state="notRunning"]')
    && document.querySelector(':is([data-testid="stMain"], [data-testid="stAppScrollToBottomContainer"])' +
        ' [data-testid="stElementContainer"]')
    && !document.querySelector('[data-testid="stSkeleton"], [data-testid="stAppSkeleton"]')"""

# Errors that Streamlit's page reports on a machine without a network.
HARMLESS = (
    r"data\.streamlit\.io/metrics\.json",
    r"metrics config",
    r"Failed to load resource: net::ERR_(INTERNET_DISCONNECTED|NAME_NOT_RESOLVED|CONNECTION_REFUSED).*streamlit\.io",
)


def new_context(browser: Browser) -> BrowserContext:
    """Return a context with its own cookies, cache and network, without animations, which slow down the tests."""
    return browser.new_context(
        viewport={"width": 1280, "height": 900}, locale="en-US", reduced_motion="reduce"
    )


class Tab:
    """A page, its reported errors, and access to the state of its app.

    A page that is passed in is reset to blank at the end, and can be reused: a reused page loads the app in a third of
    the time.
    """

    def __init__(self, browser: Browser, url: str, *, name: str = "tab", page: Page | None = None) -> None:
        self.name = name
        self.url = url
        self.errors: list[str] = []
        self._allowed = list(HARMLESS)
        self._owns_page = page is None
        self.page: Page = new_context(browser).new_page() if page is None else page
        self.page.set_default_timeout(45_000)
        self._listeners: dict[Any, Callable[..., None]] = {
            "console": self._on_console,
            "pageerror": self._on_error,
            "requestfailed": self._on_request_failed,
            "response": self._on_response,
        }
        for event, listener in self._listeners.items():
            self.page.on(event, listener)

    def __enter__(self) -> Tab:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- navigation ---------------------------------------------------------------------------------------------

    def open(self) -> Tab:
        self.page.goto(self.url, wait_until="domcontentloaded", timeout=OPEN_DEADLINE_MS)
        self.wait_idle(timeout_ms=OPEN_DEADLINE_MS)
        return self

    def reload(self) -> None:
        self.page.reload(wait_until="domcontentloaded", timeout=OPEN_DEADLINE_MS)
        self.wait_idle(timeout_ms=OPEN_DEADLINE_MS)

    def close(self) -> None:
        if self._owns_page:
            self.page.context.close()
            return
        for event, listener in self._listeners.items():
            self.page.remove_listener(event, listener)
        self.page.context.set_offline(False)
        self.page.context.clear_cookies()
        if not self.page.is_closed():
            self.page.goto("about:blank")

    def go_offline(self, offline: bool = True) -> None:
        """Disconnect this tab from the network, or connect it again."""
        if offline:
            self.expect_outage()
        self.page.context.set_offline(offline)

    def wait_idle(self, *, timeout_ms: float = 45_000) -> None:
        """Wait until no script of this tab is running and all its elements are rendered."""
        self.page.wait_for_function(IDLE, timeout=timeout_ms)

    # --- inspection --------------------------------------------------------------------------------------------

    def state(self, key: str = "state") -> Any:
        """Return the value that the app shows by `st.text(json.dumps(...))` in the container of that key."""
        text = self.page.locator(f".st-key-{key} [data-testid='stText']").first.inner_text()
        return json.loads(text)

    def text(self, key: str) -> str:
        """Return the text of the container of that key."""
        return self.page.locator(f".st-key-{key}").first.inner_text().strip()

    def sees(self, text: str) -> bool:
        return self.page.get_by_text(text).first.is_visible()

    def exceptions(self) -> list[str]:
        """Return the tracebacks and errors on the page."""
        return self.page.get_by_test_id("stException").all_inner_texts()

    def eventually_shows(
        self, key: str, value: Any, *, in_state: str = "state", deadline_s: float = DEFAULT_DEADLINE_S
    ) -> None:
        """Wait until the app's printed state has `value` under `key`."""

        def look() -> bool:
            shown = self.state(in_state).get(key)
            assert shown == value, f"{self.name}: {key} is {shown!r}, not {value!r}"
            return True

        eventually(look, deadline_s=deadline_s, why=f"{self.name} shows {key} = {value!r}")

    def screenshot(self, path: Path) -> Path | None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=path, full_page=True, timeout=5_000)
        except Error:
            return None  # the page is closed or hangs; the original failure matters more
        return path

    # --- errors -----------------------------------------------------------------------------------------

    def allow(self, *patterns: str) -> None:
        """Ignore errors that match one of these regular expressions, for example when the test stops the server."""
        self._allowed += patterns
        self.errors = [error for error in self.errors if not self._is_allowed(error)]

    def expect_outage(self) -> None:
        """Ignore errors of an outage: the test is about to stop a server or the network.

        Waits for pending loads first, because a page whose code never arrives is broken.
        """
        self.page.wait_for_load_state("networkidle")
        self.allow(
            "WebSocket connection to",
            "ERR_INTERNET_DISCONNECTED",
            "ERR_CONNECTION",
            "ERR_EMPTY_RESPONSE",
            "Error in reaching server endpoint",
            "server is not responding",
        )

    def _is_allowed(self, text: str) -> bool:
        return any(re.search(pattern, text) for pattern in self._allowed)

    def _record_error(self, text: str) -> None:
        if not self._is_allowed(text):
            self.errors.append(text)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._record_error(f"{message.text} ({message.location.get('url', '')})")

    def _on_error(self, error: Error) -> None:
        self._record_error(f"uncaught: {error}")

    def _on_request_failed(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # a load that was pending when the page was left
            self._record_error(f"request failed: {request.failure} {request.url}")

    def _on_response(self, response: Response) -> None:
        if response.status >= 500:
            self._record_error(f"HTTP {response.status} {response.url}")
