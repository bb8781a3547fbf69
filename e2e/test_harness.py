"""The drivers and the harness, on an app without sharing."""

from __future__ import annotations

import datetime as dt
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from e2e import drivers
from e2e.harness import Deployment
from e2e.polling import eventually, settles_on
from e2e.tab import Tab

EDITS: dict[str, tuple[Callable[[Tab], None], Any]] = {
    "checkbox": (lambda tab: drivers.set_checkbox(tab, "A checkbox", True), True),
    "toggle": (lambda tab: drivers.set_checkbox(tab, "A toggle", True), True),
    "slider": (lambda tab: drivers.set_slider(tab, "A slider", 3), 23),
    "range": (lambda tab: drivers.set_slider(tab, "A range", -2, thumb=1), [20, 38]),
    "float": (lambda tab: drivers.set_slider(tab, "A float slider", 2), 0.6),
    "select_slider": (lambda tab: drivers.set_slider(tab, "A select slider", 1), "mid"),
    "text": (lambda tab: drivers.set_text(tab, "A text", "hello"), "hello"),
    "area": (lambda tab: drivers.set_text_area(tab, "An area", "two\nlines"), "two\nlines"),
    "number": (lambda tab: drivers.set_number(tab, "A number", 42), 42),
    "selectbox": (lambda tab: drivers.choose(tab, "A selectbox", "two"), "two"),
    "multiselect": (lambda tab: drivers.choose_also(tab, "A multiselect", "three"), ["three"]),
    "radio": (lambda tab: drivers.choose_radio(tab, "A radio", "two"), "two"),
    "pills": (lambda tab: drivers.press_option(tab, "Some pills", "two"), "two"),
    "many_pills": (lambda tab: drivers.press_option(tab, "Many pills", "three"), ["three"]),
    "segmented": (lambda tab: drivers.press_option(tab, "A segmented control", "one"), "one"),
    "feedback": (lambda tab: drivers.rate(tab, 3), 3),
    "date": (lambda tab: drivers.set_date(tab, "A date", dt.date(2026, 3, 4)), "2026-03-04"),
    "dates": (
        lambda tab: drivers.set_dates(tab, "Some dates", dt.date(2026, 2, 3), dt.date(2026, 4, 5)),
        ["2026-02-03", "2026-04-05"],
    ),
    "time": (lambda tab: drivers.set_time(tab, "A time", dt.time(16, 30)), "16:30:00"),
    "datetime": (
        lambda tab: drivers.set_datetime(tab, "A moment", dt.datetime(2026, 3, 4, 16, 30)),
        "2026-03-04 16:30:00",
    ),
    "color": (lambda tab: drivers.set_color(tab, "A color", "#ff0000"), "#ff0000"),
    "clicks": (lambda tab: drivers.click(tab, "A button"), 1),
}


@pytest.mark.soak
def test_each_driver_edits_its_widget(shared_app: Any, tab: Any) -> None:
    page = tab(shared_app("plain_widgets.py"))
    for name, (edit, expected) in EDITS.items():
        edit(page)
        page.eventually_shows(name, expected)
    assert {name: page.state()[name] for name in EDITS} == {
        name: expected for name, (_, expected) in EDITS.items()
    }
    drivers.set_text(page, "A text in a form", "sent")
    drivers.click(page, "Send")
    page.eventually_shows("in_form", "sent")


def test_drivers_read_visible_values_and_errors(shared_app: Any, tab: Any) -> None:
    page = tab(shared_app("plain_widgets.py"))
    drivers.set_checkbox(page, "A checkbox", True)
    drivers.choose_also(page, "A multiselect", "two")
    drivers.press_option(page, "Many pills", "one")
    drivers.rate(page, 2)
    assert drivers.shown_checkbox(page, "A checkbox") is True
    assert drivers.shown_slider(page, "A range") == ["20", "40"]
    settles_on(lambda: drivers.shown_choices(page, "A multiselect"), ["two"])
    assert drivers.shown_choice(page, "A selectbox") == "one"
    assert drivers.shown_radio(page, "A radio") == "one"
    settles_on(lambda: drivers.shown_options(page, "Many pills"), ["one"])
    eventually(lambda: drivers.shown_rating(page) == 2)
    assert drivers.shown_segments(page, "stDateTimeInput", "A moment") == [2026, 1, 15, 8, 45]
    drivers.drop_choice(page, "A multiselect", "two")
    page.eventually_shows("multiselect", [])
    drivers.type_draft(page, "An area", "not committed")
    assert drivers.shown_text(page, "An area") == "not committed"
    assert page.state()["area"] == ""
    page.page.evaluate("console.error('an error of the page')")
    eventually(lambda: any("an error of the page" in error for error in page.errors))
    page.allow("an error of the page")
    assert page.errors == []


def test_killed_app_leaves_no_process(start_app: Any) -> None:
    app = start_app("plain_widgets.py", Deployment.MOUNTED)
    group = app.app.pid
    assert len(living_in(group)) > 1, "hypercorn has a worker"
    app.app.stop(signal.SIGKILL)
    eventually(lambda: not living_in(group), why="all processes have ended")


def living_in(group: int) -> list[str]:
    """Return the ids of the processes of a group, without zombies."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            state, _parent, its_group = (process / "stat").read_text().rpartition(")")[2].split()[:3]
        except FileNotFoundError:
            continue  # the process has ended
        if int(its_group) == group and state != "Z":
            found.append(process.name)
    return found
