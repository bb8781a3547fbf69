"""Bytes on the wire for one assigned value of 1 MB, for each tab: the room's socket and Streamlit's together.

The browser reports the frames of each socket. A frame counts as the bytes of its payload, before compression.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from e2e import drivers
from e2e.browser import launch
from e2e.harness import DEPLOYMENTS, Deployment, RunningApp, make_app
from e2e.tab import Tab

APP = Path(__file__).parents[1] / "e2e" / "apps" / "tables.py"
DEFAULT_ROUNDS = 3
"""Values that are assigned, 1 MB each. The app has three."""

VALUE_BYTES = 1_000_000


class FrameCounter:
    """Bytes of a page's frames, by direction and socket. It must begin before the page is loaded."""

    def __init__(self, tab: Tab) -> None:
        self._bytes: Counter[str] = Counter()
        self._urls: dict[str, str] = {}
        session = tab.page.context.new_cdp_session(tab.page)
        session.send("Network.enable")
        session.on("Network.webSocketCreated", self._on_created)
        session.on("Network.webSocketFrameReceived", lambda event: self._count("in", event))
        session.on("Network.webSocketFrameSent", lambda event: self._count("out", event))

    def take(self) -> Counter[str]:
        """Return the bytes since the last call."""
        counted, self._bytes = self._bytes, Counter()
        return counted

    def _on_created(self, event: dict[str, Any]) -> None:
        self._urls[event["requestId"]] = event["url"]

    def _count(self, direction: str, event: dict[str, Any]) -> None:
        response = event["response"]
        is_text = response["opcode"] == 1
        size = len(response["payloadData"]) if is_text else len(response["payloadData"]) * 3 // 4
        socket = "Streamlit" if "_stcore" in self._urls.get(event["requestId"], "") else "room"
        self._bytes[f"{direction}, {socket}"] += size


def run(
    rounds: int, deployments: Sequence[Deployment] = DEPLOYMENTS, *, say: Callable[[str], None] = print
) -> None:
    """Measure each deployment, and print bytes per assigned byte: of the tab that assigns, and of another one."""
    columns = ("in, room", "in, Streamlit", "out, room", "out, Streamlit")
    say(f"{'bytes / 1 MB value':24} " + " ".join(f"{column:>15}" for column in columns))
    with sync_playwright() as playwright:
        browser = launch(playwright)
        for deployment in deployments:
            for name, counted in measure(browser, deployment, min(rounds, 3)).items():
                row = " ".join(f"{counted[column]:15,}" for column in columns)
                say(f"{deployment + ', ' + name:24} {row}")
        browser.close()


def measure(browser: Browser, deployment: Deployment, rounds: int) -> dict[str, Counter[str]]:
    """Return the bytes per value of the tab that assigns it, and of another tab."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        app = make_app(deployment, APP, Path(folder))
        stack.callback(app.stop)
        app.start()
        tabs = [stack.enter_context(Tab(browser, _url(app), name=name)) for name in ("author", "other")]
        counters = [FrameCounter(tab) for tab in tabs]
        for tab in tabs:
            tab.open()
            tab.eventually_shows("status", "connected")
            tab.wait_idle()
        totals = {tab.name: Counter[str]() for tab in tabs}
        for count in range(1, rounds + 1):
            for counter in counters:
                counter.take()
            drivers.click(tabs[0], "Add a table")
            tabs[1].eventually_shows("tables", count)
            for tab in tabs:
                tab.page.wait_for_timeout(1_000)  # confirmations and answers belong to the value
                tab.wait_idle()
            for tab, counter in zip(tabs, counters, strict=True):
                totals[tab.name].update(counter.take())
        return {
            name: Counter({key: n // rounds for key, n in total.items()}) for name, total in totals.items()
        }


def _url(app: RunningApp) -> str:
    return f"{app.url}/?size={VALUE_BYTES}"
