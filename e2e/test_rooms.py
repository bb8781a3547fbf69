"""Room picker, entering, leaving and deleting rooms, and participant counts."""

from __future__ import annotations

import functools

import pytest
from playwright.sync_api import Browser, Error

from e2e import drivers as d
from e2e.conftest import OpenTab, StartApp
from e2e.harness import Deployment
from e2e.polling import eventually, settles_on
from e2e.tab import Tab

APP = "rooms.py"
DEPARTURE_S = 10.0
"""Seconds until a closed page is no longer counted: about two by docs/rooms.md, more on a busy machine."""


def expect_listed(tab: Tab, room: str, people: str | None, *, deadline_s: float = 15) -> None:
    """Wait until the list of the tab shows the room with that count. None means that the room is not listed."""

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


def test_picker_creates_joins_and_leaves_without_other_effects(
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
    expect_listed(two, room, "1 person")
    assert d.shown_text(two, "New room") == "a draft"
    join(two, room)
    two.eventually_shows("number", 7)
    eventually(lambda: one.sees("2 people here"), why="the participant count of the first tab changes")
    assert f"room={room}" in two.page.url
    assert two.state()["outside"] == 12
    two.reload()
    two.eventually_shows("room", room)
    two.eventually_shows("number", 7)
    leave(two)
    two.eventually_shows("number", 0)
    assert "room=" not in two.page.url
    expect_listed(two, room, "1 person")
    assert (one.state()["outside"], one.state()["number"]) == (11, 7)


def test_link_joins_and_picker_shows_invalid_names(shared_app: StartApp, tab: OpenTab, room: str) -> None:
    app = shared_app(APP)
    one, two = tab(app, room=room), tab(f"{app.url}/?room=not%20a%20name")
    one.eventually_shows("room", room)
    eventually(lambda: two.sees("Room name 'not a name' is invalid"), why="the picker shows the error")
    d.set_text(two, "New room", "a/b")
    eventually(lambda: two.sees("Room name 'a/b' is invalid"), why="the picker shows the error")
    create(two, room)
    assert not two.sees("is invalid") and not two.exceptions()
    d.set_number(one, "number", 3)
    two.eventually_shows("number", 3)
    for tab_ in (one, two):
        tab_.wait_idle()
    before = [tab_.state()["runs"] for tab_ in (one, two)]
    one.page.wait_for_timeout(7_000)  # nothing may happen in this time, so there is no event to await
    assert [tab_.state()["runs"] for tab_ in (one, two)] == before, "the picker causes no script run"


@pytest.mark.floor
def test_participant_count_is_exact_after_reload_close_and_crash(
    shared_app: StartApp, tab: OpenTab, browser: Browser, room: str
) -> None:
    app = shared_app(APP)
    watcher, one = tab(app), tab(app, room=room)
    d.set_number(one, "number", 5)
    expect_listed(watcher, room, "1 person")
    context = browser.new_context()
    killed = Tab(browser, f"{app.url}/?room={room}", name="killed", page=context.new_page()).open()
    killed.eventually_shows("number", 5)
    expect_listed(watcher, room, "2 people")
    one.reload()
    one.eventually_shows("number", 5)
    expect_listed(watcher, room, "2 people")
    one.page.close()
    expect_listed(watcher, room, "1 person", deadline_s=DEPARTURE_S)
    crash(killed)
    expect_listed(watcher, room, "0 people", deadline_s=DEPARTURE_S)
    context.close()


def numbers(tab: Tab) -> tuple[str, str]:
    return d.shown_text(tab, "number"), d.shown_text(tab, "unkeyed")


def crash(tab: Tab) -> None:
    """End the process of a page at once, without a closing handshake."""
    try:
        tab.page.goto("chrome://crash", timeout=2_000)
    except Error:
        return


def test_buttons_of_the_app_enter_and_leave_rooms(shared_app: StartApp, tab: OpenTab) -> None:
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


@pytest.mark.parametrize("deployment", [Deployment.EMBEDDED, Deployment.STANDALONE], ids=str)
def test_deleted_room_shows_a_notice_and_sessions_continue(
    shared_app: StartApp, tab: OpenTab, room: str, deployment: Deployment
) -> None:
    app = shared_app(APP, deployment)
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
