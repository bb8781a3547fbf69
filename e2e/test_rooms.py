"""People choose rooms: by the form in the sidebar or a way of the app's own; and rooms go, and are deleted."""

from __future__ import annotations

import functools
import signal

import pytest
from playwright.sync_api import Browser, Error

from e2e import drivers as d
from e2e.conftest import OpenTab, StartApp
from e2e.harness import Way
from e2e.polling import eventually, settles_on
from e2e.tab import Tab

APP = "rooms.py"
GONE_WITHIN_S = 10.0
"""A page that is closed is gone within about two seconds, as docs/rooms.md says; the machine may be busy."""


def lists(tab: Tab, room: str, people: str | None, *, deadline_s: float = 15) -> None:
    """Wait, without doing anything in the tab, until its list has the room with that many people; None: not at all."""

    def shown() -> str | None:
        lines = tab.page.locator(".st-key-crdt-room-list [data-testid='stMarkdown']").all_inner_texts()
        return next((line.partition("·")[2].strip() for line in lines if line.startswith(room)), None)

    settles_on(shown, people, deadline_s=deadline_s)


def join(tab: Tab, room: str) -> None:
    tab.page.locator(f"[class*='crdt-join-room-{room}']").get_by_role("button", name="Join").click()
    tab.eventually_shows("room", room)


def create(tab: Tab, room: str) -> None:
    d.set_text(tab, "New room", room)
    tab.eventually_shows("room", room)


def leave(tab: Tab) -> None:
    d.click(tab, "Leave")
    tab.eventually_shows("room", None)


def test_select_room_widget_creates_joins_and_leaves_and_the_rest_of_the_script_stays(
    shared_app: StartApp, tab: OpenTab, room: str
) -> None:
    app = shared_app(APP)
    one, two = tab(app), tab(app)
    for tab_, value in ((one, 11), (two, 12)):
        d.set_number(tab_, "outside", value)
        tab_.eventually_shows("outside", value)
    d.type_draft(two, "New room", "a draft")
    create(one, room)
    d.set_number(one, "number", 7)
    lists(two, room, "1 person")
    assert d.shown_text(two, "New room") == "a draft"
    join(two, room)
    two.eventually_shows("number", 7)
    eventually(lambda: one.sees("2 people here"), why="who is in the room sees that another one came")
    assert f"room={room}" in two.page.url
    assert two.state()["outside"] == 12
    two.reload()
    two.eventually_shows("room", room)
    two.eventually_shows("number", 7)
    leave(two)
    two.eventually_shows("number", 0)
    assert "room=" not in two.page.url
    lists(two, room, "1 person")
    assert (one.state()["outside"], one.state()["number"]) == (11, 7)


def test_a_link_joins_and_what_is_wrong_with_a_name_is_told_in_the_form(
    shared_app: StartApp, tab: OpenTab, room: str
) -> None:
    app = shared_app(APP)
    one, two = tab(app, room=room), tab(f"{app.url}/?room=not%20a%20name")
    one.eventually_shows("room", room)
    eventually(lambda: two.sees("Room name 'not a name' is invalid"), why="the form tells")
    d.set_text(two, "New room", "a/b")
    eventually(lambda: two.sees("Room name 'a/b' is invalid"), why="the form tells")
    create(two, room)
    assert not two.sees("is invalid") and not two.exceptions()
    d.set_number(one, "number", 3)
    two.eventually_shows("number", 3)


@pytest.mark.floor
def test_the_number_of_people_is_exact_and_a_killed_tab_is_gone_with_nobody_else_active(
    shared_app: StartApp, tab: OpenTab, browser: Browser, room: str
) -> None:
    app = shared_app(APP)
    watcher, one = tab(app), tab(app, room=room)
    d.set_number(one, "number", 5)
    lists(watcher, room, "1 person")
    context = browser.new_context()
    killed = Tab(browser, f"{app.url}/?room={room}", name="killed", page=context.new_page()).open()
    killed.eventually_shows("number", 5)
    lists(watcher, room, "2 people")
    one.reload()
    one.eventually_shows("number", 5)
    lists(watcher, room, "2 people")
    one.page.close()
    lists(watcher, room, "1 person", deadline_s=GONE_WITHIN_S)
    crash(killed)
    lists(watcher, room, "0 people", deadline_s=GONE_WITHIN_S)
    context.close()


def numbers(tab: Tab) -> tuple[str, str]:
    return d.shown_text(tab, "number"), d.shown_text(tab, "unkeyed")


def crash(tab: Tab) -> None:
    """Have the process of a page end at once, which says goodbye to nobody."""
    try:
        tab.page.goto("chrome://crash", timeout=2_000)
    except Error:
        return


def test_rooms_are_entered_and_left_by_buttons_of_the_app(shared_app: StartApp, tab: OpenTab) -> None:
    app = shared_app(APP)
    one, two = tab(f"{app.url}/?ui=own"), tab(f"{app.url}/?ui=own")
    d.click(one, "to a")
    one.eventually_shows("room", "own-a")
    d.set_number(one, "number", 4)
    d.set_number(one, "unkeyed", 5)
    d.set_number(one, "mine", 6)
    d.click(one, "assign")
    one.eventually_shows("plain", 4)
    d.click(two, "to a")
    two.eventually_shows("plain", 4)
    d.click(one, "to b")
    for key, value in {"room": "own-b", "number": 0, "plain": None, "mine": 6}.items():
        one.eventually_shows(key, value)
    settles_on(lambda: d.shown_text(one, "unkeyed"), "0")
    d.set_number(one, "number", 9)
    one.eventually_shows("number", 9)
    d.click(one, "out")
    for key, value in {"room": None, "number": 0, "plain": None, "mine": 6}.items():
        one.eventually_shows(key, value)
    settles_on(lambda: (d.shown_text(one, "number"), d.shown_text(one, "mine")), ("0", "6"))
    assert two.state()["number"] == 4, "the room keeps its values"
    d.set_number(one, "number", 8)
    one.eventually_shows("number", 8)
    d.click(one, "to a")
    for tab_ in (one, two):
        tab_.eventually_shows("number", 4)
        tab_.eventually_shows("plain", 4)
        settles_on(functools.partial(numbers, tab_), ("4", "5"))


@pytest.mark.parametrize("way", [Way.EMBEDDED, Way.STANDALONE], ids=str)
def test_a_deleted_room_is_told_and_its_people_keep_working_on_their_own(
    shared_app: StartApp, tab: OpenTab, room: str, way: Way
) -> None:
    app = shared_app(APP, way)
    one, two = tab(app, room=room), tab(app, room=room)
    for tab_ in (one, two):
        tab_.allow(r"WebSocket connection to")
    d.set_number(one, "number", 7)
    two.eventually_shows("number", 7)
    d.click(one, "delete the room")
    one.eventually_shows("room", None)
    one.eventually_shows("number", 0)
    badge = two.page.locator("[data-streamlit-crdt-badge]")
    settles_on(lambda: badge.inner_text().strip(), "Room deleted")
    notice = two.page.locator("[data-streamlit-crdt-notice]")
    assert "This room was deleted" in notice.inner_text()
    notice.get_by_role("button", name="Stay").click()
    two.eventually_shows("status", "offline")
    d.set_number(two, "number", 8)
    two.eventually_shows("number", 8)
    create(one, room)
    one.eventually_shows("number", 0)
    d.set_number(one, "number", 2)
    one.eventually_shows("number", 2)
    assert two.state()["number"] == 8
    leave(two)
    join(two, room)
    two.eventually_shows("number", 2)
    d.set_number(two, "number", 3)
    one.eventually_shows("number", 3)


def test_the_list_has_rooms_that_are_only_on_disk_after_a_kill(
    start_app: StartApp, tab: OpenTab, room: str
) -> None:
    app = start_app(APP, Way.EMBEDDED, env={"STREAMLIT_CRDT_STORE": "rooms.db"})
    one = tab(app, room=room)
    d.set_number(one, "number", 7)
    one.eventually_shows("number", 7)
    d.click(one, "flush")
    one.eventually_shows("flushed", True)
    one.page.close()
    app.app.restart(signal.SIGKILL)
    two = tab(app)
    lists(two, room, "0 people")
    join(two, room)
    two.eventually_shows("number", 7)


def test_the_form_costs_no_run_of_the_script(shared_app: StartApp, tab: OpenTab, room: str) -> None:
    app = shared_app(APP)
    one, two = tab(app), tab(app, room=room)
    lists(one, room, "1 person")
    two.wait_idle()
    before = [tab_.state()["runs"] for tab_ in (one, two)]
    one.page.wait_for_timeout(7_000)  # nothing may happen in this time, so there is nothing to wait for
    assert [tab_.state()["runs"] for tab_ in (one, two)] == before
