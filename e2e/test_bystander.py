"""A tab that only looks on adds nothing to what another tab does (R9)."""

from __future__ import annotations

import pytest

from e2e.conftest import OpenTab, StartApp
from e2e.harness import EDIT_PATHS, Deployment
from e2e.tab import Tab


def tick(tab: Tab, task: str) -> None:
    tab.page.get_by_text(task, exact=True).click()


@pytest.mark.parametrize("deployment", EDIT_PATHS, ids=str)
def test_R9_list_computed_from_widgets_stands_once(
    shared_app: StartApp, tab: OpenTab, room: str, deployment: Deployment
) -> None:
    app = shared_app("bystander.py", deployment)
    one, two = tab(app, room=room), tab(app, room=room)
    done: list[str] = []
    todos = ["milk-", "bread-", "eggs-"]
    for number, task in enumerate(("milk", "bread")):
        tick(one, task)
        done.append(task)
        todos[number] = f"{task}+"
        for each in (one, two):
            each.eventually_shows("done", done)
            each.eventually_shows("todos", todos)
    fresh = tab(app, room=room)
    for each in (one, two, fresh):
        each.eventually_shows("todos", todos)
        each.eventually_shows("done", done)
