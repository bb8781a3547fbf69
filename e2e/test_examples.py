"""The examples in two and more tabs."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from e2e import drivers
from e2e.conftest import EXAMPLES, OpenTab, StartApp
from e2e.harness import ROOMS_ENV, Deployment
from e2e.polling import eventually, settles_on
from e2e.snapshots import close_menu, open_menu, press, save
from e2e.tab import Tab

PEOPLE = 3
MESSAGES = 4


def messages(tab: Tab) -> list[str]:
    """Return the texts of the messages on the page."""
    return tab.page.locator("[data-testid='stChatMessage'] [data-testid='stText']").all_inner_texts()


def post(tab: Tab, text: str) -> None:
    box = tab.page.get_by_test_id("stChatInputTextArea")
    box.fill(text)
    box.press("Enter")


def progress(tab: Tab) -> str:
    return tab.page.get_by_test_id("stProgress").inner_text()


def test_concurrent_chat_messages_appear_in_one_order(shared_app: StartApp, tab: OpenTab, room: str) -> None:
    app = shared_app("chat.py", Deployment.EMBEDDED)
    tabs = [tab(app, room=room) for _ in range(PEOPLE)]
    posted = []
    for number in range(MESSAGES):
        for person, page in enumerate(tabs):
            post(page, text := f"message {number} of person {person}")
            posted.append(text)
    eventually(
        lambda: all(len(messages(page)) >= len(posted) for page in tabs),
        deadline_s=60,
        why="all messages are shown",
    )
    orders = [messages(page) for page in tabs]
    assert sorted(orders[0]) == sorted(posted), "a message is lost or repeated"
    assert all(order == orders[0] for order in orders), "the order differs between tabs"
    for person in range(PEOPLE):
        own = [text for text in orders[0] if text.endswith(f"person {person}")]
        assert own == [text for text in posted if text.endswith(f"person {person}")]


def test_dashboard_updates_while_a_job_runs(shared_app: StartApp, tab: OpenTab, room: str) -> None:
    app = shared_app("progress.py", Deployment.STANDALONE)
    page = tab(app, room=room)
    assert progress(page) == "0 of 100 files"
    command = [sys.executable, str(EXAMPLES / "job.py"), "--server", app.room_socket, "--room", room]
    job = subprocess.Popen(
        [*command, "--files", "20", "--pause-s", "0.1"],
        env=os.environ | ROOMS_ENV,
        stdout=subprocess.PIPE,
        text=True,
    )
    seen = set()

    def is_done() -> bool:
        seen.add(progress(page))
        return "20 of 20 files" in seen

    eventually(is_done, deadline_s=60, why="the dashboard shows the end of the job")
    assert len(seen) > 3, f"the progress was shown in steps: {seen}"
    eventually(lambda: page.sees("Finished: "))
    output, _ = job.communicate(timeout=60)
    assert (output, job.returncode) == ("imported 20 files\n", 0)
    assert not page.exceptions()


def expect_in_both(
    one: Tab, two: Tab, look: Callable[[Tab, str], object], label: str, expected: object
) -> None:
    """Wait until both tabs show the expected value."""
    for tab in (one, two):
        settles_on(functools.partial(look, tab, label), expected)


def sees(tab: Tab, text: str) -> bool:
    return tab.sees(text)


def join(tab: Tab, room: str) -> None:
    """Join a room of the list in the sidebar."""
    tab.page.get_by_test_id("stSidebar").get_by_text(room).wait_for()
    entry = tab.page.locator(".st-key-crdt-room-list [data-testid='stLayoutWrapper']").filter(has_text=room)
    entry.get_by_role("button", name="Join", exact=True).last.click()
    expect(tab.page.get_by_role("button", name="Leave")).to_be_visible()


def create(tab: Tab, room: str) -> None:
    tab.page.get_by_label("New room", exact=True).fill(room)
    drivers.click(tab, "Create")


def test_streamlit_sync_readme_example_runs_with_renamed_import(
    shared_app: StartApp, tab: OpenTab, room: str
) -> None:
    app = shared_app("readme_of_streamlit_sync.py")
    one, two = tab(app), tab(app)
    drivers.set_slider(two, "Select a value", 2)
    eventually(lambda: two.sees("2 squared is 4"), why="the app works outside of any room")
    assert drivers.shown_slider(one, "Select a value") == ["0"]
    create(one, room)
    join(two, room)
    drivers.set_slider(one, "Select a value", 12)
    expect_in_both(one, two, drivers.shown_slider, "Select a value", ["12"])
    expect_in_both(one, two, sees, "12 squared is 144", True)
    assert not one.exceptions() + two.exceptions()


def figure(tab: Tab, label: str) -> str:
    found = tab.page.get_by_test_id("stMetric").filter(has_text=label)
    return found.get_by_test_id("stMetricValue").inner_text()


def test_dashboard_shares_widgets_votes_notes_and_forms(
    shared_app: StartApp, tab: OpenTab, room: str
) -> None:
    app = shared_app("dashboard.py")
    one, two = tab(app, room=room), tab(app, room=room)

    drivers.set_slider(one, "A ticket costs (€)", 3)
    drivers.choose(two, "Where", "Town hall")
    expect_in_both(one, two, drivers.shown_slider, "A ticket costs (€)", ["15"])
    expect_in_both(one, two, drivers.shown_choice, "Where", "Town hall")
    expect_in_both(one, two, figure, "Seats", "600")
    expect_in_both(one, two, figure, "At best", "400 €")  # 200 · (15 + 1.50) - 2400 - 500

    for number in (1, 2, 3):  # a following click in the same tab supersedes a run in Streamlit itself
        drivers.click(one, "Let's do it")
        drivers.click(two, "Let's do it")
        expect_in_both(one, two, figure, "Votes so far", str(2 * number))
    drivers.click(two, "Balloons")
    expect(two.page.get_by_test_id("stBalloons")).to_be_attached()
    assert one.page.get_by_test_id("stBalloons").count() == 0, "a click acts only in its own session"

    drivers.set_text(one, "What only you see", "ask for less")
    drivers.set_text_area(two, "Notes", "Ask the neighbours.")
    settles_on(lambda: drivers.shown_text(one, "Notes"), "Ask the neighbours.")
    assert drivers.shown_text(two, "What only you see") == ""

    drivers.set_text(one, "An act to invite", "The Sparrows")  # Enter submits
    expect_in_both(one, two, sees, "The Sparrows", True)
    expect_in_both(one, two, drivers.shown_text, "An act to invite", "")
    one.page.get_by_label("Acts on stage", exact=True).fill("4")
    drivers.click(two, "Let's do it")
    settles_on(lambda: figure(one, "Votes so far"), "7")
    assert drivers.shown_text(two, "Acts on stage") == "2", "a draft is private"
    drivers.click(one, "Apply")
    expect_in_both(one, two, drivers.shown_text, "Acts on stage", "4")
    expect_in_both(one, two, figure, "At best", "300 €")  # 100 € less, for two more acts


@pytest.mark.soak
def test_dashboard_snapshot_is_saved_and_restored(shared_app: StartApp, tab: OpenTab, room: str) -> None:
    app = shared_app("dashboard.py")
    one, two = tab(app), tab(app, room=room)
    join(one, room)
    drivers.set_slider(one, "A ticket costs (€)", 3)
    settles_on(lambda: drivers.shown_slider(two, "A ticket costs (€)"), ["15"])

    open_menu(one)
    save(one, "cheap")
    close_menu(one)
    drivers.set_slider(two, "A ticket costs (€)", 20)
    settles_on(lambda: drivers.shown_slider(one, "A ticket costs (€)"), ["35"])

    open_menu(two)
    press(two, "Restore", "cheap")
    expect_in_both(one, two, drivers.shown_slider, "A ticket costs (€)", ["15"])

    drivers.click(one, "Leave")
    settles_on(lambda: drivers.shown_slider(one, "A ticket costs (€)"), ["12"])
    assert drivers.shown_slider(two, "A ticket costs (€)") == ["15"]
    join(one, room)
    settles_on(lambda: drivers.shown_slider(one, "A ticket costs (€)"), ["15"])
    assert not one.exceptions() + two.exceptions()
