"""One browser tab on an app, in a context of its own, so that two tabs share nothing but the room."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page, Request, Response

from e2e.polling import eventually

OPEN_DEADLINE_MS = 60_000

# No script runs, and what it drew is there: a widget's own code is loaded when it is first drawn. With a chat input at
# its bottom the page has another frame.
IDLE = """() => document.querySelector('[data-testid="stApp"][data-test-script-state="notRunning"]')
    && document.querySelector(':is([data-testid="stMain"], [data-testid="stAppScrollToBottomContainer"])' +
        ' [data-testid="stElementContainer"]')
    && !document.querySelector('[data-testid="stSkeleton"], [data-testid="stAppSkeleton"]')"""

# What Streamlit's own page says on a machine without a network, and nothing else.
HARMLESS = (
    r"data\.streamlit\.io/metrics\.json",
    r"metrics config",
    r"Failed to load resource: net::ERR_(INTERNET_DISCONNECTED|NAME_NOT_RESOLVED|CONNECTION_REFUSED).*streamlit\.io",
)


def new_context(browser: Browser) -> BrowserContext:
    """Return what a person's own browser is: cookies, a cache, a network. Animations cost the tests time."""
    return browser.new_context(
        viewport={"width": 1280, "height": 900}, locale="en-US", reduced_motion="reduce"
    )


class Tab:
    """A page, what it complained about, and what its app shows.

    With a page of somebody else's it leaves that as it was found, blank, for whoever is next: what it has loaded once
    it loads again in a third of the time.
    """

    def __init__(self, browser: Browser, url: str, *, name: str = "tab", page: Page | None = None) -> None:
        self.name = name
        self.url = url
        self.complaints: list[str] = []
        self._allowed = list(HARMLESS)
        self._owns_page = page is None
        self.page: Page = new_context(browser).new_page() if page is None else page
        self.page.set_default_timeout(15_000)
        self._listeners: dict[Any, Callable[..., None]] = {
            "console": self._hear,
            "pageerror": self._see_error,
            "requestfailed": self._see_failed,
            "response": self._see_response,
        }
        for event, listener in self._listeners.items():
            self.page.on(event, listener)

    def __enter__(self) -> Tab:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- moving ---------------------------------------------------------------------------------------------

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
        """Take the network away from this tab alone, or give it back."""
        if offline:
            self.expect_outage()
        self.page.context.set_offline(offline)

    def wait_idle(self, *, timeout_ms: float = 15_000) -> None:
        """Wait until no script runs for this tab and everything it drew is shown."""
        self.page.wait_for_function(IDLE, timeout=timeout_ms)

    # --- looking --------------------------------------------------------------------------------------------

    def state(self, key: str = "state") -> Any:
        """Return what the app printed with `st.code(json.dumps(...))` in a container of that key."""
        text = self.page.locator(f".st-key-{key} [data-testid='stCode'] code").first.inner_text()
        return json.loads(text)

    def text(self, key: str) -> str:
        """Return the text that a container of that key shows."""
        return self.page.locator(f".st-key-{key}").first.inner_text().strip()

    def sees(self, text: str) -> bool:
        return self.page.get_by_text(text).first.is_visible()

    def exceptions(self) -> list[str]:
        """Return the tracebacks and errors that the app shows."""
        return self.page.get_by_test_id("stException").all_inner_texts()

    def eventually_shows(
        self, key: str, value: Any, *, in_state: str = "state", deadline_s: float = 15.0
    ) -> None:
        """Wait until the printed state has `value` under `key`."""

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
            return None  # The page is gone or hangs, and the failure that asked for the picture counts more.
        return path

    # --- complaints -----------------------------------------------------------------------------------------

    def allow(self, *patterns: str) -> None:
        """Expect complaints that match one of these regular expressions, as when a test stops the server."""
        self._allowed += patterns
        self.complaints = [said for said in self.complaints if not self._is_allowed(said)]

    def expect_outage(self) -> None:
        """Say that the test is about to stop a server or the network: the page will complain that it is gone.

        What the page is still loading is waited for, because code that never arrives is a broken page, not an outage.
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

    def _is_allowed(self, said: str) -> bool:
        return any(re.search(pattern, said) for pattern in self._allowed)

    def _complain(self, said: str) -> None:
        if not self._is_allowed(said):
            self.complaints.append(said)

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._complain(f"{message.text} ({message.location.get('url', '')})")

    def _see_error(self, error: Error) -> None:
        self._complain(f"uncaught: {error}")

    def _see_failed(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # What a page was loading when it was left.
            self._complain(f"request failed: {request.failure} {request.url}")

    def _see_response(self, response: Response) -> None:
        if response.status >= 500:
            self._complain(f"HTTP {response.status} {response.url}")
