"""What streamlit-sync offered, or wished for, in two tabs. Much of it is in the file that it belongs to:

its README's example, and the toy example (`test_examples`); choosing, leaving and deleting rooms, and how many are in
one (`test_rooms`); private keys, and what is shared (`test_privacy`); forms (`test_forms`); snapshots and files
(`test_snapshots`); viewers, and who may enter (`test_trust`); values of all kinds, and deletions (`test_values`);
pages, fragments, and how runs end (`test_pages`, `test_fragments`, `test_endings`). Here is the rest.
"""

from __future__ import annotations

import signal

import pytest

from e2e import drivers as d
from e2e.conftest import OpenTab, StartApp
from e2e.harness import SERVER_VARIABLE, Way
from e2e.polling import eventually, settles_on
from e2e.tab import Tab

OUTAGE = (r"_stcore", r"ERR_", r"backMessage when disconnected")


@pytest.mark.floor
def test_without_a_name_everybody_is_in_the_default_room(shared_app: StartApp, tab: OpenTab) -> None:
    app = shared_app("default_room.py", Way.EMBEDDED)
    one, two = tab(app), tab(app)
    d.set_slider(one, "Select a value", 3)
    for tab_ in (one, two):
        tab_.eventually_shows("y", 3)
    d.set_slider(two, "Select a value", 2)
    for tab_ in (one, two):
        tab_.eventually_shows("y", 5)
        settles_on(lambda tab_=tab_: d.shown_slider(tab_, "Select a value"), ["5"])  # type: ignore[misc]


@pytest.mark.floor
def test_P6_a_click_acts_in_its_own_tab_and_a_counter_of_clicks_is_exact_under_contention(
    shared_app: StartApp, tab: OpenTab, room: str
) -> None:
    app = shared_app("clicks.py", Way.EMBEDDED)
    tabs = [tab(app, room=room), tab(app, room=room)]
    clicks = [0, 0]
    for _ in range(10):
        for place, tab_ in enumerate(tabs):
            d.click(tab_, "click")
            clicks[place] += 1
            tab_.eventually_shows("mine", clicks[place])  # a click that follows too soon is lost in Streamlit
        for tab_ in tabs:
            tab_.page.evaluate(CLICK_IN_A_MOMENT)
        for place, tab_ in enumerate(tabs):
            clicks[place] += 1
            tab_.eventually_shows("mine", clicks[place])
    for tab_ in tabs:
        tab_.eventually_shows("clicks", 40)
    late = tab(app, room=room)
    assert late.state()["clicks"] == 40
    d.click(late, "click")
    for tab_, mine in (*zip(tabs, clicks, strict=True), (late, 1)):
        tab_.eventually_shows("clicks", 41)
        assert tab_.state()["mine"] == mine


CLICK_IN_A_MOMENT = """() => {
    const button = [...document.querySelectorAll("button")].find((one) => one.innerText.trim() === "click");
    setTimeout(() => button.click(), 100 - Date.now() % 100);
}"""
"""In two pages that are told so one right after the other, mostly in the same millisecond."""


def test_rooms_on_disk_survive_kill_9_and_a_restart(start_app: StartApp, tab: OpenTab, room: str) -> None:
    app = start_app("clicks.py", Way.EMBEDDED, env={"STREAMLIT_CRDT_STORE": "rooms.db"})
    one, two = tab(app, room=room), tab(app, room=room)
    for tab_ in (one, two):
        tab_.expect_outage()
        tab_.allow(*OUTAGE)
    for clicked, tab_ in enumerate((one, two, one), start=1):
        d.click(tab_, "click")
        for seen_in in (one, two):
            seen_in.eventually_shows("clicks", clicked)
    d.set_text(two, "note", "kept")
    one.eventually_shows("note", "kept")
    app.app.restart(signal.SIGKILL)
    fresh = tab(app, room=room)
    for tab_ in (fresh, one, two):
        tab_.eventually_shows("clicks", 3, deadline_s=40)
        tab_.eventually_shows("note", "kept")
        settles_on(lambda tab_=tab_: d.shown_text(tab_, "note"), "kept")  # type: ignore[misc]
    d.click(fresh, "click")
    for tab_ in (fresh, one, two):
        tab_.eventually_shows("clicks", 4, deadline_s=40)


@pytest.mark.floor
def test_P4_a_volatile_value_does_not_make_sessions_run_for_ever(
    shared_app: StartApp, tab: OpenTab, room: str
) -> None:
    app = shared_app("volatile.py", Way.EMBEDDED)
    one, two = tab(app, room=room), tab(app, room=room)
    d.set_slider(one, "level", 3)
    for tab_ in (one, two):
        tab_.eventually_shows("level", 3)
    eventually(lambda: stands_still(one, two), deadline_s=30, why="no script runs any more")
    before = runs(one, two)
    d.set_slider(two, "level", 1)
    one.eventually_shows("level", 4)
    eventually(lambda: stands_still(one, two), deadline_s=30, why="nor after an edit")
    assert sum(runs(one, two)) - sum(before) <= 6, (
        "the edit's own run, the other's, and a few until it is damped"
    )


def runs(*tabs: Tab) -> list[int]:
    return [tab.state()["runs"] for tab in tabs]


def stands_still(*tabs: Tab) -> bool:
    """Say whether nothing runs for as long as the slowest of the tabs' own waits: a frame is sent again after 3 s."""
    before = runs(*tabs)
    tabs[0].page.wait_for_timeout(3_500)
    return runs(*tabs) == before


def test_apps_with_other_namespaces_share_a_server_and_do_not_meet_in_a_room_of_one_name(
    shared_app: StartApp, start_app: StartApp, tab: OpenTab, room: str
) -> None:
    plain = shared_app("board.py", Way.STANDALONE)
    server = {SERVER_VARIABLE: plain.room_socket, "STREAMLIT_CRDT_NAMESPACE": "sales"}
    sales = start_app("board.py", Way.EMBEDDED, env=server)
    one, two, outside = tab(sales, room=room), tab(sales, room=room), tab(plain, room=room)
    for tab_ in (one, two, outside):
        tab_.eventually_shows("status", "connected")
    d.set_number(outside, "a", 3)
    d.set_number(one, "b", 4)
    two.eventually_shows("b", 4)
    outside.eventually_shows("a", 3)
    assert [(tab_.state()["a"], tab_.state()["b"]) for tab_ in (one, two, outside)] == [
        (0, 4),
        (0, 4),
        (3, 0),
    ]
