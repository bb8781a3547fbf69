"""Each settable type of widget, with and without a key: edited in one tab, read in both by script and on the page."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from e2e import drivers as d
from e2e.conftest import APPS
from e2e.harness import Deployment, RunningApp, make_app
from e2e.polling import settles_on
from e2e.tab import Tab

Edit = Callable[[Tab, str], None]
Read = Callable[[Tab, str], object]


@dataclass(frozen=True)
class Kind:
    """A type of widget.

    Attributes:
        name: name of the type, and label of the widget.
        edit: edits the widget.
        value: value in the scripts after the edit.
        read: reads the visible value.
        visible: visible value after the edit.
    """

    name: str
    edit: Edit
    value: object
    read: Read | None = None
    visible: object = None


def by(driver: Callable[..., None], *arguments: object, **options: object) -> Edit:
    """Return an edit that calls `driver` with the tab, the label and these arguments."""
    return lambda tab, label: driver(tab, label, *arguments, **options)


def in_turn(*edits: Edit) -> Edit:
    def edit(tab: Tab, label: str) -> None:
        for step in edits:
            step(tab, label)

    return edit


def rate(tab: Tab, _: str) -> None:
    d.rate(tab, 3)


def select_page_3(tab: Tab, _: str) -> None:
    d.go_to_page(tab, 3)


def shown_rating(tab: Tab, _: str) -> int | None:
    return d.shown_rating(tab)


def shown_date(tab: Tab, label: str) -> list[int]:
    return d.shown_segments(tab, "stDateInput", label)


def shown_time(tab: Tab, label: str) -> list[int]:
    return d.shown_segments(tab, "stTimeInput", label)


JUNE_2, JUNE_5 = dt.date(2024, 6, 2), dt.date(2024, 6, 5)
HALF_PAST_NINE = dt.time(9, 30)
MOMENT = dt.datetime.combine(JUNE_2, HALF_PAST_NINE)
GREEN_AND_RED = in_turn(by(d.choose_also, "green"), by(d.choose_also, "red"))
RED_AND_BLUE = in_turn(by(d.press_option, "red"), by(d.press_option, "blue"))

KINDS = [
    Kind("checkbox", by(d.set_checkbox, True), True, d.shown_checkbox, True),
    Kind("toggle", by(d.set_checkbox, True), True, d.shown_checkbox, True),
    Kind("radio", by(d.choose_radio, "green"), "green", d.shown_radio, "green"),
    Kind("selectbox", by(d.choose, "blue"), "blue", d.shown_choice, "blue"),
    Kind(
        "multiselect", GREEN_AND_RED, ["red", "green"], d.shown_choices, ["red", "green"]
    ),  # in the order of the options
    Kind("pills", by(d.press_option, "red"), "red", d.shown_options, ["red"]),
    Kind("pills_multi", RED_AND_BLUE, ["red", "blue"], d.shown_options, ["red", "blue"]),
    Kind("segmented", by(d.press_option, "green"), "green", d.shown_options, ["green"]),
    Kind("select_slider", by(d.set_slider, 2), "blue", d.shown_slider, ["blue"]),
    Kind("select_range", by(d.set_slider, 1, thumb=1), ("red", "blue"), d.shown_slider, ["red", "blue"]),
    Kind("feedback", rate, 3, shown_rating, 3),
    Kind("slider", by(d.set_slider, 5), 5, d.shown_slider, ["5"]),
    Kind("slider_float", by(d.set_slider, 2), 1.0, d.shown_slider, ["1.00"]),
    Kind("slider_range", by(d.set_slider, 1), (3, 8), d.shown_slider, ["3", "8"]),
    Kind("slider_date", by(d.set_slider, 3), dt.date(2024, 1, 13)),
    Kind("number", by(d.set_number, 42), 42, d.shown_text, "42"),
    Kind("number_float", by(d.set_number, 3), 3.0, d.shown_text, "3.00"),
    Kind("number_none", by(d.set_number, 8), 8, d.shown_text, "8"),
    Kind("color", by(d.set_color, "#ff0000"), "#ff0000"),
    Kind("text", by(d.set_text, "héllo 👍"), "héllo 👍", d.shown_text, "héllo 👍"),
    Kind("area", by(d.set_text_area, "two\nlines"), "two\nlines", d.shown_text, "two\nlines"),
    Kind("date", by(d.set_date, JUNE_2), JUNE_2, shown_date, [2024, 6, 2]),
    Kind("date_range", by(d.set_dates, JUNE_2, JUNE_5), (JUNE_2, JUNE_5)),
    Kind("time", by(d.set_time, HALF_PAST_NINE), HALF_PAST_NINE, shown_time, [9, 30]),
    Kind("datetime", by(d.set_datetime, MOMENT), MOMENT),
    Kind("pagination", select_page_3, 3),
    Kind("enum", by(d.choose, "Size.LARGE"), "<Size.LARGE: 2>", d.shown_choice, "Size.LARGE"),
    Kind("objects", by(d.choose_also, "Banana"), "[Fruit(Banana)]", d.shown_choices, ["Banana"]),
]
BY_REPR = ("enum", "objects")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    app = make_app(Deployment.EMBEDDED, Path(APPS / "kinds.py"), tmp_path_factory.mktemp("kinds"))
    app.start()
    yield app
    app.end()


IDENTITIES = [pytest.param("unkeyed", marks=pytest.mark.floor), pytest.param("keyed", marks=pytest.mark.soak)]
"""Widgets without and with a key. The other browser tests use widgets with a key."""


@pytest.fixture(scope="module", params=IDENTITIES)
def tabs(request: pytest.FixtureRequest, browser: Browser, app: RunningApp) -> Iterator[tuple[Tab, Tab]]:
    url = f"{app.url}/?room={request.param}" + ("&keyed=1" if request.param == "keyed" else "")
    with Tab(browser, url, name="tab A") as one, Tab(browser, url, name="tab B") as two:
        yield one.open(), two.open()
        assert one.errors + two.errors == []


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_edit_in_one_tab_updates_the_widget_in_both(tabs: tuple[Tab, Tab], kind: Kind) -> None:
    one, two = tabs
    if KINDS.index(kind) % 2:
        one, two = two, one
    kind.edit(one, kind.name)
    expected = str(kind.value) if kind.name in BY_REPR else repr(kind.value)
    for tab in (one, two):
        tab.eventually_shows(kind.name, expected)
    if kind.read is not None:
        settles_on(partial(kind.read, two, kind.name), kind.visible)
        settles_on(partial(kind.read, one, kind.name), kind.visible)


def test_form_shares_submitted_values_and_no_drafts(tabs: tuple[Tab, Tab]) -> None:
    one, two = tabs
    d.set_checkbox(one, "form_check", True)
    d.type_draft(one, "form_text", "a draft")
    before = two.state()["slider"]
    d.set_slider(one, "slider", 1)
    two.eventually_shows("slider", str(int(before) + 1))
    assert two.state()["form_text"] == "''"
    d.click(one, "submit")
    for tab in (one, two):
        tab.eventually_shows("form_text", "'a draft'")
        tab.eventually_shows("form_check", "True")
    settles_on(lambda: d.shown_text(two, "form_text"), "a draft")


def test_new_tab_shows_all_values(tabs: tuple[Tab, Tab], browser: Browser) -> None:
    one, _ = tabs
    with Tab(browser, one.url, name="tab C") as late:
        late.open()
        settles_on(late.state, one.state())
        assert late.errors == []
