"""What is saved survives a crash, who may only look changes nothing, and the page says which is which."""

from __future__ import annotations

import functools
import http.client
import signal
from pathlib import Path
from urllib.parse import urlsplit

import pycrdt
import pytest
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from e2e import drivers as d
from e2e.conftest import OpenTab, StartApp
from e2e.harness import THREE_WAYS, RunningApp, Way
from e2e.polling import eventually, settles_on
from e2e.tab import Tab

SYNC, SYNC_STEP_2, UPDATE = 0, 1, 2
"""Of the y-websocket protocol."""

STORE = {"STREAMLIT_CRDT_STORE": "rooms.db"}
BROKEN = (
    r"WebSocket connection to",
    r"ERR_",
    r"Error in reaching server endpoint",
    r"server is not responding",
)


def badge_says(tab: Tab, words: str, *, deadline_s: float = 20) -> None:
    badge = tab.page.locator("[data-streamlit-crdt-badge]")  # in a shadow root, which only locators look into
    settles_on(lambda: badge.inner_text().strip(), words, deadline_s=deadline_s)


@pytest.fixture(params=THREE_WAYS, ids=str)
def app(request: pytest.FixtureRequest, shared_app: StartApp) -> RunningApp:
    return shared_app("trust.py", request.param)


@pytest.mark.parametrize("way", THREE_WAYS, ids=str)
def test_S5_what_is_called_saved_survives_a_kill(
    start_app: StartApp, tab: OpenTab, room: str, way: Way
) -> None:
    app = start_app("trust.py", way, env=STORE)
    one = tab(app, room=room)
    d.set_number(one, "a", 7)
    one.eventually_shows("a", 7)
    if way is Way.STANDALONE:
        one.eventually_shows("saved", True)
    else:
        d.click(one, "flush")
        one.eventually_shows("flushed", True)
    badge_says(one, "Saved")
    one.page.close()
    for process in app.processes:
        process.stop(signal.SIGKILL)
    app.start()
    two = tab(app, room=room)
    two.eventually_shows("a", 7)


def test_A1_who_may_only_look_sees_all_and_changes_nothing(app: RunningApp, tab: OpenTab, room: str) -> None:
    editor = tab(app, room=room)
    viewer = tab(f"{app.url}/?room={room}&role=viewer")
    badge_says(viewer, "View only")
    d.set_number(editor, "a", 3)
    viewer.eventually_shows("a", 3)
    d.set_number(viewer, "a", 9)
    eventually(lambda: viewer.sees("What you change here goes back."), why="the viewer is told why")
    assert not editor.sees("What you change here goes back.")
    for tab_ in (editor, viewer):
        settles_on(functools.partial(d.shown_text, tab_, "a"), "3")
    d.set_number(editor, "a", 4)
    for tab_ in (editor, viewer):
        tab_.eventually_shows("a", 4)
        settles_on(functools.partial(d.shown_text, tab_, "a"), "4")
    assert viewer.state()["role"] == "viewer"


AUTHORIZE = """
import streamlit as st
from streamlit_crdt import crdt_app


def authorize(visitor):
    cookies = visitor.headers["Cookie"]
    return "editor" if "who=Ada" in cookies else "viewer" if "who=Bob" in cookies else None


app = st.App({script!r}, **crdt_app(authorize=authorize))
"""


def test_A1_the_app_decides_by_the_headers_who_may_enter_and_in_which_role(
    start_app: StartApp, tab: OpenTab, room: str
) -> None:
    app = start_app("trust.py", Way.MOUNTED, asgi_app=AUTHORIZE)
    ada, bob, eve = (tab(app, room=room, cookies={"who": name}) for name in ("Ada", "Bob", "Eve"))
    d.set_number(ada, "a", 3)
    bob.eventually_shows("a", 3)
    badge_says(bob, "View only")
    d.set_number(bob, "a", 9)
    d.set_number(ada, "a", 4)
    for page in (ada, bob):
        page.eventually_shows("a", 4)
    eventually(lambda: eve.sees("You may not enter the room"), why="the third is told so")
    assert eve.page.get_by_label("a", exact=True).count() == 0


REMEMBER_TOKENS = """
const Native = window.WebSocket;
window.socketsAsked = [];
window.WebSocket = class extends Native {
    constructor(url, protocols) {
        super(url, protocols);
        window.socketsAsked.push([String(url), protocols]);
    }
};
"""


def test_A1_a_client_of_another_kind_with_a_viewers_token_changes_nothing_either(
    shared_app: StartApp, tab: OpenTab, room: str
) -> None:
    app = shared_app("trust.py", Way.EMBEDDED)
    editor = tab(app, room=room)
    viewer = tab(
        f"{app.url}/?room={room}&role=viewer",
        prepare=lambda page: page.add_init_script(REMEMBER_TOKENS),
    )
    badge_says(viewer, "View only")
    asked: list[tuple[str, list[str]]] = viewer.page.evaluate("window.socketsAsked")
    url, protocols = next((url, protocols) for url, protocols in asked if "_stcore" not in url)
    forged: pycrdt.Map[int] = pycrdt.Map()
    document = pycrdt.Doc({"state": forged})
    forged["a"] = 66
    with connect(url, subprotocols=[Subprotocol(name) for name in protocols]) as client:
        for kind in (SYNC_STEP_2, UPDATE):
            client.send(bytes([SYNC, kind]) + pycrdt.write_message(document.get_update()))
        d.set_number(editor, "a", 4)
        for page in (editor, viewer):
            page.eventually_shows("a", 4)
    late = tab(app, room=room)
    assert [page.state()["a"] for page in (editor, viewer, late)] == [4, 4, 4]


def test_a_socket_without_a_token_is_refused_before_it_is_accepted(
    app: RunningApp, tab: OpenTab, room: str
) -> None:
    tab(app, room=room)  # the first session starts an embedded room server
    address = urlsplit(app.room_socket)
    connection = http.client.HTTPConnection(str(address.hostname), int(address.port or 80), timeout=10)
    connection.request(
        "GET",
        f"{address.path}/somebodys-room",
        headers={
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        },
    )
    assert connection.getresponse().status == 403
    connection.close()


def test_the_page_says_what_is_not_saved_yet_and_warns_who_leaves(
    start_app: StartApp, tab: OpenTab, room: str
) -> None:
    app = start_app("trust.py", Way.STANDALONE, env=STORE)
    one = tab(app, room=room)
    one.allow(*BROKEN)
    badge_says(one, "Saved")
    app.server.stop(signal.SIGKILL)
    badge_says(one, "Offline", deadline_s=30)
    d.set_number(one, "a", 1)
    badge_says(one, "Offline, 1 edit not saved yet", deadline_s=30)
    assert warns_who_leaves(one)
    app.server.start()
    badge_says(one, "Saved", deadline_s=30)
    assert not warns_who_leaves(one)


def warns_who_leaves(tab: Tab) -> bool:
    """Say whether the page objects to being left, asked as the browser asks it."""
    return bool(
        tab.page.evaluate(
            """() => {
                const leaving = new Event("beforeunload", { cancelable: true });
                window.dispatchEvent(leaving);
                return leaving.defaultPrevented;
            }"""
        )
    )


def test_a_tab_of_a_deleted_room_keeps_its_edits_to_itself_and_says_so(
    start_app: StartApp, tab: OpenTab, room: str
) -> None:
    app = start_app("trust.py", Way.STANDALONE, env=STORE)
    one = tab(app, room=room)
    one.allow(*BROKEN)
    d.set_number(one, "a", 5)
    one.eventually_shows("a", 5)
    one.eventually_shows("saved", True)  # the badge says so from before the edit reaches the tab
    badge_says(one, "Saved")
    app.server.stop()
    badge_says(one, "Offline", deadline_s=30)
    d.set_number(one, "a", 6)
    badge_says(one, "Offline, 1 edit not saved yet", deadline_s=30)
    forget_rooms(app.server.folder)
    app.server.start()
    badge_says(one, "Room deleted", deadline_s=30)
    eventually(lambda: one.sees("Reload"), why="the notice offers to reload")
    late = tab(app, room=room)
    late.eventually_shows("a", 0)


def forget_rooms(folder: Path) -> None:
    for file in folder.glob("rooms.db*"):
        file.unlink()


def test_P4_an_idle_room_with_a_badge_and_tokens_costs_no_run(
    app: RunningApp, tab: OpenTab, room: str
) -> None:
    one, two = tab(app, room=room), tab(app, room=room)
    d.set_number(one, "a", 1)
    two.eventually_shows("a", 1)
    for tab_ in (one, two):
        badge_says(tab_, "In memory only")
    before = [tab_.state()["runs"] for tab_ in (one, two)]
    one.page.wait_for_timeout(5_000)  # nothing may happen in this time, so there is nothing to wait for
    assert [tab_.state()["runs"] for tab_ in (one, two)] == before


@pytest.mark.parametrize("way", [Way.EMBEDDED, Way.MOUNTED], ids=str)
def test_flush_waits_until_the_edits_of_this_run_are_saved(
    shared_app: StartApp, tab: OpenTab, room: str, way: Way
) -> None:
    one = tab(shared_app("trust.py", way), room=room)
    d.set_number(one, "a", 2)
    d.click(one, "flush")
    one.eventually_shows("flushed", True)
    one.eventually_shows("saved", True)
