"""Finds a Chromium and starts it so that it talks to nobody but the page. `python -m e2e.browser` prints which one."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, Playwright, sync_playwright

SYSTEM_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

FLAGS = [
    "--no-sandbox",  # CI runs as root, where the sandbox cannot start.
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",  # Containers often have 64 MB there.
    "--no-first-run",
    # Without these Chromium calls home and waits for answers that never come on a closed network.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A tab that is not in front must keep its timers and its rendering: people put windows side by side.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
]


def executable(playwright: Playwright) -> str | None:
    """Return the path of a system Chromium, else of Playwright's own, else None."""
    wanted = os.environ.get("CHROMIUM")
    for name in (wanted,) if wanted else SYSTEM_BROWSERS:
        if found := shutil.which(name):
            return found
    own = playwright.chromium.executable_path
    return own if Path(own).is_file() else None


def launch(playwright: Playwright) -> Browser:
    found = executable(playwright)
    if found is None:
        raise RuntimeError(
            "No Chromium was found: run  make browser  or name one with the variable CHROMIUM."
        )
    return playwright.chromium.launch(executable_path=found, args=FLAGS, headless=True)


if __name__ == "__main__":
    with sync_playwright() as started:
        path = executable(started)
    print(path or "no Chromium was found")
    sys.exit(path is None)
