"""Tabs that come back, with unsaved edits, to a room that was rewritten meanwhile (rule N4)."""

from __future__ import annotations

import urllib.request
from contextlib import AbstractContextManager

import pytest

from e2e import drivers as d
from e2e.conftest import OpenTab, StartApp
from e2e.harness import ROOMS_ENV, Deployment, RunningApp
from e2e.page_sockets import PageSockets
from e2e.polling import eventually
from e2e.tab import Tab
from streamlit_crdt import connect
from streamlit_crdt.client.connect import JobRoom

REWRITING = {
    "STREAMLIT_CRDT_STORE": "rooms.db",
    "STREAMLIT_CRDT_EVICT_AFTER_S": "0.2",
    "STREAMLIT_CRDT_REWRITE_OVER_BYTES": "1",
}
"""An empty room leaves memory at once, and is rewritten then."""

OUTAGE = (
    r"WebSocket connection to",
    r"_stcore",
    r"ERR_",
    r"backMessage when disconnected",
    r"Error in reaching server endpoint",
    r"server is not responding",
    r"already in CLOSING or CLOSED state",
)


def metrics(app: RunningApp) -> str:
    with urllib.request.urlopen(
        app.server.health_url.replace("/healthz", "/metrics"), timeout=10
    ) as response:
        return str(response.read(), "utf-8")


def connect_to(
    app: RunningApp, room: str, monkeypatch: pytest.MonkeyPatch
) -> AbstractContextManager[JobRoom]:
    monkeypatch.setenv("STREAMLIT_CRDT_SECRET", ROOMS_ENV["STREAMLIT_CRDT_SECRET"])
    return connect(room, server=app.room_socket, merge={"NB_*": "counter"})


def rewrite(app: RunningApp, room: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write much into the room and overwrite it, leave, and wait until the room is rewritten."""
    with connect_to(app, room, monkeypatch) as job:
        for number in range(600):
            job.state[f"filler{number % 3}"] = number
        job.list("log").append("job")
        job.counter("NB_CLICKS").increment(10)
    eventually(lambda: "streamlit_crdt_rooms 0.0" in metrics(app), why="the room has left memory")


def edit_without_the_room(one: Tab, two: Tab, sockets: PageSockets, name: str) -> None:
    """Make saved edits in both tabs, and then edits of the second tab that do not reach the room server."""
    d.click(one, "count")
    two.eventually_shows("clicks", 1)
    d.set_text_area(one, "Notes", "one\ntwo\nthree\nfour")
    d.choose_also(one, "Drinks", "tea")
    two.eventually_shows("notes", "one\ntwo\nthree\nfour")
    two.eventually_shows("drinks", ["tea"])
    sockets.block()
    for count in (2, 3):
        d.click(two, "count")
        two.eventually_shows("clicks", count)
    d.click(two, "sign")
    two.eventually_shows("log", [name])
    d.set_text_area(two, "Notes", "zero\ntwo\nthree\nfour")
    two.eventually_shows("notes", "zero\ntwo\nthree\nfour")
    d.choose_also(two, "Drinks", "milk")
    d.drop_choice(two, "Drinks", "tea")
    two.eventually_shows("drinks", ["milk"])


def check(name: str, *tabs: Tab) -> None:
    for tab in tabs:
        tab.eventually_shows("clicks", 13, deadline_s=60)
        tab.eventually_shows("notes", "zero\ntwo\nthree\nfour")
        tab.eventually_shows("drinks", ["milk"])
        log = tab.state()["log"]
        assert sorted(log) == sorted(["job", name]), log
        tab.eventually_shows("plan", {"done": False, "hours": {name: len(name)}})


def test_N4_offline_tab_carries_its_unsaved_edits_over(
    start_app: StartApp, tab: OpenTab, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = start_app("merging.py", Deployment.STANDALONE, env=REWRITING)
    sockets = PageSockets.to_room_server(app)
    one, two = (
        tab(app, room=room, path="/?name=one"),
        tab(app, room=room, path="/?name=two", prepare=sockets.prepare),
    )
    for page in (one, two):
        page.allow(*OUTAGE)
    edit_without_the_room(one, two, sockets, "two")
    one.page.goto("about:blank")
    rewrite(app, room, monkeypatch)
    sockets.is_blocked = False
    check("two", two)
    check("two", one.open())
    d.click(one, "count")
    two.eventually_shows("clicks", 14)
    d.click(two, "count")
    one.eventually_shows("clicks", 15)


@pytest.mark.parametrize("is_app_down", [False, True], ids=["app first", "socket first"])
def test_N4_tab_of_an_ended_session_recovers_by_itself(
    start_app: StartApp, tab: OpenTab, room: str, monkeypatch: pytest.MonkeyPatch, is_app_down: bool
) -> None:
    app = start_app("merging.py", Deployment.STANDALONE, env=REWRITING)
    sockets = PageSockets.to_room_server(app)
    one = tab(app, room=room, path="/?name=one", prepare=sockets.prepare)
    one.allow(*OUTAGE)
    d.click(one, "count")
    one.eventually_shows("clicks", 1)
    d.choose_also(one, "Drinks", "tea")
    one.eventually_shows("drinks", ["tea"])
    with connect_to(app, room, monkeypatch) as job:
        eventually(lambda: job.state.get("drinks"), why="the edits are in the room")
    sockets.block()
    d.choose_also(one, "Drinks", "milk")
    one.eventually_shows("drinks", ["tea", "milk"])
    rewrite(app, room, monkeypatch)
    app.app.stop()
    if is_app_down:
        sockets.is_blocked = False
        eventually(lambda: one.page.title() and "4410" in metrics(app), why="the document is refused")
    app.app.start()
    sockets.is_blocked = False
    one.eventually_shows("clicks", 11, deadline_s=60)
    one.eventually_shows("drinks", ["tea"])
    one.eventually_shows("log", ["job"])
    notice = one.page.locator("[data-streamlit-crdt-notice]")
    assert "milk" in notice.inner_text(), notice.inner_text()
    two = tab(app, room=room, path="/?name=two")
    two.eventually_shows("clicks", 11)
    d.click(one, "count")
    two.eventually_shows("clicks", 12)
