"""What an app asks of a stand-alone server: its rooms, and to delete one; and who may ask."""

from __future__ import annotations

import json
import time
import urllib.error
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
    """A room server that the app reaches by its address alone."""
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


def opened(server: EmbeddedServer, name: str) -> LocalPeer:
    return server.hub.open_local(name)


def test_the_rooms_of_a_stand_alone_server_are_listed_and_deleted(server: EmbeddedServer, room: str) -> None:
    peers = [opened(server, name) for name in (room, room, "ops~hidden")]
    assert [(str(one), one.people) for one in rooms.list_rooms(server=address(server))] == [(room, 2)]
    rooms.delete_room(room, server=address(server))
    assert [peer.was_deleted for peer in peers] == [True, True, False]
    assert rooms.list_rooms(server=address(server)) == []


def test_a_namespace_sees_and_deletes_its_own_rooms_alone(
    server: EmbeddedServer, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, others = opened(server, f"ops~{room}"), opened(server, room)
    monkeypatch.setenv("STREAMLIT_CRDT_NAMESPACE", "ops")
    assert rooms.list_rooms(server=address(server)) == [room]
    rooms.delete_room(room, server=address(server))
    assert (ours.was_deleted, others.was_deleted) == (True, False)


def asked(server: EmbeddedServer, path: str, *, method: str = "GET", **headers: str) -> int:
    """Return the status of the answer to a request that anybody could make."""
    url = f"http://127.0.0.1:{server.port}{path}"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, method=method, headers=named)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            assert "error" in json.loads(error.read())
        return error.code


def errand_token(errand: AdminScope, *, ring: KeyRing = RING, ago_s: float = 0.0) -> str:
    return f"Bearer {mint_admin_token(ring, errand, now=time.time() - ago_s)}"


def tab_token(room: str) -> str:
    rooms = {room: Role.EDITOR}
    token = mint(RING, rooms=rooms, user="ada", name="Ada", session="s1", ttl_s=600, now=time.time())
    return f"Bearer {token}"


def test_A2_only_a_fresh_token_for_just_this_errand_lists_rooms(server: EmbeddedServer, room: str) -> None:
    good = errand_token(AdminScope.listing(""))
    foreign = KeyRing.from_secret("somebody else's secret")
    refused: dict[str, dict[str, str]] = {
        "nothing": {},
        "a tab's": {"Authorization": tab_token(room)},
        "a token for every room": {"Authorization": tab_token("*")},
        "expired": {"Authorization": errand_token(AdminScope.listing(""), ago_s=31)},
        "another key": {"Authorization": errand_token(AdminScope.listing(""), ring=foreign)},
        "another errand": {"Authorization": errand_token(AdminScope.deletion("", room))},
        "another namespace's": {"Authorization": errand_token(AdminScope.listing("ops"))},
        "for another namespace": {"Authorization": good, "Streamlit_Crdt_Namespace": "ops"},
        "no scheme": {"Authorization": good.removeprefix("Bearer ")},
        "not a token": {"Authorization": "Bearer x"},
        "a foreign page": {"Authorization": good, "Origin": "https://evil.example"},
        "a foreign name": {"Authorization": good, "Host": "evil.example"},
    }
    for what, headers in refused.items():
        assert (what, asked(server, "/rooms", **headers)) == (what, 403)
    assert asked(server, "/rooms", Authorization=good) == 200


def test_A2_only_a_fresh_token_for_just_this_room_deletes_it(server: EmbeddedServer, room: str) -> None:
    peer = opened(server, room)
    deletion = AdminScope.deletion("", room)
    refused: dict[str, dict[str, str]] = {
        "nothing": {},
        "a tab's": {"Authorization": tab_token(room)},
        "a token to list": {"Authorization": errand_token(AdminScope.listing(""))},
        "a token for another room": {"Authorization": errand_token(AdminScope.deletion("", f"{room}-2"))},
        "another namespace's": {"Authorization": errand_token(AdminScope.deletion("ops", room))},
        "expired": {"Authorization": errand_token(deletion, ago_s=31)},
    }
    for what, headers in refused.items():
        assert (what, asked(server, f"/rooms/{room}", method="DELETE", **headers)) == (what, 403)
    assert not peer.was_deleted
    assert asked(server, f"/rooms/{room}", method="DELETE", Authorization=errand_token(deletion)) == 200
    assert peer.was_deleted


def test_A2_no_namespace_reaches_into_another_by_a_rooms_name(server: EmbeddedServer, room: str) -> None:
    name = f"ops~{room}"
    peer = opened(server, name)
    token = errand_token(AdminScope.deletion("", name))
    assert asked(server, f"/rooms/{name}", method="DELETE", Authorization=token) == 400
    assert not peer.was_deleted


def test_A2_an_errands_token_opens_no_socket() -> None:
    with pytest.raises(TokenMalformedError):
        verify(RING, mint_admin_token(RING, AdminScope.listing(""), now=0), now=0)


def test_without_tokens_whoever_reaches_the_server_may_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMLIT_CRDT_REQUIRE_TOKEN", "false")
    backend.server_keys.cache_clear()
    running = EmbeddedServer(Settings(port=0, require_token=False))
    running.start()
    opened(running, "open")
    assert rooms.list_rooms(server=address(running)) == ["open"]
    assert asked(running, "/rooms", **{NAMESPACE_HEADER: "ops"}) == 200
    running.stop()
    backend.server_keys.cache_clear()


def test_a_server_that_refuses_or_is_not_there_is_told_as_an_error_of_ours(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMLIT_CRDT_SECRET", "quite another secret")
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


def test_the_form_lists_the_rooms_of_a_stand_alone_server_and_says_if_it_cannot(
    server: EmbeddedServer, room: str
) -> None:
    opened(server, room)
    app = AppTest.from_function(form, kwargs={"server": address(server)}).run()
    assert f"{room} :gray[· 1 person]" in [line.value.replace("\\", "") for line in app.sidebar.markdown]
    server.stop()
    assert "is not available" in app.run().sidebar.warning[0].value
    assert not app.exception
