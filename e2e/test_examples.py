"""The examples, as somebody would run them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from e2e.conftest import EXAMPLES, OpenTab, StartApp
from e2e.harness import ROOMS_ENV, Way
from e2e.polling import eventually
from e2e.tab import Tab

PEOPLE = 5
MESSAGES = 4


def said(tab: Tab) -> list[str]:
    """Return the texts of the messages, as they stand in the page."""
    return tab.page.locator("[data-testid='stChatMessage'] [data-testid='stText']").all_inner_texts()


def post(tab: Tab, text: str) -> None:
    box = tab.page.get_by_test_id("stChatInputTextArea")
    box.fill(text)
    box.press("Enter")


def progress(tab: Tab) -> str:
    return tab.page.get_by_test_id("stProgress").inner_text()


def test_five_people_post_as_fast_as_they_can_and_all_read_the_same(
    shared_app: StartApp, tab: OpenTab, room: str
) -> None:
    app = shared_app("chat.py", Way.EMBEDDED)
    tabs = [tab(app, room=room) for _ in range(PEOPLE)]
    posted = []
    for number in range(MESSAGES):
        for person, page in enumerate(tabs):
            post(page, text := f"message {number} of person {person}")
            posted.append(text)
    eventually(
        lambda: all(len(said(page)) >= len(posted) for page in tabs), deadline_s=60, why="all is there"
    )
    orders = [said(page) for page in tabs]
    assert sorted(orders[0]) == sorted(posted), "none is lost, none is there twice"
    assert all(order == orders[0] for order in orders), "one order for everybody"
    for person in range(PEOPLE):
        own = [text for text in orders[0] if text.endswith(f"person {person}")]
        assert own == [text for text in posted if text.endswith(f"person {person}")]


@pytest.mark.parametrize("way", [Way.MOUNTED, Way.STANDALONE])
def test_a_dashboard_moves_by_itself_while_a_job_runs(
    shared_app: StartApp, tab: OpenTab, room: str, way: Way
) -> None:
    app = shared_app("progress.py", way)
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

    eventually(is_done, deadline_s=60, why="the dashboard shows the job's end")
    assert len(seen) > 3, f"it moved in steps: {seen}"
    eventually(lambda: page.sees("Finished: "))
    told, _ = job.communicate(timeout=15)
    assert (told, job.returncode) == ("imported 20 files\n", 0)
    assert not page.exceptions()
