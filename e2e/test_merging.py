"""Two people in one value at the same time: what both did is there, in both tabs."""

from __future__ import annotations

import functools

import pytest
from playwright.sync_api import Locator

from e2e import drivers as d
from e2e.conftest import OpenTab, StartApp
from e2e.harness import TWO_WAYS, RunningApp, Way
from e2e.polling import eventually, settles_on
from e2e.tab import Tab

ROUNDS = [20, pytest.param(200, marks=pytest.mark.soak)]


@pytest.fixture(params=TWO_WAYS, ids=str)
def app(request: pytest.FixtureRequest, shared_app: StartApp) -> RunningApp:
    return shared_app("merging.py", request.param)


@pytest.fixture
def embedded(shared_app: StartApp) -> RunningApp:
    return shared_app("merging.py", Way.EMBEDDED)


def area(tab: Tab) -> Locator:
    return tab.page.get_by_label("Notes")


def press(tab: Tab, button: str) -> None:
    tab.page.get_by_role("button", name=button, exact=True).click()


def draft(tab: Tab, line: int, text: str) -> None:
    """Change one line of what the text area shows, without committing it. Streamlit first draws it empty."""
    settles_on(lambda: area(tab).input_value().count("\n"), 2)
    lines = area(tab).input_value().split("\n")
    lines[line] = text
    area(tab).fill("\n".join(lines))


def agree(tabs: tuple[Tab, ...], lines: dict[int, str]) -> bool:
    """Whether all scripts and all boxes show one text, in which these lines are so."""
    texts = {tab.state()["notes"] for tab in tabs} | {area(tab).input_value() for tab in tabs}
    assert len(texts) == 1, texts
    shown = texts.pop().split("\n")
    assert len(shown) == 3 and all(shown[at] == text for at, text in lines.items()), shown
    return True


@pytest.mark.parametrize("rounds", ROUNDS)
def test_lines_of_one_text_area_that_two_commit_at_the_same_moment_are_all_there(
    embedded: RunningApp, tab: OpenTab, room: str, rounds: int
) -> None:
    one, two = tab(embedded, room=room), tab(embedded, room=room)
    for number in range(rounds):
        draft(one, 0, f"one {number} 👍")
        draft(two, 2, f"three {number} é")
        area(one).press("Control+Enter")
        area(two).press("Control+Enter")
        lines = {0: f"one {number} 👍", 1: "two", 2: f"three {number} é"}
        eventually(functools.partial(agree, (one, two), lines), why=f"both lines are in both tabs ({number})")


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
"""Right after the tab has asked for what the other wrote. Streamlit's page sends a commit with the next timer, with
which a busy machine is late; here it is so late that the other's text is there before."""


@pytest.mark.floor
def test_P1_a_commit_that_the_page_wrote_over_before_it_was_sent_is_merged_all_the_same(
    app: RunningApp, tab: OpenTab, room: str
) -> None:
    one, two = tab(app, room=room), tab(app, room=room)
    draft(one, 0, "one, quickly")
    draft(two, 2, "three, and lost")
    area(two).evaluate(COMMIT_WITH_THE_NEXT_FRAME)
    area(one).press("Control+Enter")
    lines = {0: "one, quickly", 1: "two", 2: "three, and lost"}
    eventually(lambda: agree((one, two), lines), why="both lines are in both tabs")


@pytest.mark.floor
def test_a_draft_that_is_older_than_what_others_wrote_merges_with_it(
    app: RunningApp, tab: OpenTab, room: str
) -> None:
    slow, quick = tab(app, room=room), tab(app, room=room)
    draft(slow, 2, "three, long thought about")
    rounds = 20 if app.way is Way.EMBEDDED else 3  # more than the session remembers texts
    for number in range(rounds):
        draft(quick, 0, f"quickly {number}")
        area(quick).press("Control+Enter")
        settles_on(lambda: slow.state()["notes"], f"quickly {number}\ntwo\nthree")
    slow.page.wait_for_timeout(1_000)  # what was written into the widget has been confirmed by then
    area(slow).press("Control+Enter")
    lines = {0: f"quickly {rounds - 1}", 1: "two", 2: "three, long thought about"}
    eventually(lambda: agree((slow, quick), lines), why="the draft has not undone what the other wrote")


def test_what_others_wrote_can_be_deleted_by_somebody_who_saw_it(
    embedded: RunningApp, tab: OpenTab, room: str
) -> None:
    one, two = tab(embedded, room=room), tab(embedded, room=room)
    draft(one, 1, "two, and a mistake")
    area(one).press("Control+Enter")
    settles_on(lambda: area(two).input_value(), "one\ntwo, and a mistake\nthree")
    draft(two, 1, "two")
    area(two).press("Control+Enter")
    eventually(lambda: agree((one, two), {0: "one", 1: "two", 2: "three"}), why="the mistake is gone")


@pytest.mark.floor
def test_additions_to_a_counter_a_list_and_a_dict_at_the_same_moment_all_count(
    app: RunningApp, tab: OpenTab, room: str
) -> None:
    tabs = [tab(app, room=room, path=f"/?name={name}") for name in ("Ada", "Bob")]
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


@pytest.mark.floor
def test_what_two_select_at_the_same_moment_is_selected_in_both_tabs(
    app: RunningApp, tab: OpenTab, room: str
) -> None:
    one, two = tab(app, room=room), tab(app, room=room)
    for tab_, drink, size in ((one, "milk", "L"), (two, "tea", "S")):
        tab_.page.get_by_role("button", name=size, exact=True).click()
        tab_.page.locator(".st-key-drinks input").click()
        tab_.page.get_by_role("option", name=drink).click()
    for tab_ in (one, two):
        tab_.eventually_shows("sizes", ["S", "L"])
        tab_.eventually_shows("drinks", ["tea", "milk"])


@pytest.mark.floor
def test_what_a_thread_writes_after_its_run_has_ended_arrives(
    app: RunningApp, tab: OpenTab, room: str
) -> None:
    one, two = tab(app, room=room), tab(app, room=room)
    press(one, "later")
    two.eventually_shows("log", ["from a thread"])


def test_undo_takes_back_ones_own_edits_and_leaves_the_others(
    embedded: RunningApp, tab: OpenTab, room: str
) -> None:
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
    eventually(lambda: agree((one, two), {0: "one", 1: "two", 2: "yours"}), why="only their own line is back")
    press(one, "redo")
    eventually(lambda: agree((one, two), {0: "mine", 1: "two", 2: "yours"}), why="it is there again")
    settles_on(lambda: two.state()["clicks"], 1)


@pytest.mark.floor
def test_each_tab_that_is_open_hears_of_each_event_once(app: RunningApp, tab: OpenTab, room: str) -> None:
    tabs = [tab(app, room=room) for _ in range(2)]
    for tab_ in tabs:
        press(tab_, "celebrate")
    for tab_ in tabs:
        tab_.eventually_shows("heard", 2)
    late = tab(app, room=room)
    press(late, "count")
    settles_on(lambda: late.state()["clicks"], 1)
    assert [tab_.state()["heard"] for tab_ in (*tabs, late)] == [2, 2, 0]


def test_P5_a_click_of_the_rooms_button_is_seen_once_while_a_peer_edits(
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


def test_what_a_script_computes_in_a_run_for_anothers_edit_does_not_stand_in_the_way_of_undo(
    shared_app: StartApp, tab: OpenTab, room: str
) -> None:
    app = shared_app("deriving.py", Way.EMBEDDED)
    ada, bob = tab(app, room=room, path="/?name=Ada"), tab(app, room=room)
    d.set_slider(ada, "Size", 1)
    for tab_ in (ada, bob):
        tab_.eventually_shows("total", 1)
    d.set_text(bob, "Notes", "abc")
    for tab_ in (ada, bob):
        tab_.eventually_shows("total", 4)
    press(ada, "undo")
    for tab_ in (ada, bob):
        tab_.eventually_shows("size", 0)
        tab_.eventually_shows("total", 3)
