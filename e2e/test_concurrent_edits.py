"""Concurrent edits in two and three tabs: no edit is lost, and all tabs converge."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import pytest

from e2e.conftest import OpenTab, StartApp
from e2e.harness import EDIT_PATHS, Deployment, RunningApp
from e2e.polling import eventually, settles_on
from e2e.tab import Tab

ROUNDS = [10, pytest.param(400, marks=pytest.mark.soak)]
"""The first value finds an error that occurs in one of five rounds; `make soak` also one of a hundred."""

# A page collects all events until its next timer without delay into one message. A busy machine delays that timer.
SLOW_TIMERS = """() => {
    const soon = window.setTimeout;
    window.setTimeout = (call, delay, ...rest) => soon(call, delay || 200, ...rest);
}"""


def type_number(tab: Tab, key: str, value: int) -> None:
    box = tab.page.locator(f".st-key-{key} input")
    box.fill(str(value))
    box.press("Enter")


def shows(tab: Tab, **values: object) -> None:
    for key, value in values.items():
        tab.eventually_shows(key, value)


def converged_on(tabs: Sequence[Tab], key: str, at_least: int) -> bool:
    numbers = {tab.state()[key] for tab in tabs}
    return len(numbers) == 1 and min(numbers) >= at_least


@pytest.fixture(params=EDIT_PATHS, ids=str)
def board(request: pytest.FixtureRequest, shared_app: StartApp) -> RunningApp:
    return shared_app("board.py", request.param)


@pytest.fixture
def embedded_board(shared_app: StartApp) -> RunningApp:
    return shared_app("board.py", Deployment.EMBEDDED)


@pytest.mark.floor
def test_edit_in_one_tab_of_a_mounted_app_updates_the_widget_in_the_other(
    shared_app: StartApp, tab: OpenTab, room: str
) -> None:
    board = shared_app("board.py", Deployment.MOUNTED)
    one, two = tab(board, room=room), tab(board, room=room)
    type_number(one, "a", 7)
    shows(two, a=7)
    settles_on(lambda: boxes(two), ["7", "0"])
    two.page.get_by_label("unkeyed").fill("9")
    two.page.get_by_label("unkeyed").press("Enter")
    shows(one, unkeyed=9, a=7)
    settles_on(lambda: one.page.get_by_label("unkeyed").input_value(), "9")


@pytest.mark.parametrize("rounds", ROUNDS)
def test_concurrent_edits_of_different_widgets_all_survive(
    board: RunningApp, tab: OpenTab, room: str, rounds: int
) -> None:
    one, two = tab(board, room=room), tab(board, room=room)
    for number in range(1, 1 + (rounds if board.deployment is Deployment.EMBEDDED else rounds // 2)):
        type_number(one, "a", number)
        type_number(two, "b", number)
        for tab_ in (one, two):
            shows(tab_, a=number, b=number)
            settles_on(functools.partial(boxes, tab_), [str(number)] * 2)


def test_remote_edit_at_the_end_of_a_run_drops_no_output(
    shared_app: StartApp, tab: OpenTab, room: str
) -> None:
    busy = shared_app("late_loop.py", Deployment.EMBEDDED)
    one, two = tab(busy, room=room), tab(busy, room=room)
    for number in range(1, 11):
        box = one.page.get_by_label("note")
        box.fill(str(number))
        box.press("Enter")
        type_number(two, "b", number)
        for tab_ in (one, two):
            shows(tab_, b=number)
        shows(two, note=number)


def boxes(tab: Tab) -> list[str]:
    return [tab.page.locator(f".st-key-{key} input").input_value() for key in "ab"]


def test_three_tabs_editing_one_widget_converge(embedded_board: RunningApp, tab: OpenTab, room: str) -> None:
    tabs = [tab(embedded_board, room=room) for _ in range(3)]
    boxes = [tab_.page.locator(".st-key-title input") for tab_ in tabs]

    def converged(round_: int) -> bool:
        shown = {tab_.state()["title"] for tab_ in tabs} | {box.input_value() for box in boxes}
        return len(shown) == 1 and shown.pop().startswith(f"{round_}:")

    for number in range(1, 11):
        for index, box in enumerate(boxes):
            box.fill(f"{number}:{index}")
            box.press("Enter")
        eventually(functools.partial(converged, number), why="all scripts and all boxes show the same text")


@pytest.mark.parametrize("rounds", ROUNDS)
def test_P5_all_clicks_run_during_continuous_remote_edits(
    embedded_board: RunningApp, tab: OpenTab, room: str, rounds: int
) -> None:
    clicker, editor = tab(embedded_board, room=room), tab(embedded_board, room=room)
    button = clicker.page.get_by_role("button", name="click", exact=True)
    for number in range(1, rounds + 1):
        button.click()
        for step in range(2):
            type_number(editor, "a", 10 * number + step)
            clicker.page.wait_for_timeout(120)
    clicker.eventually_shows("handled", rounds)
    shows(clicker, a=10 * rounds + 1)
    shows(editor, a=10 * rounds + 1)


def test_P5_events_sent_together_with_a_frame_reach_the_script(
    embedded_board: RunningApp, tab: OpenTab, room: str
) -> None:
    busy, editor = tab(embedded_board, room=room), tab(embedded_board, room=room)
    busy.page.evaluate(SLOW_TIMERS)
    for number in range(1, 11):
        type_number(editor, "a", number)
        busy.page.get_by_role("button", name="click", exact=True).click()
        shows(busy, handled=number)
        type_number(editor, "a", 100 + number)
        type_number(busy, "b", number)
        shows(busy, a=100 + number, b=number)
        shows(editor, b=number)


def test_P5_draft_keeps_text_and_focus_during_a_remote_commit(
    embedded_board: RunningApp, tab: OpenTab, room: str
) -> None:
    writer, peer = tab(embedded_board, room=room), tab(embedded_board, room=room)
    area = writer.page.locator(".st-key-notes textarea")
    area.click()
    area.press_sequentially("my draft")
    type_number(peer, "a", 3)
    shows(writer, a=3)
    assert area.input_value() == "my draft"
    other = peer.page.locator(".st-key-notes textarea")
    other.fill("their text")
    other.press("Control+Enter")
    shows(writer, notes="their text")
    assert area.input_value() == "my draft"
    assert area.evaluate("element => element === document.activeElement")
    area.press_sequentially(" goes on")
    area.press("Control+Enter")
    merged = "my draft goes ontheir text"  # both were inserted at the start of an empty text
    shows(writer, notes=merged, a=3)
    shows(peer, notes=merged, a=3)


@pytest.mark.floor
def test_P4_edits_during_a_run_cause_one_further_run(
    embedded_board: RunningApp, tab: OpenTab, room: str
) -> None:
    slow = tab(embedded_board.url + f"/?hold={room}&room={room}")
    quick = tab(embedded_board.url + f"/?release={room}&room={room}")
    runs = slow.state()["runs"]
    slow.page.get_by_role("button", name="click", exact=True).click()
    slow.page.locator('[data-testid="stApp"][data-test-script-state="running"]').wait_for(state="attached")
    for number in range(1, 9):
        type_number(quick, "a", number)
        quick.eventually_shows("a", number)
    quick.page.get_by_role("button", name="release", exact=True).click()
    shows(slow, a=8)
    slow.wait_idle()
    assert slow.state()["runs"] - runs <= 3, (
        "one run for the click, one for the edits, and one if the last edit arrived late"
    )


def test_reload_during_editing_loses_nothing_and_shows_no_default(
    board: RunningApp, tab: OpenTab, room: str
) -> None:
    one, two = tab(board, room=room), tab(board, room=room)
    for number in range(1, 3):
        type_number(one, "a", number)
        one.eventually_shows("a", number)
        type_number(two, "b", number)
        one.reload()
        shows(one, a=number, b=number)
        shows(two, a=number, b=number)
    assert one.state()["first"]["a"] == 2, "the first run shows the value of the room, and not the default"
