"""Concurrent edits of one value: both edits are in both tabs."""

from __future__ import annotations

import functools

import pytest
from playwright.sync_api import Locator

from e2e import drivers as d
from e2e.conftest import OpenTab, StartApp
from e2e.harness import EDIT_PATHS, Deployment, RunningApp
from e2e.polling import eventually, settles_on
from e2e.tab import Tab

ROUNDS = [10, pytest.param(200, marks=pytest.mark.soak)]


@pytest.fixture(params=EDIT_PATHS, ids=str)
def app(request: pytest.FixtureRequest, shared_app: StartApp) -> RunningApp:
    return shared_app("merging.py", request.param)


@pytest.fixture
def embedded(shared_app: StartApp) -> RunningApp:
    return shared_app("merging.py", Deployment.EMBEDDED)


def area(tab: Tab) -> Locator:
    return tab.page.get_by_label("Notes")


def press(tab: Tab, button: str) -> None:
    tab.page.get_by_role("button", name=button, exact=True).click()


def draft(tab: Tab, line: int, text: str) -> None:
    """Change one line of the text area without committing it. Streamlit first renders the area empty."""
    settles_on(lambda: area(tab).input_value().count("\n"), 2)
    lines = area(tab).input_value().split("\n")
    lines[line] = text
    area(tab).fill("\n".join(lines))


def converged(tabs: tuple[Tab, ...], lines: dict[int, str]) -> bool:
    """Check that all scripts and text areas have one text, which contains `lines` by index. Return True."""
    texts = {tab.state()["notes"] for tab in tabs} | {area(tab).input_value() for tab in tabs}
    assert len(texts) == 1, texts
    shown = texts.pop().split("\n")
    assert len(shown) == 3 and all(shown[at] == text for at, text in lines.items()), shown
    return True


@pytest.mark.parametrize("rounds", ROUNDS)
def test_concurrent_commits_of_different_lines_are_merged(
    embedded: RunningApp, tab: OpenTab, room: str, rounds: int
) -> None:
    one, two = tab(embedded, room=room), tab(embedded, room=room)
    for number in range(rounds):
        draft(one, 0, f"one {number} 👍")
        draft(two, 2, f"three {number} é")
        area(one).press("Control+Enter")
        area(two).press("Control+Enter")
        lines = {0: f"one {number} 👍", 1: "two", 2: f"three {number} é"}
        eventually(
            functools.partial(converged, (one, two), lines), why=f"both lines are in both tabs ({number})"
        )


COMMIT_WITH_THE_NEXT_FRAME = """(field) => {
    const later = window.setTimeout, send = WebSocket.prototype.send;
    WebSocket.prototype.send = function (...data) {
        send.apply(this, data);
        if (!this.url.includes("_stcore")) return;
        WebSocket.prototype.send = send;
        queueMicrotask(() => {
            window.setTimeout = (run, delay_ms, ...rest) => later(run, delay_ms || 1500, ...rest);
            field.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", ctrlKey: true, bubbles: true }));
            later(() => { window.setTimeout = later; }, 0);
        });
    };
}"""
"""Commit right after the tab has requested the remote text.

Streamlit's page sends a commit with its next timer, which a busy machine delays. Here the delay is so long that the
remote text arrives first."""


@pytest.mark.floor
def test_P1_commit_overwritten_before_it_was_sent_is_merged(
    embedded: RunningApp, tab: OpenTab, room: str
) -> None:
    one, two = tab(embedded, room=room), tab(embedded, room=room)
    draft(one, 0, "one, quickly")
    draft(two, 2, "three, and lost")
    area(two).evaluate(COMMIT_WITH_THE_NEXT_FRAME)
    area(one).press("Control+Enter")
    lines = {0: "one, quickly", 1: "two", 2: "three, and lost"}
    eventually(lambda: converged((one, two), lines), why="both lines are in both tabs")


@pytest.mark.floor
def test_draft_older_than_remote_edits_merges_with_them(
    embedded: RunningApp, tab: OpenTab, room: str
) -> None:
    slow, quick = tab(embedded, room=room), tab(embedded, room=room)
    draft(slow, 2, "three, long thought about")
    rounds = 20  # more texts than the session keeps
    for number in range(rounds):
        draft(quick, 0, f"quickly {number}")
        area(quick).press("Control+Enter")
        settles_on(lambda: slow.state()["notes"], f"quickly {number}\ntwo\nthree")
    slow.page.wait_for_timeout(1_000)  # until then the browser has confirmed the remote write
    area(slow).press("Control+Enter")
    lines = {0: f"quickly {rounds - 1}", 1: "two", 2: "three, long thought about"}
    eventually(lambda: converged((slow, quick), lines), why="the draft has not reverted the remote edits")


def test_remote_text_can_be_deleted_after_it_was_shown(embedded: RunningApp, tab: OpenTab, room: str) -> None:
    one, two = tab(embedded, room=room), tab(embedded, room=room)
    draft(one, 1, "two, and a mistake")
    area(one).press("Control+Enter")
    settles_on(lambda: area(two).input_value(), "one\ntwo, and a mistake\nthree")
    draft(two, 1, "two")
    area(two).press("Control+Enter")
    eventually(lambda: converged((one, two), {0: "one", 1: "two", 2: "three"}), why="the mistake is gone")


def test_concurrent_additions_to_counter_list_and_dict_are_kept(
    embedded: RunningApp, tab: OpenTab, room: str
) -> None:
    tabs = [tab(embedded, room=room, path=f"/?name={name}") for name in ("Ada", "Bob")]
    for number in range(1, 6):
        for tab_ in tabs:
            press(tab_, "count")
        for tab_ in tabs:
            tab_.eventually_shows("clicks", 2 * number)
    for tab_ in tabs:
        press(tab_, "sign")
    for tab_ in tabs:
        tab_.eventually_shows("plan", {"done": False, "hours": {"Ada": 3, "Bob": 3}})
        settles_on(lambda: sorted(tabs[0].state()["log"]), ["Ada", "Bob"])
    settles_on(lambda: tabs[0].state()["log"] == tabs[1].state()["log"], True)


def test_concurrent_selections_are_merged(embedded: RunningApp, tab: OpenTab, room: str) -> None:
    one, two = tab(embedded, room=room), tab(embedded, room=room)
    for tab_, drink, size in ((one, "milk", "L"), (two, "tea", "S")):
        tab_.page.get_by_role("button", name=size, exact=True).click()
        tab_.page.locator(".st-key-drinks input").click()
        tab_.page.get_by_role("option", name=drink).click()
    for tab_ in (one, two):
        tab_.eventually_shows("sizes", ["S", "L"])
        tab_.eventually_shows("drinks", ["tea", "milk"])


def test_write_of_a_thread_after_its_run_is_shared(app: RunningApp, tab: OpenTab, room: str) -> None:
    one, two = tab(app, room=room), tab(app, room=room)
    press(one, "later")
    two.eventually_shows("log", ["from a thread"])


def test_undo_reverts_only_own_edits(embedded: RunningApp, tab: OpenTab, room: str) -> None:
    one, two = tab(embedded, room=room), tab(embedded, room=room)
    draft(one, 0, "mine")
    area(one).press("Control+Enter")
    settles_on(lambda: area(two).input_value(), "mine\ntwo\nthree")
    press(one, "count")
    press(two, "count")
    draft(two, 2, "yours")
    area(two).press("Control+Enter")
    settles_on(lambda: (one.state()["notes"], one.state()["clicks"]), ("mine\ntwo\nyours", 2))
    press(one, "undo")
    settles_on(lambda: one.state()["clicks"], 1)
    press(one, "undo")
    eventually(
        lambda: converged((one, two), {0: "one", 1: "two", 2: "yours"}), why="only the own line is reverted"
    )
    press(one, "redo")
    eventually(lambda: converged((one, two), {0: "mine", 1: "two", 2: "yours"}), why="redo restores the line")
    settles_on(lambda: two.state()["clicks"], 1)


def test_each_open_tab_receives_each_event_once(app: RunningApp, tab: OpenTab, room: str) -> None:
    tabs = [tab(app, room=room) for _ in range(2)]
    for tab_ in tabs:
        press(tab_, "celebrate")
    for tab_ in tabs:
        tab_.eventually_shows("received", 2)
    late = tab(app, room=room)
    press(late, "count")
    settles_on(lambda: late.state()["clicks"], 1)
    assert [tab_.state()["received"] for tab_ in (*tabs, late)] == [2, 2, 0]


def test_P5_click_of_room_button_is_handled_once_during_edits(
    embedded: RunningApp, tab: OpenTab, room: str
) -> None:
    clicker, editor = tab(embedded, room=room), tab(embedded, room=room)
    for _ in range(20):
        press(clicker, "act")
        press(editor, "count")
        clicker.page.wait_for_timeout(100)
    clicker.eventually_shows("acts", 20)
    clicker.eventually_shows("clicks", 20)
    assert editor.state()["acts"] == 0


def test_value_computed_after_a_remote_edit_does_not_block_undo(
    shared_app: StartApp, tab: OpenTab, room: str
) -> None:
    app = shared_app("deriving.py", Deployment.EMBEDDED)
    ada, bob = tab(app, room=room, path="/?name=Ada"), tab(app, room=room)
    d.set_slider(ada, "Size", 1)
    for tab_ in (ada, bob):
        tab_.eventually_shows("total", 1)
    d.set_text(bob, "Notes", "abc")
    ada.eventually_shows("total", 4)
    assert bob.state()["total"] == 1, "a run that a remote edit caused wrote a value (R9)"
    press(ada, "undo")
    for tab_ in (ada, bob):
        tab_.eventually_shows("size", 0)
        tab_.eventually_shows("total", 3)
