"""`streamlit-crdt demo` in two windows."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e import drivers
from e2e.conftest import OpenTab
from e2e.harness import HOST, STREAMLIT_ENV, Process, free_port
from e2e.polling import eventually, settles_on
from e2e.tab import Tab


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Process]:
    port = free_port()
    variables = {**STREAMLIT_ENV, "STREAMLIT_CRDT_PORT": str(free_port())}
    command = [sys.executable, "-m", "streamlit_crdt", "demo", "--port", str(port)]
    process = Process("demo", command, f"http://{HOST}:{port}/_stcore/health", variables, tmp_path)
    process.start()
    yield process
    process.stop()


def metric(tab: Tab, label: str) -> str:
    card = tab.page.get_by_test_id("stMetric").filter(has=tab.page.get_by_text(label, exact=True))
    return card.get_by_test_id("stMetricValue").inner_text()


@pytest.mark.floor
def test_edits_in_the_demo_reach_the_other_window(demo: Process, tab: OpenTab) -> None:
    address = demo.health_url.removesuffix("/_stcore/health")
    one, two = tab(address), tab(address)
    before = metric(two, "Shops")
    drivers.drop_choice(one, "Regions", "North")
    settles_on(lambda: metric(two, "Shops"), "6")
    assert before == "8"
    drivers.press_option(two, "Drinks", "Espresso")
    settles_on(lambda: drivers.shown_options(one, "Drinks"), ["Flat white", "Filter", "Iced latte"])
    drivers.set_text_area(two, "Notes", "West grows fastest.")
    eventually(lambda: drivers.shown_text(one, "Notes") == "West grows fastest.")
    drivers.click(one, "☕ One more cup")
    settles_on(lambda: metric(two, "Drunk while looking at this"), "1")
    drivers.click(two, "☕ One more cup")
    settles_on(lambda: metric(one, "Drunk while looking at this"), "2")
    drivers.set_checkbox(one, "Show the rows", True)
    two.page.get_by_test_id("stDataFrame").wait_for()
    assert drivers.shown_choices(two, "Regions") == ["South", "East", "West"]
    assert not one.exceptions() + two.exceptions()
    assert "open the address below in two browser windows" in demo.log
