"""A multipage app: keys survive a page switch, and unkeyed widgets of different pages do not collide."""

from __future__ import annotations

import pytest

from e2e import drivers as d
from e2e.conftest import OpenTab, StartApp
from e2e.harness import Deployment
from e2e.polling import eventually, settles_on
from e2e.tab import Tab


def go_to(tab: Tab, page: str) -> None:
    tab.page.get_by_test_id("stSidebarNav").get_by_role("link", name=page, exact=True).click()
    eventually(lambda: tab.state()["page"] == page, why=f"the page is {page}")


@pytest.mark.floor
def test_P3_page_switch_neither_loses_nor_overwrites_values(
    shared_app: StartApp, tab: OpenTab, room: str
) -> None:
    app = shared_app("pages.py", Deployment.EMBEDDED)
    one, two = tab(app, room=room), tab(app, room=room)
    d.set_slider(one, "a", 5)
    two.eventually_shows("a", 5)
    d.set_slider(one, "same label", 2)
    two.eventually_shows("b", 2)
    go_to(one, "second")
    assert one.state()["b"] == 0, "the slider of the same label on the other page is a different widget"
    d.set_slider(one, "c", 7)
    one.eventually_shows("c", 7)
    d.set_slider(two, "a", 3)
    two.eventually_shows("a", 8)
    d.click(one, "assign")
    two.eventually_shows("plain", 7)
    go_to(two, "second")
    two.eventually_shows("c", 7)
    assert two.state()["b"] == 0, "the widgets also differ in the other tab"
    go_to(one, "first")
    one.eventually_shows("a", 8)
    one.eventually_shows("b", 2)
    settles_on(lambda: d.shown_slider(one, "a"), ["8"])


def test_assignment_before_st_switch_page_is_shared(shared_app: StartApp, tab: OpenTab, room: str) -> None:
    app = shared_app("pages.py", Deployment.EMBEDDED)
    one, two = tab(app, room=room), tab(app, room=room)
    d.set_slider(one, "a", 5)
    one.eventually_shows("a", 5)
    d.click(one, "leave")
    one.eventually_shows("page", "second")
    for tab_ in (one, two):
        tab_.eventually_shows("plain", "5 as we left")
    two.eventually_shows("a", 5)
