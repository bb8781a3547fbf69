"""What must not leave a tab does not, and what an upgrade leaves behind says so."""

from __future__ import annotations

import json

from playwright.sync_api import Page, Route, WebSocket

from e2e import drivers as d
from e2e.conftest import OpenTab, StartApp
from e2e.harness import Way
from streamlit_crdt.assets import build_id


def record_sockets(page: Page, wire: list[tuple[str, bytes]]) -> None:
    def listen(socket: WebSocket) -> None:
        for event in ("framesent", "framereceived"):
            socket.on(event, lambda frame: wire.append((socket.url, _raw(frame))))

    page.on("websocket", listen)


def _raw(frame: str | bytes) -> bytes:
    return frame.encode() if isinstance(frame, str) else frame


def test_P8_private_keys_never_reach_the_wire(shared_app: StartApp, tab: OpenTab, room: str) -> None:
    app = shared_app("private.py", Way.EMBEDDED)
    one, two = tab(app, room=room), tab(app, room=room)
    to_room: list[tuple[str, bytes]] = []
    to_peer: list[tuple[str, bytes]] = []
    record_sockets(one.page, to_room)
    record_sockets(two.page, to_peer)
    for tab_ in (one, two):
        tab_.reload()
    for label in ("mine", "globbed", "password"):
        d.set_text(one, label, f"confidential-{label}")
        one.eventually_shows(label, f"confidential-{label}")
    d.set_text(one, "open", "for-everybody")
    two.eventually_shows("open", "for-everybody")
    room_frames = b"".join(raw for url, raw in to_room if "_stcore" not in url)
    peer_frames = b"".join(raw for _, raw in to_peer)
    assert b"for-everybody" in room_frames
    assert b"for-everybody" in peer_frames
    assert b"confidential" not in room_frames
    assert b"confidential" not in peer_frames
    assert two.state() == {"open": "for-everybody", "mine": "", "globbed": "", "password": ""}


def test_a_tab_with_an_old_build_of_the_frontend_asks_for_a_reload(
    shared_app: StartApp, tab: OpenTab, room: str
) -> None:
    app = shared_app("private.py", Way.EMBEDDED)
    one, old = tab(app, room=room), tab(app, room=room)

    def serve_old(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, body=response.text().replace(build_id(), "0.0.1+old"))

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
