"""Server restarts, tabs without network, and unreachable ports."""

from __future__ import annotations

import signal

import pytest
from playwright.sync_api import Page, WebSocketRoute

from e2e import drivers as d
from e2e.conftest import OpenTab, StartApp
from e2e.harness import Deployment
from e2e.page_sockets import PageSockets
from e2e.polling import eventually

BROKEN_SOCKET = (
    r"WebSocket connection to",
    r"ERR_CONNECTION_REFUSED",
    r"ERR_INTERNET_DISCONNECTED",
    r"Error in reaching server endpoint",
    r"server is not responding",
)


def test_restart_of_the_room_server_loses_nothing(start_app: StartApp, tab: OpenTab, room: str) -> None:
    app = start_app("board.py", Deployment.STANDALONE)
    one, two = tab(app, room=room), tab(app, room=room)
    for tab_ in (one, two):
        tab_.allow(*BROKEN_SOCKET)
        tab_.eventually_shows("status", "connected")
    d.set_number(one, "a", 1)
    two.eventually_shows("a", 1)
    app.server.stop(signal.SIGKILL)
    one.eventually_shows("status", "offline", deadline_s=30)
    d.set_number(one, "a", 2)
    d.set_number(two, "b", 3)
    one.eventually_shows("a", 2)
    two.eventually_shows("b", 3)
    app.server.start()
    for tab_ in (one, two):
        tab_.eventually_shows("a", 2, deadline_s=30)
        tab_.eventually_shows("b", 3, deadline_s=30)
        tab_.eventually_shows("status", "connected", deadline_s=30)


def test_app_runs_without_its_room_server(start_app: StartApp, tab: OpenTab, room: str) -> None:
    app = start_app("board.py", Deployment.STANDALONE)
    app.server.stop()
    one = tab(app, room=room)
    one.allow(*BROKEN_SOCKET)
    one.eventually_shows("status", "offline", deadline_s=30)
    d.set_number(one, "a", 5)
    one.eventually_shows("a", 5)
    app.server.start()
    one.eventually_shows("status", "connected", deadline_s=30)
    two = tab(app, room=room)
    two.eventually_shows("a", 5, deadline_s=30)
    assert one.state()["a"] == 5


def test_restarted_app_gets_its_room_from_open_tabs(start_app: StartApp, tab: OpenTab, room: str) -> None:
    app = start_app("board.py", Deployment.EMBEDDED)
    one, two = tab(app, room=room), tab(app, room=room)
    for tab_ in (one, two):
        tab_.allow(*BROKEN_SOCKET, r"_stcore", r"ERR_", r"backMessage when disconnected")
    d.set_number(one, "a", 7)
    two.eventually_shows("a", 7)
    app.app.restart()
    for tab_ in (one, two):
        tab_.eventually_shows("a", 7, deadline_s=40)
    d.set_number(two, "b", 8)
    one.eventually_shows("b", 8, deadline_s=40)


def test_session_is_polled_if_the_room_port_is_unreachable(
    shared_app: StartApp, tab: OpenTab, room: str
) -> None:
    app = shared_app("board.py", Deployment.EMBEDDED)

    closed: list[str] = []

    def close(socket: WebSocketRoute) -> None:
        closed.append(socket.url)
        socket.close()

    def block_room_port(page: Page) -> None:
        page.route_web_socket(lambda url: app.room_socket in url, close)

    one, blocked = tab(app, room=room), tab(app, room=room, prepare=block_room_port)
    blocked.allow(*BROKEN_SOCKET)
    d.set_number(one, "a", 4)
    blocked.eventually_shows("a", 4, deadline_s=20)
    d.set_number(blocked, "b", 6)
    one.eventually_shows("b", 6, deadline_s=20)
    assert closed


def test_tab_without_network_keeps_its_values_and_syncs_later(
    shared_app: StartApp, tab: OpenTab, room: str
) -> None:
    app = shared_app("board.py", Deployment.EMBEDDED)
    one, two = tab(app, room=room), tab(app, room=room)
    for tab_ in (one, two):
        tab_.allow(*BROKEN_SOCKET, r"_stcore", r"ERR_", r"backMessage when disconnected")
    d.set_number(one, "a", 1)
    two.eventually_shows("a", 1)
    two.go_offline()
    for number in range(2, 6):
        d.set_number(one, "a", number)
        one.eventually_shows("a", number)
    two.go_offline(False)
    two.eventually_shows("a", 5, deadline_s=40)
    eventually(lambda: d.shown_text(two, "a") == "5", why="the widget shows the value")


@pytest.mark.soak
def test_R3_unsaved_edits_of_an_expired_session_are_kept_by_its_tab(
    start_app: StartApp, tab: OpenTab, room: str
) -> None:
    """Streamlit drops a session whose tab is offline. The tab brings the edits to the server and to a new session."""
    no_time = {"STREAMLIT_SERVER_DISCONNECTED_SESSION_TTL": "0"}
    app = start_app("board.py", Deployment.STANDALONE, env=no_time)
    connection = PageSockets.to_app()
    one, two = tab(app, room=room), tab(app, room=room, prepare=connection.prepare)
    for tab_ in (one, two):
        tab_.allow(*BROKEN_SOCKET, r"_stcore", r"ERR_", r"backMessage when disconnected")
        tab_.eventually_shows("status", "connected")
    d.set_number(two, "b", 1)
    one.eventually_shows("b", 1)
    app.server.stop(signal.SIGKILL)
    two.eventually_shows("status", "offline", deadline_s=30)
    d.set_number(two, "a", 2)
    d.click(two, "count")
    two.eventually_shows("count", 1)
    connection.block()
    app.server.start()
    one.eventually_shows("status", "connected", deadline_s=30)
    one.eventually_shows("count", 1)  # from the tab, without a session
    d.set_number(one, "c", 3)
    connection.is_blocked = False
    for tab_ in (one, two):
        tab_.eventually_shows("c", 3, deadline_s=60)
        tab_.eventually_shows("a", 2, deadline_s=60)
        tab_.eventually_shows("count", 1, deadline_s=60)
        tab_.eventually_shows("b", 1)
    assert two.state()["first"]["b"] == 1, "the session has not expired"


def test_R7_frames_of_an_idle_large_room_are_small(shared_app: StartApp, tab: OpenTab, room: str) -> None:
    app = shared_app("large.py", Deployment.EMBEDDED)
    one = tab(app, room=room)
    d.click(one, "fill")
    one.eventually_shows("keys", 2000)
    late = tab(app, room=room)
    late.eventually_shows("keys", 2000)
    late.wait_idle()
    before = int(late.state()["frame_bytes"])
    for count in range(1, 4):
        d.click(late, "touch")
        late.eventually_shows("touched", count)
    assert late.state()["frame_bytes"] < 1_000 <= before or late.state()["frame_bytes"] < 1_000
