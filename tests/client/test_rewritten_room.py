"""`connect()` clients that come back to a room that was rewritten meanwhile (rule N4)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streamlit_crdt import JobRoom, connect
from streamlit_crdt_server import EmbeddedServer, KeyRing, Settings

SECRET = "one secret for the app and the room server"
DEADLINE_S = 60.0


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STREAMLIT_CRDT_SECRET", SECRET)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


@contextmanager
def running(store: Path, port: int = 0) -> Iterator[EmbeddedServer]:
    settings = Settings(port=port, store=str(store), evict_after_s=0.05, rewrite_over_bytes=1000)
    server = EmbeddedServer(settings, keys=KeyRing.from_secret(SECRET))
    server.start()
    try:
        yield server
    finally:
        server.stop()


def joined(server: EmbeddedServer) -> str:
    return f"ws://127.0.0.1:{server.port}"


def until(condition: Callable[[], object]) -> None:
    ends_at = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < ends_at, "the deadline passed"
        time.sleep(0.01)


def write_past(server: EmbeddedServer, changes: Callable[[JobRoom], None]) -> None:
    """Change the room, overwrite much, leave, and wait until the room is rewritten."""
    with connect("room", server=joined(server)) as room:
        changes(room)
        for number in range(300):
            room.state[f"filler{number % 2}"] = number
    until(lambda: "room" not in server.hub.rooms)


def test_N4_job_repeats_its_unsaved_edits_in_the_rewritten_room(tmp_path: Path) -> None:
    store = tmp_path / "rooms.db"
    with running(store) as server:
        port, address = server.port, joined(server)
        connecting = connect("room", server=address)
        job = connecting.__enter__()
        job.counter("n").increment(1)
        job.list("log").append("first")
        job.state["both"] = "job"
        assert job.flush(DEADLINE_S)
        server.stop()
        job.counter("n").increment(10)
        job.list("log").append("offline")
        job.state["offline"] = True

    def change(room: JobRoom) -> None:
        room.counter("n").increment(100)
        room.list("log").append("meanwhile")
        room.state["both"] = "other"

    with running(store) as server:
        epoch = server.hub.open_local("room").epoch
    with running(store) as server:
        write_past(server, change)
        assert server.hub.open_local("room").epoch != epoch
    with running(store, port) as server:
        assert job.flush(DEADLINE_S)
        assert job.state["n"] == 111
        assert sorted(job.state["log"]) == ["first", "meanwhile", "offline"]
        assert job.state["both"] == "other"
        job.counter("n").increment(1000)
        connecting.__exit__(None, None, None)
        with connect("room", server=joined(server)) as other:
            assert other.state["n"] == 1111
            assert sorted(other.state["log"]) == ["first", "meanwhile", "offline"]
            assert other.state["offline"] is True
