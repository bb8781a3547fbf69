"""The snapshot menu in two tabs: save, restore, undo, download and load."""

from __future__ import annotations

import functools
import json
import signal
from pathlib import Path

import pytest
from playwright.sync_api import expect

from e2e import drivers as d
from e2e.conftest import OpenTab, StartApp
from e2e.harness import Deployment
from e2e.polling import eventually, settles_on
from e2e.snapshots import button, close_menu, listed, menu, open_menu, press, save, upload


def test_snapshot_is_restored_in_another_tab_and_undone(
    shared_app: StartApp, tab: OpenTab, room: str
) -> None:
    app = shared_app("snapshots.py", Deployment.STANDALONE)
    ada, bob = tab(f"{app.url}/?room={room}&user=Ada"), tab(f"{app.url}/?room={room}&user=Bob")
    open_menu(bob)
    expect(menu(bob).get_by_text("No snapshots yet.")).to_be_visible()
    name = menu(bob).get_by_label("Save as")
    name.press_sequentially("half a na")
    d.click(ada, "plain")
    ada.eventually_shows(
        "plain", "(1, 2.0, True)"
    )  # Streamlit drops a click whose run the next edit supersedes
    d.set_number(ada, "a", 3)
    d.set_text_area(ada, "notes", "one two three")
    open_menu(ada)
    save(ada, "v1")
    settles_on(lambda: listed(bob), ["v1"])
    expect(menu(bob).get_by_text("Ada ·")).to_be_visible()
    expect(name).to_have_value("half a na")  # P5: the draft and the open menu stay
    expect(name).to_be_focused()
    close_menu(ada)
    d.set_number(ada, "a", 5)
    d.choose_also(ada, "days", "Mon")
    d.set_text_area(ada, "notes", "one 2 three")
    bob.eventually_shows("notes", "one 2 three")
    bob.eventually_shows("days", ["Mon"])
    expect(name).to_have_value("half a na")
    d.type_draft(ada, "notes", " four")
    press(bob, "Restore", "v1")
    for tab_ in (ada, bob):
        tab_.eventually_shows("a", 3)
        tab_.eventually_shows("days", [])
        tab_.eventually_shows("plain", "(1, 2.0, True)")
    assert d.shown_text(ada, "notes") == "one 2 three four"
    d.commit_draft(ada, "notes")
    for tab_ in (ada, bob):
        tab_.eventually_shows("notes", "one two three four")
    close_menu(bob)
    d.click(bob, "Undo")
    for tab_ in (ada, bob):
        tab_.eventually_shows("notes", "one 2 three four")
        tab_.eventually_shows("a", 5)
        tab_.eventually_shows("days", ["Mon"])
    open_menu(ada)
    press(ada, "delete", "v1")
    open_menu(bob)
    for tab_ in (ada, bob):
        settles_on(functools.partial(listed, tab_), list[str]())


def test_room_is_downloaded_and_loaded_into_another_room(
    shared_app: StartApp, tab: OpenTab, room: str
) -> None:
    app = shared_app("snapshots.py")
    ada = tab(app, room=room)
    bob, eve = tab(app, room=f"{room}-2"), tab(f"{app.url}/?room={room}-2&role=viewer&menu=sidebar")
    d.set_number(ada, "a", 4)
    d.set_text_area(ada, "notes", "hello 👍")
    ada.eventually_shows("notes", "hello 👍")
    open_menu(ada)
    save(ada, "v1")
    with ada.page.expect_download() as download:
        menu(ada).get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == f"{room}.json"
    content = Path(download.value.path()).read_text(encoding="utf-8")
    assert json.loads(content)["state"] == {"a": 4, "notes": {"$rule": "text", "value": "hello 👍"}}
    open_menu(bob)
    upload(bob, "broken.json", content[:-10])
    expect(menu(bob).get_by_text("nothing was changed")).to_be_visible()
    upload(bob, f"{room}.json", content)
    expect(menu(bob).get_by_text(f"Loaded {room}.json")).to_be_visible()
    for tab_ in (bob, eve):
        tab_.eventually_shows("a", 4)
        tab_.eventually_shows("notes", "hello 👍")
    settles_on(lambda: listed(bob), ["v1"])
    d.set_number(bob, "a", 9)  # a later run does not load the file again
    for tab_ in (bob, eve):
        tab_.eventually_shows("a", 9)
    assert bob.exceptions() == []
    open_menu(eve)
    assert listed(eve) == ["v1"]
    expect(menu(eve).get_by_text("View only: saving")).to_be_visible()
    expect(menu(eve).get_by_label("Save as")).to_have_count(0)
    for action in ("Restore", "delete"):
        expect(button(eve, action, "v1")).to_be_disabled()
    expect(menu(eve).locator("input[type=file]")).to_be_disabled()
    expect(menu(eve).get_by_role("button", name="Download")).to_be_enabled()


@pytest.mark.soak
def test_S5_snapshot_survives_a_kill(start_app: StartApp, tab: OpenTab, room: str) -> None:
    app = start_app("snapshots.py", env={"STREAMLIT_CRDT_STORE": "rooms.db"})
    one = tab(app, room=room)
    d.set_number(one, "a", 7)
    one.eventually_shows("a", 7)
    open_menu(one)
    save(one, "before the crash")
    close_menu(one)
    d.set_number(one, "a", 8)
    one.eventually_shows("a", 8)
    d.click(one, "Flush")
    one.eventually_shows("flushed", True)
    one.page.close()
    app.app.stop(signal.SIGKILL)
    app.start()
    two = tab(app, room=room)
    two.eventually_shows("a", 8)
    open_menu(two)
    eventually(lambda: listed(two) == ["before the crash"], why="the snapshot is listed")
    press(two, "Restore", "before the crash")
    two.eventually_shows("a", 7)
