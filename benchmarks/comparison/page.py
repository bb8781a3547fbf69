"""One tab, driven in a way that works on the pages of Streamlit 1.8 and of today."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Browser, Locator

LOAD_DEADLINE_S = 40.0
QUIET_S = 5.0
"""An edit counts as lost once neither tab has shown anything new for so long: many times what one takes to arrive."""


class Page:
    """A tab in a context of its own."""

    def __init__(self, browser: Browser, url: str) -> None:
        self._context = browser.new_context(viewport={"width": 1000, "height": 800}, locale="en-US")
        self.page = self._context.new_page()
        self.page.goto(url, wait_until="domcontentloaded")

    def close(self) -> None:
        self._context.close()

    def wait_drawn(self) -> None:
        """Wait until the script has drawn what it shows, or said why it cannot."""
        if not within(LOAD_DEADLINE_S, lambda: self.has_shown or self.has_failed):
            raise TimeoutError(f"{self.page.url} shows nothing: {self._said()[:300]!r}")

    @property
    def has_shown(self) -> bool:
        return "SHOWN " in self._said()

    @property
    def has_failed(self) -> bool:
        return "Traceback" in self._said()

    @property
    def failure(self) -> str:
        """The first line of the error that the page shows."""
        return next(line for line in self._said().splitlines() if re.match(r"\w*(Error|Exception): ", line))

    @property
    def shown(self) -> Any:
        """What the script printed; None while there is nothing."""
        found = re.search(r"^SHOWN (.*)$", self._said(), re.MULTILINE)
        return json.loads(found[1]) if found else None

    def field(self, label: str) -> Locator:
        """Return the first field after a label, whatever the two are wrapped in."""
        after = f'//label[normalize-space()="{label}"]/following::*[self::input or self::textarea][1]'
        return self.page.locator(f"xpath={after}").first

    def click(self, label: str) -> None:
        self.page.get_by_role("button", name=label, exact=True).first.click()

    def edit(self, label: str, text: str) -> None:
        self.field(label).fill(text)
        self.field(label).press("Control+Enter" if label == "Note" else "Enter")

    def _said(self) -> str:
        return self.page.locator("body").inner_text()


def within(seconds: float, is_so: Callable[[], bool]) -> bool:
    """Say whether something becomes so in that time."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.03)
    return True


def until_quiet(a: Page, b: Page, is_so: Callable[[Any], bool]) -> bool:
    """Say whether both tabs come to show something of which it is so, before nothing changes any more."""
    seen = (a.shown, b.shown)
    changed_at = time.monotonic()
    while not all(is_so(shown) for shown in seen):
        if time.monotonic() > changed_at + QUIET_S:
            return False
        time.sleep(0.03)
        if (now := (a.shown, b.shown)) != seen:
            seen, changed_at = now, time.monotonic()
    return True


def both_show(a: Page, b: Page, expected: Any) -> bool:
    return until_quiet(a, b, lambda shown: bool(shown == expected))
