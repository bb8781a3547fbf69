"""A to-do list and a board in two tabs and a bystander's: every edit counts once."""

from __future__ import annotations

import pytest

from e2e.conftest import OpenTab, StartApp
from e2e.harness import EDIT_PATHS, Deployment
from e2e.tab import Tab


def press_at_once(*presses: tuple[Tab, str]) -> None:
    for tab, button in presses:
        tab.page.get_by_role("button", name=button, exact=True).click()


@pytest.mark.parametrize("deployment", EDIT_PATHS, ids=str)
def test_todos_and_cards_that_two_tabs_change_stand_once(
    shared_app: StartApp, tab: OpenTab, room: str, deployment: Deployment
) -> None:
    app = shared_app("records.py", deployment)
    one, two, bystander = tabs = tuple(tab(app, room=room) for _ in range(3))
    for presses, key, wanted in (
        (("Tick bread", "Tick bread"), "todos", ["milk-", "bread+", "eggs-"]),
        (("Sort", "Sort"), "todos", ["bread+", "eggs-", "milk-"]),
        (("Delete milk", "Delete milk"), "todos", ["bread+", "eggs-"]),
        (("Add tea", "Add rice"), "cards", ["bread", "rice", "tea", "wine"]),
        (("Finish wine", "Begin wine"), "moved", ["wine"]),
    ):
        press_at_once((one, presses[0]), (two, presses[1]))
        for each in tabs:
            each.eventually_shows(key, wanted)
    fresh = tab(app, room=room)
    for each in (*tabs, fresh):
        each.eventually_shows("todos", ["bread+", "eggs-"])
        each.eventually_shows("cards", ["bread", "rice", "tea", "wine"])
    assert not bystander.exceptions()
