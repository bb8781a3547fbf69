"""Rooms larger than one message of any hop."""

from __future__ import annotations

import pytest

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
    d.set_text(ada, "Word", "from Ada")
    ben.eventually_shows("word", "from Ada", deadline_s=DEADLINE_S)
    d.set_text(ben, "Word", "from Ben")
    ada.eventually_shows("word", "from Ben", deadline_s=DEADLINE_S)
    for each in (ada, ben):
        each.expect_outage()
        each.allow(*BROKEN_SOCKET, r"_stcore", r"backMessage when disconnected")
    app.server.restart()
    ada.reload()
    for each in (ada, ben):
        each.eventually_shows("tables", 3, deadline_s=DEADLINE_S)
    d.set_text(ada, "Word", "after the restart")
    ben.eventually_shows("word", "after the restart", deadline_s=DEADLINE_S)
