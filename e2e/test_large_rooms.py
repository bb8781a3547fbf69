"""Rooms larger than one message of any hop."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from e2e import drivers as d
from e2e.conftest import OpenTab, StartApp
from e2e.harness import EDIT_PATHS, Deployment
from e2e.test_network import BROKEN_SOCKET

DEADLINE_S = 120.0


@pytest.mark.soak
@pytest.mark.parametrize("deployment", EDIT_PATHS)
def test_R3_room_of_21_mb_reaches_every_tab_and_survives_a_restart(
    start_app: StartApp, tab: OpenTab, room: str, deployment: Deployment
) -> None:
    app = start_app("tables.py", deployment, env={"STREAMLIT_CRDT_STORE": "rooms.db"})
    ada = tab(app, room=room)
    ada.eventually_shows("status", "connected")
    d.click(ada, "Add all tables")
    ben = tab(app, room=room)
    ben.eventually_shows("tables", 3, deadline_s=DEADLINE_S)
    eve = tab(app, room=room)
    eve.eventually_shows("tables", 3, deadline_s=DEADLINE_S)
    tabs = (ada, ben, eve)
    for author, name in zip(tabs, ("Ada", "Ben", "Eve"), strict=True):
        d.set_text(author, "Word", f"from {name}")
        for each in tabs:
            each.eventually_shows("word", f"from {name}", deadline_s=DEADLINE_S)
    for each in tabs:
        each.expect_outage()
        each.allow(*BROKEN_SOCKET, r"_stcore", r"backMessage when disconnected")
    app.server.restart()
    ada.reload()
    for each in tabs:
        each.eventually_shows("tables", 3, deadline_s=DEADLINE_S)
    d.set_text(ada, "Word", "after the restart")
    for each in tabs:
        each.eventually_shows("word", "after the restart", deadline_s=DEADLINE_S)


@pytest.mark.soak
def test_R3_room_of_21_mb_reaches_a_tab_that_polls(start_app: StartApp, tab: OpenTab, room: str) -> None:
    """A tab whose socket to the room is blocked exchanges the room with its session."""
    app = start_app("tables.py", Deployment.EMBEDDED)

    def block_room_port(page: Page) -> None:
        page.route_web_socket(lambda url: app.room_socket in url, lambda socket: socket.close())

    ada, ben = tab(app, room=room), tab(app, room=room, prepare=block_room_port)
    ben.allow(*BROKEN_SOCKET)
    ada.eventually_shows("status", "connected")
    d.click(ada, "Add all tables")
    ben.eventually_shows("tables", 3, deadline_s=DEADLINE_S)
    for author, reader, word in ((ada, ben, "from Ada"), (ben, ada, "from Ben")):
        d.set_text(author, "Word", word)
        reader.eventually_shows("word", word, deadline_s=DEADLINE_S)
    with_all = tab(app, room=room)
    with_all.eventually_shows("tables", 3, deadline_s=DEADLINE_S)
