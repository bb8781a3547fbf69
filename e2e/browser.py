"""Chromium of the browser tests, started without background traffic. `python -m e2e.browser` prints its path."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, Playwright, sync_playwright

# The headless shell has the engine without the window around it, and loads a page with two thirds of the CPU time.
HEADLESS_SHELLS = ("chromium-headless-shell", "chrome-headless-shell")
SYSTEM_BROWSERS = (*HEADLESS_SHELLS, "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

FLAGS = [
    "--no-sandbox",  # the sandbox cannot start as root, as in CI
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",  # /dev/shm of a container often has 64 MB
    "--no-first-run",
    # Otherwise Chromium contacts its services, and waits for answers that never arrive on a closed network.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Background tabs keep their timers and their rendering, as windows side by side do.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
]


def executable(playwright: Playwright) -> str | None:
    """Return the path of a system Chromium, else that of Playwright's Chromium, else None."""
    wanted = os.environ.get("CHROMIUM")
    for name in (wanted,) if wanted else SYSTEM_BROWSERS:
        if found := shutil.which(name):
            return found
    bundled = playwright.chromium.executable_path
    return bundled if Path(bundled).is_file() else None


def launch(playwright: Playwright) -> Browser:
    found = executable(playwright)
    if found is None:
        raise RuntimeError(
            "Chromium was not found: run  make browser  or set the variable CHROMIUM to its path."
        )
    return playwright.chromium.launch(executable_path=found, args=FLAGS, headless=True)


if __name__ == "__main__":
    with sync_playwright() as started:
        path = executable(started)
    print(path or "Chromium was not found")
    sys.exit(path is None)
