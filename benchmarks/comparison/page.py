"""Drivers of a tab that work with Streamlit 1.8 and with the present version."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Browser, Locator

LOAD_DEADLINE_S = 40.0
QUIET_S = 5.0
"""Seconds without a change in either tab after which an edit counts as lost, many times the time of an edit."""


class Page:
    """A tab in its own browser context."""

    def __init__(self, browser: Browser, url: str) -> None:
        self._context = browser.new_context(viewport={"width": 1000, "height": 800}, locale="en-US")
        self.page = self._context.new_page()
        self.page.goto(url, wait_until="domcontentloaded")

    def close(self) -> None:
        self._context.close()

    def wait_rendered(self) -> None:
        """Wait until the page shows the script's output, or an error."""
        if not within(LOAD_DEADLINE_S, lambda: self.has_shown or self.has_failed):
            raise TimeoutError(f"{self.page.url} shows nothing: {self._body()[:300]!r}")

    @property
    def has_shown(self) -> bool:
        return "SHOWN " in self._body()

    @property
    def has_failed(self) -> bool:
        return "Traceback" in self._body()

    @property
    def failure(self) -> str:
        """First line of the error on the page."""
        return next(line for line in self._body().splitlines() if re.match(r"\w*(Error|Exception): ", line))

    @property
    def shown(self) -> Any:
        """The value that the script printed, None if there is none."""
        found = re.search(r"^SHOWN (.*)$", self._body(), re.MULTILINE)
        return json.loads(found[1]) if found else None

    def field(self, label: str) -> Locator:
        """Return the first field after a label in the document."""
        after = f'//label[normalize-space()="{label}"]/following::*[self::input or self::textarea][1]'
        return self.page.locator(f"xpath={after}").first

    def click(self, label: str) -> None:
        self.page.get_by_role("button", name=label, exact=True).first.click()

    def edit(self, label: str, text: str) -> None:
        self.field(label).fill(text)
        self.field(label).press("Control+Enter" if label == "Note" else "Enter")

    def _body(self) -> str:
        return self.page.locator("body").inner_text()


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    """Return True if `condition` becomes true within the time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.03)
    return True


def until_quiet(a: Page, b: Page, condition: Callable[[Any], bool]) -> bool:
    """Return True if both tabs show values that satisfy `condition` before they stop changing."""
    seen = (a.shown, b.shown)
    changed_at = time.monotonic()
    while not all(condition(shown) for shown in seen):
        if time.monotonic() > changed_at + QUIET_S:
            return False
        time.sleep(0.03)
        if (now := (a.shown, b.shown)) != seen:
            seen, changed_at = now, time.monotonic()
    return True


def both_show(a: Page, b: Page, expected: Any) -> bool:
    return until_quiet(a, b, lambda shown: bool(shown == expected))
