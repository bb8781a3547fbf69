"""Admin API of a remote server: list rooms, delete a room, access control."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator

import pytest
from streamlit.testing.v1 import AppTest

from streamlit_crdt import CrdtError, ServerUnavailableError, rooms
from streamlit_crdt.backend import backend
from streamlit_crdt_server import (
    AdminScope,
    EmbeddedServer,
    KeyRing,
    LocalPeer,
    Role,
    Settings,
    TokenMalformedError,
    mint,
    mint_admin_token,
    verify,
)
from streamlit_crdt_server.auth.tokens import NAMESPACE_HEADER

SECRET = "the secret of app and server"
RING = KeyRing.from_secret(SECRET)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedServer]:
    """Room server that is remote for the app."""
    monkeypatch.setenv("STREAMLIT_CRDT_SECRET", SECRET)
    backend.server_keys.cache_clear()
    running = EmbeddedServer(Settings(port=0), keys=RING)
    running.start()
    yield running
    running.stop()
    backend.server_keys.cache_clear()


@pytest.fixture
def room(server: EmbeddedServer) -> str:
    return f"room-{uuid.uuid4().hex[:12]}"


def address(server: EmbeddedServer) -> str:
    return f"ws://127.0.0.1:{server.port}"


def open_room(server: EmbeddedServer, name: str) -> LocalPeer:
    return server.hub.open_local(name)


def test_rooms_of_a_remote_server_are_listed_and_deleted(server: EmbeddedServer, room: str) -> None:
    peers = [open_room(server, name) for name in (room, room, "ops~hidden")]
    assert [(str(one), one.people) for one in rooms.list_rooms(server=address(server))] == [(room, 2)]
    rooms.delete_room(room, server=address(server))
    assert [peer.was_deleted for peer in peers] == [True, True, False]
    assert rooms.list_rooms(server=address(server)) == []


def test_namespace_lists_and_deletes_only_its_own_rooms(
    server: EmbeddedServer, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, other = open_room(server, f"ops~{room}"), open_room(server, room)
    monkeypatch.setenv("STREAMLIT_CRDT_NAMESPACE", "ops")
    assert rooms.list_rooms(server=address(server)) == [room]
    rooms.delete_room(room, server=address(server))
    assert (own.was_deleted, other.was_deleted) == (True, False)


def status_of(server: EmbeddedServer, path: str, *, method: str = "GET", **headers: str) -> int:
    """Return the HTTP status of a request with these headers."""
    url = f"http://127.0.0.1:{server.port}{path}"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, method=method, headers=named)
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            assert "error" in json.loads(error.read())
        return error.code


def admin_token(scope: AdminScope, *, ring: KeyRing = RING, ago_s: float = 0.0) -> str:
    return f"Bearer {mint_admin_token(ring, scope, now=time.time() - ago_s)}"


def tab_token(room: str) -> str:
    rooms = {room: Role.EDITOR}
    token = mint(RING, rooms=rooms, user="ada", name="Ada", session="s1", ttl_s=600, now=time.time())
    return f"Bearer {token}"


def test_A2_only_a_valid_token_with_this_scope_lists_rooms(server: EmbeddedServer, room: str) -> None:
    good = admin_token(AdminScope.listing(""))
    foreign = KeyRing.from_secret("another secret")
    rejected: dict[str, dict[str, str]] = {
        "no token": {},
        "a tab token": {"Authorization": tab_token(room)},
        "a token for every room": {"Authorization": tab_token("*")},
        "expired": {"Authorization": admin_token(AdminScope.listing(""), ago_s=31)},
        "another key": {"Authorization": admin_token(AdminScope.listing(""), ring=foreign)},
        "another scope": {"Authorization": admin_token(AdminScope.deletion("", room))},
        "scope of another namespace": {"Authorization": admin_token(AdminScope.listing("ops"))},
        "header of another namespace": {"Authorization": good, "Streamlit_Crdt_Namespace": "ops"},
        "no scheme": {"Authorization": good.removeprefix("Bearer ")},
        "not a token": {"Authorization": "Bearer x"},
        "another origin": {"Authorization": good, "Origin": "https://evil.example"},
        "another host": {"Authorization": good, "Host": "evil.example"},
    }
    for case, headers in rejected.items():
        assert (case, status_of(server, "/rooms", **headers)) == (case, 403)
    assert status_of(server, "/rooms", Authorization=good) == 200


def test_A2_only_a_valid_token_for_this_room_deletes_it(server: EmbeddedServer, room: str) -> None:
    peer = open_room(server, room)
    deletion = AdminScope.deletion("", room)
    rejected: dict[str, dict[str, str]] = {
        "no token": {},
        "a tab token": {"Authorization": tab_token(room)},
        "a token to list": {"Authorization": admin_token(AdminScope.listing(""))},
        "a token for another room": {"Authorization": admin_token(AdminScope.deletion("", f"{room}-2"))},
        "scope of another namespace": {"Authorization": admin_token(AdminScope.deletion("ops", room))},
        "expired": {"Authorization": admin_token(deletion, ago_s=31)},
    }
    for case, headers in rejected.items():
        assert (case, status_of(server, f"/rooms/{room}", method="DELETE", **headers)) == (case, 403)
    assert not peer.was_deleted
    assert status_of(server, f"/rooms/{room}", method="DELETE", Authorization=admin_token(deletion)) == 200
    assert peer.was_deleted


def test_A2_token_for_a_deletion_does_not_delete_the_next_room_of_the_name(
    server: EmbeddedServer, room: str
) -> None:
    open_room(server, room)
    token = admin_token(AdminScope.deletion("", room))
    assert status_of(server, f"/rooms/{room}", method="DELETE", Authorization=token) == 200
    again = open_room(server, room)
    assert status_of(server, f"/rooms/{room}", method="DELETE", Authorization=token) == 403
    assert not again.was_deleted


def test_A2_token_for_a_list_lists_once(server: EmbeddedServer) -> None:
    token = admin_token(AdminScope.listing(""))
    assert [status_of(server, "/rooms", Authorization=token) for _ in range(2)] == [200, 403]


@pytest.mark.parametrize(
    "name", ["@scope/x", "a b", "é", "json:notebook:1", "<b>", "100%", "rooms", "/x", "x/"]
)
@pytest.mark.parametrize("safe", ["", "/"])
def test_room_of_any_name_is_listed_and_deleted(server: EmbeddedServer, name: str, safe: str) -> None:
    peer = open_room(server, name)
    assert name in [entry.name for entry in server.hub.list_rooms()]
    token = admin_token(AdminScope.deletion("", name))
    path = f"/rooms/{urllib.parse.quote(name, safe=safe)}"
    assert status_of(server, path, method="DELETE", Authorization=token) == 200
    assert peer.was_deleted


@pytest.mark.parametrize("path", ["", "..", "%00", "%1B", "%FF", "*", "x" * 257])
def test_deletion_of_an_impossible_name_is_answered_with_400(
    server: EmbeddedServer, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert status_of(server, f"/rooms/{path}", method="DELETE") == 400
    assert "Traceback" not in caplog.text


def test_A2_room_name_with_a_foreign_namespace_is_rejected(server: EmbeddedServer, room: str) -> None:
    name = f"ops~{room}"
    peer = open_room(server, name)
    token = admin_token(AdminScope.deletion("", name))
    assert status_of(server, f"/rooms/{name}", method="DELETE", Authorization=token) == 400
    assert not peer.was_deleted


def test_A2_admin_token_is_rejected_as_a_socket_token() -> None:
    with pytest.raises(TokenMalformedError):
        verify(RING, mint_admin_token(RING, AdminScope.listing(""), now=0), now=0)


def test_server_without_require_token_accepts_requests_without_a_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STREAMLIT_CRDT_REQUIRE_TOKEN", "false")
    backend.server_keys.cache_clear()
    running = EmbeddedServer(Settings(port=0, require_token=False))
    running.start()
    open_room(running, "open")
    assert rooms.list_rooms(server=address(running)) == ["open"]
    assert status_of(running, "/rooms", **{NAMESPACE_HEADER: "ops"}) == 200
    running.stop()
    backend.server_keys.cache_clear()


def test_rejected_request_and_stopped_server_raise_ServerUnavailableError(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMLIT_CRDT_SECRET", "another secret")
    backend.server_keys.cache_clear()
    with pytest.raises(ServerUnavailableError, match="same secret"):
        rooms.list_rooms(server=address(server))
    server.stop()
    with pytest.raises(CrdtError, match="not available"):
        rooms.list_rooms(server=address(server))
    with pytest.raises(ServerUnavailableError):
        rooms.delete_room("planning", server=address(server))


def form(server: str) -> None:
    import streamlit as st

    from streamlit_crdt import select_room_widget

    st.text(str(select_room_widget(server=server)))


def test_room_picker_lists_rooms_of_a_remote_server_or_shows_a_warning(
    server: EmbeddedServer, room: str
) -> None:
    open_room(server, room)
    app = AppTest.from_function(form, kwargs={"server": address(server)}).run()
    assert f"{room} :gray[· 1 person]" in [line.value.replace("\\", "") for line in app.sidebar.markdown]
    server.stop()
    assert "is not available" in app.run().sidebar.warning[0].value
    assert not app.exception
