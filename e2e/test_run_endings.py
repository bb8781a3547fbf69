"""However a run ends, what it assigned inside of the block is in both tabs, and nothing that is out of date."""

from __future__ import annotations

import pytest

from e2e import drivers as d
from e2e.conftest import OpenTab, StartApp
from e2e.harness import Way
from e2e.polling import eventually, settles_on


@pytest.mark.floor
def test_what_a_run_assigned_is_pushed_though_it_stops_or_begins_again_or_fails(
    shared_app: StartApp, tab: OpenTab, room: str
) -> None:
    app = shared_app("endings.py", Way.EMBEDDED)
    one, two = tab(app, room=room), tab(app, room=room)
    for how in ("stop", "rerun", "error"):
        d.click(one, how)
        for tab_ in (one, two):
            for key, value in (("how", how), ("before", how), ("after", None)):
                tab_.eventually_shows(key, value)
    d.set_number(two, "n", 6)
    for tab_ in (one, two):
        tab_.eventually_shows("n", 6)
    d.click(two, "fragment")
    for tab_ in (one, two):
        tab_.eventually_shows("part", "second", in_state="part")
        settles_on(lambda tab_=tab_: d.shown_text(tab_, "n"), "6")  # type: ignore[misc]
        assert not tab_.exceptions()


@pytest.mark.floor
def test_what_a_run_assigned_before_another_took_its_place_is_pushed_and_nothing_that_came_later(
    shared_app: StartApp, tab: OpenTab, room: str
) -> None:
    app = shared_app("endings.py", Way.EMBEDDED)
    one, two = tab(app, room=room), tab(app, room=room)
    d.click(one, "slow")
    eventually(lambda: one.page.get_by_test_id("stMarkdown").last.inner_text().isdigit(), why="it is at work")
    d.set_text(two, "note", "meanwhile")
    two.eventually_shows("note", "meanwhile")
    d.click(one, "quick")
    for tab_ in (one, two):
        tab_.eventually_shows("pace", "quick")
        tab_.eventually_shows("note", "meanwhile")
    step = one.state()["step"]
    assert 0 < step < 399
    two.eventually_shows("step", step)
    for tab_ in (one, two):
        assert tab_.state()["seen"] in (["slow", "quick"], ["quick"], ["slow"])
        assert tab_.state()["step"] == step
