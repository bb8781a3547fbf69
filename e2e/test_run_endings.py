"""Runs that end by stop, rerun, an error or a newer run: their assignments are in both tabs."""

from __future__ import annotations

import pytest

from e2e import drivers as d
from e2e.conftest import OpenTab, StartApp
from e2e.harness import Deployment
from e2e.polling import eventually, settles_on


@pytest.mark.floor
def test_run_ended_by_stop_rerun_or_error_pushes_assignments(
    shared_app: StartApp, tab: OpenTab, room: str
) -> None:
    app = shared_app("endings.py", Deployment.EMBEDDED)
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
def test_superseded_run_pushes_only_its_earlier_assignments(
    shared_app: StartApp, tab: OpenTab, room: str
) -> None:
    app = shared_app("endings.py", Deployment.EMBEDDED)
    one, two = tab(app, room=room), tab(app, room=room)
    d.click(one, "slow")
    eventually(
        lambda: one.page.get_by_test_id("stMarkdown").last.inner_text().isdigit(),
        why="the slow run is in progress",
    )
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
