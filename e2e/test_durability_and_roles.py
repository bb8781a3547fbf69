"""Durability, roles and authorization, and their display in the page."""

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
from e2e.harness import DEPLOYMENTS, EDIT_PATHS, Deployment, RunningApp
from e2e.polling import eventually, settles_on
from e2e.tab import Tab

SYNC, SYNC_STEP_2, UPDATE = 0, 1, 2
"""Message types of the y-websocket protocol."""

STORE = {"STREAMLIT_CRDT_STORE": "rooms.db"}
OUTAGE = (
    r"WebSocket connection to",
    r"ERR_",
    r"Error in reaching server endpoint",
    r"server is not responding",
)


def expect_badge(tab: Tab, text: str, *, deadline_s: float = 20) -> None:
    badge = tab.page.locator("[data-streamlit-crdt-badge]")  # in a shadow root, which only locators search
    settles_on(lambda: badge.inner_text().strip(), text, deadline_s=deadline_s)


@pytest.fixture(params=EDIT_PATHS, ids=str)
def app(request: pytest.FixtureRequest, shared_app: StartApp) -> RunningApp:
    return shared_app("trust.py", request.param)


@pytest.mark.parametrize("deployment", EDIT_PATHS, ids=str)
def test_S5_saved_edit_survives_a_kill(
    start_app: StartApp, tab: OpenTab, room: str, deployment: Deployment
) -> None:
    app = start_app("trust.py", deployment, env=STORE)
    one = tab(app, room=room)
    d.set_number(one, "a", 7)
    one.eventually_shows("a", 7)
    if deployment is Deployment.STANDALONE:
        one.eventually_shows("saved", True)
    else:
        d.click(one, "flush")
        one.eventually_shows("flushed", True)
        one.eventually_shows("saved", True)
    expect_badge(one, "Saved")
    one.page.close()
    for process in app.processes:
        process.stop(signal.SIGKILL)
    app.start()
    two = tab(app, room=room)
    two.eventually_shows("a", 7)


def test_A1_viewer_sees_edits_and_changes_nothing(app: RunningApp, tab: OpenTab, room: str) -> None:
    editor = tab(app, room=room)
    viewer = tab(f"{app.url}/?room={room}&role=viewer")
    expect_badge(viewer, "View only")
    d.set_number(editor, "a", 3)
    viewer.eventually_shows("a", 3)
    d.set_number(viewer, "a", 9)
    eventually(lambda: viewer.sees("What you change here goes back."), why="the viewer sees the reason")
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


def test_A1_authorize_hook_decides_role_and_entry_by_headers(
    start_app: StartApp, tab: OpenTab, room: str
) -> None:
    app = start_app("trust.py", Deployment.MOUNTED, asgi_app=AUTHORIZE)
    ada, bob, eve = (tab(app, room=room, cookies={"who": name}) for name in ("Ada", "Bob", "Eve"))
    d.set_number(ada, "a", 3)
    bob.eventually_shows("a", 3)
    expect_badge(bob, "View only")
    d.set_number(bob, "a", 9)
    d.set_number(ada, "a", 4)
    for page in (ada, bob):
        page.eventually_shows("a", 4)
    eventually(lambda: eve.sees("You may not enter the room"), why="the third tab shows the error")
    assert eve.page.get_by_label("a", exact=True).count() == 0


REMEMBER_TOKENS = """
const Native = window.WebSocket;
window.openedSockets = [];
window.WebSocket = class extends Native {
    constructor(url, protocols) {
        super(url, protocols);
        window.openedSockets.push([String(url), protocols]);
    }
};
"""


def test_A1_other_client_with_a_viewer_token_changes_nothing(
    shared_app: StartApp, tab: OpenTab, room: str
) -> None:
    app = shared_app("trust.py", Deployment.EMBEDDED)
    editor = tab(app, room=room)
    viewer = tab(
        f"{app.url}/?room={room}&role=viewer",
        prepare=lambda page: page.add_init_script(REMEMBER_TOKENS),
    )
    expect_badge(viewer, "View only")
    opened: list[tuple[str, list[str]]] = viewer.page.evaluate("window.openedSockets")
    url, protocols = next((url, protocols) for url, protocols in opened if "_stcore" not in url)
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


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=str)
def test_socket_without_a_token_is_rejected_with_403(
    shared_app: StartApp, tab: OpenTab, room: str, deployment: Deployment
) -> None:
    app = shared_app("trust.py", deployment)
    if deployment is Deployment.EMBEDDED:
        tab(app, room=room)  # the first session starts the room server
    address = urlsplit(app.room_socket)
    connection = http.client.HTTPConnection(str(address.hostname), int(address.port or 80), timeout=10)
    connection.request(
        "GET",
        f"{address.path}/some-room",
        headers={
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        },
    )
    assert connection.getresponse().status == 403
    connection.close()


def test_page_shows_unsaved_edits_and_warns_before_unload(
    start_app: StartApp, tab: OpenTab, room: str
) -> None:
    app = start_app("trust.py", Deployment.STANDALONE, env=STORE)
    one = tab(app, room=room)
    one.allow(*OUTAGE)
    expect_badge(one, "Saved")
    app.server.stop(signal.SIGKILL)
    expect_badge(one, "Offline", deadline_s=30)
    d.set_number(one, "a", 1)
    expect_badge(one, "Offline, 1 edit not saved yet", deadline_s=30)
    assert warns_before_unload(one)
    app.server.start()
    expect_badge(one, "Saved", deadline_s=30)
    assert not warns_before_unload(one)


def warns_before_unload(tab: Tab) -> bool:
    """Return True if the page cancels a `beforeunload` event."""
    return bool(
        tab.page.evaluate(
            """() => {
                const unload = new Event("beforeunload", { cancelable: true });
                window.dispatchEvent(unload);
                return unload.defaultPrevented;
            }"""
        )
    )


def test_tab_of_a_deleted_room_keeps_its_edits_and_shows_it(
    start_app: StartApp, tab: OpenTab, room: str
) -> None:
    app = start_app("trust.py", Deployment.STANDALONE, env=STORE)
    one = tab(app, room=room)
    one.allow(*OUTAGE)
    d.set_number(one, "a", 5)
    one.eventually_shows("a", 5)
    one.eventually_shows("saved", True)  # the badge shows "Saved" already before the edit reaches the tab
    expect_badge(one, "Saved")
    app.server.stop()
    expect_badge(one, "Offline", deadline_s=30)
    d.set_number(one, "a", 6)
    expect_badge(one, "Offline, 1 edit not saved yet", deadline_s=30)
    delete_store(app.server.folder)
    app.server.start()
    expect_badge(one, "Room deleted", deadline_s=30)
    eventually(lambda: one.sees("Reload"), why="the notice offers to reload")
    late = tab(app, room=room)
    late.eventually_shows("a", 0)


def delete_store(folder: Path) -> None:
    for file in folder.glob("rooms.db*"):
        file.unlink()


def test_P4_idle_room_with_badge_and_tokens_causes_no_run(app: RunningApp, tab: OpenTab, room: str) -> None:
    one, two = tab(app, room=room), tab(app, room=room)
    d.set_number(one, "a", 1)
    two.eventually_shows("a", 1)
    for tab_ in (one, two):
        expect_badge(tab_, "In memory only")
    before = [tab_.state()["runs"] for tab_ in (one, two)]
    one.page.wait_for_timeout(5_000)  # nothing may happen in this time, so there is no event to await
    assert [tab_.state()["runs"] for tab_ in (one, two)] == before
