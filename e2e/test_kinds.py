"""Every settable kind of widget, with and without a key: moved in one tab, read in both, by script and by eye."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from e2e import drivers as d
from e2e.conftest import APPS
from e2e.harness import RunningApp, Way, make_app
from e2e.polling import settles_on
from e2e.tab import Tab


@dataclass(frozen=True)
class Kind:
    """How a person moves the widget, what the scripts then see, and what the other tab shows."""

    name: str
    move: Callable[[Tab], None]
    seen: object
    shown: Callable[[Tab], object] | None = None
    looks: object = None


KINDS = [
    Kind("checkbox", lambda t: d.set_checkbox(t, "checkbox", True), True, lambda t: d.shown_checkbox(t, "checkbox"), True),
    Kind("toggle", lambda t: d.set_checkbox(t, "toggle", True), True, lambda t: d.shown_checkbox(t, "toggle"), True),
    Kind("radio", lambda t: d.choose_radio(t, "radio", "green"), "green", lambda t: d.shown_radio(t, "radio"), "green"),
    Kind("selectbox", lambda t: d.choose(t, "selectbox", "blue"), "blue", lambda t: d.shown_choice(t, "selectbox"), "blue"),
    Kind("multiselect", lambda t: (d.choose_also(t, "multiselect", "green"), d.choose_also(t, "multiselect", "red"))[0], ["green", "red"]),
    Kind("pills", lambda t: d.press_option(t, "pills", "red"), "red", lambda t: d.shown_options(t, "pills"), ["red"]),
    Kind("pills_multi", lambda t: (d.press_option(t, "pills_multi", "red"), d.press_option(t, "pills_multi", "blue"))[0], ["red", "blue"], lambda t: d.shown_options(t, "pills_multi"), ["red", "blue"]),
    Kind("segmented", lambda t: d.press_option(t, "segmented", "green"), "green", lambda t: d.shown_options(t, "segmented"), ["green"]),
    Kind("select_slider", lambda t: d.set_slider(t, "select_slider", 2), "blue", lambda t: d.shown_slider(t, "select_slider"), ["blue"]),
    Kind("select_range", lambda t: d.set_slider(t, "select_range", 1, thumb=1), ("red", "blue"), lambda t: d.shown_slider(t, "select_range"), ["red", "blue"]),
    Kind("feedback", lambda t: d.rate(t, 3), 3, lambda t: d.shown_rating(t), 3),
    Kind("slider", lambda t: d.set_slider(t, "slider", 5), 5, lambda t: d.shown_slider(t, "slider"), ["5"]),
    Kind("slider_float", lambda t: d.set_slider(t, "slider_float", 2), 1.0, lambda t: d.shown_slider(t, "slider_float"), ["1.00"]),
    Kind("slider_range", lambda t: d.set_slider(t, "slider_range", 1), (3, 8), lambda t: d.shown_slider(t, "slider_range"), ["3", "8"]),
    Kind("slider_date", lambda t: d.set_slider(t, "slider_date", 3), dt.date(2024, 1, 13)),
    Kind("number", lambda t: d.set_number(t, "number", 42), 42, lambda t: d.shown_text(t, "number"), "42"),
    Kind("number_float", lambda t: d.set_number(t, "number_float", 3), 3.0, lambda t: d.shown_text(t, "number_float"), "3.00"),
    Kind("number_none", lambda t: d.set_number(t, "number_none", 8), 8, lambda t: d.shown_text(t, "number_none"), "8"),
    Kind("color", lambda t: d.set_color(t, "color", "#ff0000"), "#ff0000"),
    Kind("text", lambda t: d.set_text(t, "text", "héllo 👍"), "héllo 👍", lambda t: d.shown_text(t, "text"), "héllo 👍"),
    Kind("area", lambda t: d.set_text_area(t, "area", "two\nlines"), "two\nlines", lambda t: d.shown_text(t, "area"), "two\nlines"),
    Kind("date", lambda t: d.set_date(t, "date", dt.date(2024, 6, 2)), dt.date(2024, 6, 2), lambda t: d.shown_segments(t, "stDateInput", "date"), [2024, 6, 2]),
    Kind("date_range", lambda t: d.set_dates(t, "date_range", dt.date(2024, 6, 2), dt.date(2024, 6, 5)), (dt.date(2024, 6, 2), dt.date(2024, 6, 5))),
    Kind("time", lambda t: d.set_time(t, "time", dt.time(9, 30)), dt.time(9, 30), lambda t: d.shown_segments(t, "stTimeInput", "time"), [9, 30]),
    Kind("datetime", lambda t: d.set_datetime(t, "datetime", dt.datetime(2024, 6, 2, 9, 30)), dt.datetime(2024, 6, 2, 9, 30)),
    Kind("pagination", lambda t: t.page.get_by_test_id("stPagination").get_by_text("3", exact=True).click(), 3),
    Kind("enum", lambda t: d.choose(t, "enum", "Size.LARGE"), "<Size.LARGE: 2>", lambda t: d.shown_choice(t, "enum"), "Size.LARGE"),
    Kind("objects", lambda t: d.choose_also(t, "objects", "Banana"), "[Fruit(Banana)]"),
]  # fmt: skip
BY_REPR = ("enum", "objects")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    app = make_app(Way.EMBEDDED, Path(APPS / "kinds.py"), tmp_path_factory.mktemp("kinds"))
    app.start()
    yield app
    app.stop()


@pytest.fixture(scope="module", params=["unkeyed", "keyed"])
def tabs(request: pytest.FixtureRequest, browser: Browser, app: RunningApp) -> Iterator[tuple[Tab, Tab]]:
    url = f"{app.url}/?room={request.param}" + ("&keyed=1" if request.param == "keyed" else "")
    with Tab(browser, url, name="tab A") as one, Tab(browser, url, name="tab B") as two:
        yield one.open(), two.open()
        assert one.complaints + two.complaints == []


@pytest.mark.floor
@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_a_widget_moved_in_one_tab_moves_in_the_other(tabs: tuple[Tab, Tab], kind: Kind) -> None:
    one, two = tabs
    if KINDS.index(kind) % 2:
        one, two = two, one
    kind.move(one)
    expected = str(kind.seen) if kind.name in BY_REPR else repr(kind.seen)
    for tab in (one, two):
        tab.eventually_shows(kind.name, expected)
    if kind.shown is not None:
        settles_on(lambda: kind.shown(two), kind.looks)
        settles_on(lambda: kind.shown(one), kind.looks)


@pytest.mark.floor
def test_a_form_shares_what_is_submitted_and_keeps_drafts_to_itself(tabs: tuple[Tab, Tab]) -> None:
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


def test_a_late_tab_shows_everything_at_once(tabs: tuple[Tab, Tab], browser: Browser) -> None:
    one, _ = tabs
    with Tab(browser, one.url, name="tab C") as late:
        late.open()
        settles_on(late.state, one.state())
        assert late.complaints == []
