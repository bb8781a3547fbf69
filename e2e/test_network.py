"""Servers that stop, tabs that lose the network, ports that cannot be reached: nothing is lost."""

from __future__ import annotations

import signal

import pytest
from playwright.sync_api import Page, WebSocketRoute

from e2e import drivers as d
from e2e.conftest import OpenTab, StartApp
from e2e.harness import Way
from e2e.polling import eventually

BROKEN_SOCKET = (
    r"WebSocket connection to",
    r"ERR_CONNECTION_REFUSED",
    r"ERR_INTERNET_DISCONNECTED",
    r"Error in reaching server endpoint",
    r"server is not responding",
)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_a_room_server_that_restarts_loses_nothing(
    start_app: StartApp, tab: OpenTab, room: str, how: signal.Signals
) -> None:
    app = start_app("board.py", Way.STANDALONE)
    one, two = tab(app, room=room), tab(app, room=room)
    for tab_ in (one, two):
        tab_.allow(*BROKEN_SOCKET)
        tab_.eventually_shows("status", "connected")
    d.set_number(one, "a", 1)
    two.eventually_shows("a", 1)
    app.server.stop(how)
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


def test_a_room_server_that_is_down_does_not_block_the_app(
    start_app: StartApp, tab: OpenTab, room: str
) -> None:
    app = start_app("board.py", Way.STANDALONE)
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


def test_an_app_that_restarts_gets_its_room_back_from_the_open_tabs(
    start_app: StartApp, tab: OpenTab, room: str
) -> None:
    app = start_app("board.py", Way.EMBEDDED)
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


def test_where_the_rooms_port_cannot_be_reached_the_session_is_polled(
    shared_app: StartApp, tab: OpenTab, room: str
) -> None:
    app = shared_app("board.py", Way.EMBEDDED)

    refused: list[str] = []

    def refuse(socket: WebSocketRoute) -> None:
        refused.append(socket.url)
        socket.close()

    def cut_off_the_rooms_port(page: Page) -> None:
        page.route_web_socket(lambda url: app.room_socket in url, refuse)

    one, cut_off = tab(app, room=room), tab(app, room=room, prepare=cut_off_the_rooms_port)
    cut_off.allow(*BROKEN_SOCKET)
    d.set_number(one, "a", 4)
    cut_off.eventually_shows("a", 4, deadline_s=20)
    d.set_number(cut_off, "b", 6)
    one.eventually_shows("b", 6, deadline_s=20)
    assert refused


def test_a_tab_that_loses_the_network_keeps_its_values_and_catches_up(
    shared_app: StartApp, tab: OpenTab, room: str
) -> None:
    app = shared_app("board.py", Way.EMBEDDED)
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
    eventually(lambda: d.shown_text(two, "a") == "5", why="the box shows it too")


def test_R7_an_idle_room_carries_few_bytes_however_large_it_is(
    shared_app: StartApp, tab: OpenTab, room: str
) -> None:
    app = shared_app("large.py", Way.EMBEDDED)
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
