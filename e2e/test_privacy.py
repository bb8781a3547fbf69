"""Private keys, selected keys, and a tab with an outdated frontend."""

from __future__ import annotations

import json

from playwright.sync_api import Route

from e2e import drivers as d
from e2e.conftest import OpenTab, StartApp
from e2e.harness import Deployment, RunningApp
from e2e.polling import eventually
from e2e.wire import Wire
from streamlit_crdt.transport.frontend_build import frontend_build_id

SECRET = "confidential"


def test_P8_private_key_reaches_neither_the_wire_nor_the_disk(
    start_app: StartApp, tab: OpenTab, room: str
) -> None:
    app = start_app("private.py", Deployment.EMBEDDED, env={"STREAMLIT_CRDT_STORE": "rooms.db"})
    own, peers = Wire(), Wire()
    one, two = tab(app, room=room, prepare=own.record), tab(app, room=room, prepare=peers.record)
    for label in ("mine", "globbed", "exactly", "password"):
        d.set_text(one, label, f"{SECRET}-{label}")
        one.eventually_shows(label, f"{SECRET}-{label}")
    d.click(one, "assign")
    for label in ("mine too", "not exactly", "open"):
        d.set_text(one, label, "shared-value")
        for tab_ in (one, two):
            tab_.eventually_shows(label, "shared-value")
    shared = dict.fromkeys(("plain", "private:plain", "my crdt-private:plain"), "shared-value")
    for key in shared:
        two.eventually_shows(key, "shared-value")
    for hidden in ("mine", "globbed", "exactly", "password"):
        assert two.state()[hidden] == ""
    assert (two.state()["crdt-private:plain"], two.state()["secret_plain"]) == (None, None)
    eventually(lambda: b"shared-value" in on_disk(app), why="the shared value is on disk")
    for data in (own.of_rooms(), peers.all(), on_disk(app)):
        assert b"shared-value" in data
        assert SECRET.encode() not in data


def on_disk(app: RunningApp) -> bytes:
    return b"".join(file.read_bytes() for file in app.server.folder.glob("rooms.db*"))


def test_keys_selects_shared_keys_without_private_ones(shared_app: StartApp, tab: OpenTab, room: str) -> None:
    app = shared_app("private.py", Deployment.EMBEDDED)
    path = "/?keys=open*&keys=secret*&keys=plain"
    one, two = tab(app, room=room, path=path), tab(app, room=room, path=path)
    unshared = ("mine", "mine too", "globbed", "exactly", "not exactly", "unkeyed", "password")
    for label in (*unshared, "opened"):
        d.set_text(one, label, "chosen")
    d.set_text(two, "open", "chosen")
    d.click(one, "assign")
    for tab_ in (one, two):
        for key, value in (("open", "chosen"), ("opened", "chosen"), ("plain", "shared-value")):
            tab_.eventually_shows(key, value)
    assert {label: one.state()[label] for label in unshared} == dict.fromkeys(unshared, "chosen")
    assert {label: two.state()[label] for label in unshared} == dict.fromkeys(unshared, "")
    assert (one.state()["private:plain"], two.state()["private:plain"]) == ("shared-value", None)
    assert d.shown_text(two, "unkeyed") == ""


def test_tab_with_an_old_frontend_asks_for_a_reload(shared_app: StartApp, tab: OpenTab, room: str) -> None:
    app = shared_app("private.py", Deployment.EMBEDDED)
    one, old = tab(app, room=room), tab(app, room=room)

    def serve_old(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, body=response.text().replace(frontend_build_id(), "0.0.1+old"))

    old.page.route("**/streamlit-crdt-*.js", serve_old)
    old.reload()
    notice = old.page.locator("[data-streamlit-crdt-notice]")
    notice.wait_for(state="visible")
    assert "older version" in notice.inner_text()
    d.set_text(one, "open", "still works")
    old.eventually_shows("open", "still works")
    old.page.unroute("**/streamlit-crdt-*.js")
    notice.get_by_role("button").click()
    old.wait_idle()
    old.eventually_shows("open", "still works")
    notice.wait_for(state="detached")
    assert json.dumps(old.state()) == json.dumps(one.state())
