"""Namespaces: apps with different namespaces on one server share no room."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamlit_crdt import RoomNameError, connect, crdt_app
from streamlit_crdt.backend import backend
from streamlit_crdt.backend.backend import LocalBackend, RemoteBackend
from streamlit_crdt.session.room_session import RoomSession
from streamlit_crdt_server import EmbeddedServer, KeyRing, Settings, SettingsError
from tests.support.app_sessions import session, settle

SECRET = "one secret for the app and the room server"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedServer]:
    monkeypatch.setenv("STREAMLIT_CRDT_SECRET", SECRET)
    running = EmbeddedServer(Settings(port=0, namespace="sales"), keys=KeyRing.from_secret(SECRET))
    running.start()
    yield running
    running.stop()


def address(server: EmbeddedServer) -> str:
    return f"ws://127.0.0.1:{server.port}"


def slider(room: str) -> None:
    import streamlit as st

    from streamlit_crdt import crdt_sync

    crdt_sync(room)
    st.slider("Level", key="level")


def test_room_of_one_name_is_separate_in_each_namespace(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend._process, "embedded", LocalBackend(server.hub, server))
    app = session(slider, "planning")
    app.slider[0].set_value(7).run()
    settle()
    with connect("planning", server=address(server), namespace="sales") as room:
        assert dict(room.state) == {"level": 7}
    for other in ("", "Sales", "sales.planning"):
        with connect("planning", server=address(server), namespace=other) as room:
            assert dict(room.state) == {}


def test_namespace_of_the_environment_applies_to_the_process(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMLIT_CRDT_NAMESPACE", "ops")
    with connect("planning", server=address(server)) as room:
        room.state["a"] = 1
        assert room.name == "planning"
    assert "ops~planning" in server.hub.rooms
    assert crdt_app(store=None, namespace="sales")["routes"]
    remote = backend.find(address(server))
    assert RoomSession("r", remote).connection.room == "ops~r"
    assert RoomSession("r", RemoteBackend(address(server))).connection.room == "r"


@pytest.mark.parametrize("namespace", ["a~b", "a/b", "a b", "ä", "x" * 65])
def test_namespace_with_invalid_characters_is_rejected(namespace: str) -> None:
    with pytest.raises(SettingsError, match="namespace"):
        Settings(namespace=namespace)
    with pytest.raises(RoomNameError), connect("planning", server="ws://127.0.0.1:9", namespace=namespace):
        pass


def test_room_name_with_a_namespace_raises_RoomNameError() -> None:
    def script(room: str) -> None:
        from streamlit_crdt import crdt_sync

        crdt_sync(room)

    assert "RoomNameError" in str(session(script, "sales~planning").exception)
