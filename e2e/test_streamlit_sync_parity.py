"""Features of streamlit-sync, implemented or planned there, in two tabs. Other files test most of them:

the example of its README (`test_examples`); choosing, leaving and deleting rooms, and participant counts
(`test_rooms`); private and shared keys (`test_privacy`); forms (`test_forms`); snapshots and files (`test_snapshots`);
viewers and authorization (`test_durability_and_roles`); types of values, and deletions (`test_values`); pages,
fragments and run endings (`test_pages`, `test_fragments`, `test_run_endings`).
"""

from __future__ import annotations

import signal

import pytest

from e2e import drivers as d
from e2e.conftest import OpenTab, StartApp
from e2e.harness import Deployment
from e2e.polling import eventually, settles_on
from e2e.tab import Tab

OUTAGE = (r"_stcore", r"ERR_", r"backMessage when disconnected")


def test_room_without_a_name_is_the_default_room(shared_app: StartApp, tab: OpenTab) -> None:
    app = shared_app("default_room.py", Deployment.EMBEDDED)
    one, two = tab(app), tab(app)
    d.set_slider(one, "Select a value", 3)
    for tab_ in (one, two):
        tab_.eventually_shows("y", 3)
    d.set_slider(two, "Select a value", 2)
    for tab_ in (one, two):
        tab_.eventually_shows("y", 5)
        settles_on(lambda tab_=tab_: d.shown_slider(tab_, "Select a value"), ["5"])  # type: ignore[misc]


def test_P6_concurrent_clicks_are_counted_exactly(shared_app: StartApp, tab: OpenTab, room: str) -> None:
    app = shared_app("clicks.py", Deployment.EMBEDDED)
    tabs = [tab(app, room=room), tab(app, room=room)]
    clicks = [0, 0]
    for _ in range(10):
        for index, tab_ in enumerate(tabs):
            d.click(tab_, "click")
            clicks[index] += 1
            tab_.eventually_shows(
                "mine", clicks[index]
            )  # Streamlit itself loses a click that follows too soon
        for tab_ in tabs:
            tab_.page.evaluate(CLICK_AT_THE_NEXT_TENTH)
        for index, tab_ in enumerate(tabs):
            clicks[index] += 1
            tab_.eventually_shows("mine", clicks[index])
    for tab_ in tabs:
        tab_.eventually_shows("clicks", 40)
    late = tab(app, room=room)
    assert late.state()["clicks"] == 40
    d.click(late, "click")
    for tab_, mine in (*zip(tabs, clicks, strict=True), (late, 1)):
        tab_.eventually_shows("clicks", 41)
        assert tab_.state()["mine"] == mine


CLICK_AT_THE_NEXT_TENTH = """() => {
    const button = [...document.querySelectorAll("button")].find((one) => one.innerText.trim() === "click");
    setTimeout(() => button.click(), 100 - Date.now() % 100);
}"""
"""Click at the next tenth of a second, so that two pages click mostly in the same millisecond."""


@pytest.mark.soak
def test_rooms_on_disk_survive_kill_9_and_a_restart(start_app: StartApp, tab: OpenTab, room: str) -> None:
    app = start_app("clicks.py", Deployment.EMBEDDED, env={"STREAMLIT_CRDT_STORE": "rooms.db"})
    one, two = tab(app, room=room), tab(app, room=room)
    for tab_ in (one, two):
        tab_.expect_outage()
        tab_.allow(*OUTAGE)
    for clicked, tab_ in enumerate((one, two, one), start=1):
        d.click(tab_, "click")
        for other in (one, two):
            other.eventually_shows("clicks", clicked)
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
def test_P4_volatile_value_does_not_cause_endless_runs(shared_app: StartApp, tab: OpenTab, room: str) -> None:
    app = shared_app("volatile.py", Deployment.EMBEDDED)
    one, two = tab(app, room=room), tab(app, room=room)
    d.set_slider(one, "level", 3)
    for tab_ in (one, two):
        tab_.eventually_shows("level", 3)
    eventually(lambda: is_idle(one, two), deadline_s=30, why="all scripts have stopped")
    before = runs(one, two)
    d.set_slider(two, "level", 1)
    one.eventually_shows("level", 4)
    eventually(lambda: is_idle(one, two), deadline_s=30, why="all scripts have stopped after an edit")
    assert sum(runs(one, two)) - sum(before) <= 6, (
        "one run for the edit in each tab, and a few until the value is damped"
    )


def runs(*tabs: Tab) -> list[int]:
    return [tab.state()["runs"] for tab in tabs]


def is_idle(*tabs: Tab) -> bool:
    """Return True if no script runs for 3.5 s. The longest timer of a tab sends a frame again after 3 s."""
    before = runs(*tabs)
    tabs[0].page.wait_for_timeout(3_500)
    return runs(*tabs) == before
