"""`connect()`: programs without Streamlit in a room, over real sockets."""

from __future__ import annotations

import asyncio
import itertools
import signal
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.harness import HOST, Process, free_port
from streamlit_crdt import (
    CrdtError,
    EditsNotSavedError,
    EntryRefusedError,
    JobRoom,
    OutsideAppError,
    RoomDeletedError,
    RoomLeftError,
    RoomNameError,
    ServerUnavailableError,
    ViewOnlyError,
    connect,
)
from streamlit_crdt.document.replica import ROOM, Replica
from streamlit_crdt_server import EmbeddedServer, KeyRing, Role, Settings, mint
from tests.deploy.test_asgi import mounted

SECRET = "one secret for the app and the room server"
DEADLINE_S = 15.0


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STREAMLIT_CRDT_SECRET", SECRET)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    running = EmbeddedServer(Settings(port=0), keys=KeyRing.from_secret(SECRET))
    running.start()
    yield running
    running.stop()


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Process]:
    """`streamlit-crdt serve` in a process of its own, on a port and a file that stay over a restart."""
    port = free_port()
    command = [sys.executable, "-m", "streamlit_crdt", "serve", "--port", str(port), "--store", "rooms.db"]
    environ = {"STREAMLIT_CRDT_SECRET": SECRET}
    process = Process("server", command, f"http://{HOST}:{port}/healthz", environ, tmp_path)
    process.start()
    yield process
    process.stop()


def address(server: EmbeddedServer | Process) -> str:
    if isinstance(server, EmbeddedServer):
        return f"ws://{HOST}:{server.port}"
    return server.health_url.replace("http", "ws").removesuffix("/healthz")


def token(role: Role, room: str = "room", secret: str = SECRET) -> str:
    return mint(
        KeyRing.from_secret(secret),
        rooms={room: role},
        user="ada", name="Ada", session="s", ttl_s=60, now=time.time(),
    )  # fmt: skip


def wait_until_equal(*rooms: JobRoom) -> None:
    """Wait until all rooms show the same."""
    ends_at = time.monotonic() + DEADLINE_S
    while any(room.state != rooms[0].state for room in rooms[1:]):
        assert time.monotonic() < ends_at, [dict(room.state) for room in rooms]
        for room in rooms:
            room.wait(0.05)  # whichever of them is behind


def test_two_jobs_and_a_session_in_the_servers_process_converge(server: EmbeddedServer) -> None:
    peer, session, came = server.hub.open_local("room"), Replica(), threading.Event()
    peer.on_update = came.set
    with connect("room", server=address(server)) as one, connect("room", server=address(server)) as two:
        one.state["a"] = 1
        two.list("log").append("two")
        one.list("log").append("one")
        two.counter("n").increment(2)
        one.counter("n").increment(3)
        session.set("from the session", True)
        peer.push(session.diff()).result(DEADLINE_S)
        assert one.flush() and two.flush()
        wait_until_equal(one, two)
        ends_at = time.monotonic() + DEADLINE_S
        while dict(session.items()) != dict(one.state):
            assert came.wait(ends_at - time.monotonic())
            came.clear()
            session.apply(peer.drain() or b"", origin=ROOM)
        assert session.get("n") == 5
        assert sorted(session.get("log")) == ["one", "two"]
        assert one.state["from the session"] is True
    peer.close()


def test_every_member_of_a_room_works_without_streamlit(server: EmbeddedServer) -> None:
    with connect("room", server=address(server), merge={"clicks": "counter"}) as room:
        assert (room.name, room.status, room.role, room.saved) == ("room", "connected", "editor", True)
        room.state["options"] = {"a": 1}
        room.state["clicks"] = 2
        room.text("notes").insert(0, "hello")
        room.set("tags").add("x")
        room.map("options")["b"] = 2
        assert room.state["options"] == {"a": 1, "b": 2}
        assert room.can_undo
        room.undo()
        assert room.can_redo and room.state["options"] == {"a": 1}
        room.redo()
        assert room.state["options"] == {"a": 1, "b": 2}
        del room.state["clicks"]
        assert room.state.get("clicks", 0) == 0 and "clicks" not in room.state
        with pytest.raises(KeyError, match="clicks"):
            room.state["clicks"]
        room.broadcast("done", 7)
        assert [(event.payload, event.is_self) for event in room.events("done")] == [(7, True)]
        assert not list(room.events("done"))
        assert room.flush() and room.saved and room.unsaved_count == 0
        for call in (lambda: room.button("x"), room.status_badge):
            with pytest.raises(OutsideAppError, match="needs a Streamlit page"):
                call()
    with pytest.raises(RoomLeftError, match="was left"):
        room.state["late"] = 1


def test_an_event_of_one_job_reaches_the_other_once(server: EmbeddedServer) -> None:
    with connect("room", server=address(server)) as one, connect("room", server=address(server)) as two:
        one.broadcast("ready", "now")
        ends_at = time.monotonic() + DEADLINE_S
        while not (events := list(two.events("ready"))):
            assert two.wait(ends_at - time.monotonic())
        assert [(event.payload, event.is_self) for event in events] == [("now", False)]
        assert not list(two.events("ready"))


def test_a_job_talks_to_a_server_that_is_mounted_in_an_app(tmp_path: Path) -> None:
    with mounted(tmp_path) as (_process, port):
        where = f"ws://{HOST}:{port}/crdt"
        with connect("room", server=where) as one:
            one.state["a"] = 1
        with connect("room", server=where) as two:
            assert dict(two.state) == {"a": 1}


def test_s5_what_is_said_to_be_saved_survives_a_kill(alone: Process) -> None:
    with connect("room", server=address(alone)) as room:
        for number in range(50):
            room.list("log").append(number)
        assert room.flush()
        alone.restart(signal.SIGKILL)
    with connect("room", server=address(alone)) as fresh:
        assert list(fresh.list("log")) == list(range(50))


def test_a_kill_of_the_server_amid_edits_loses_nothing_and_doubles_nothing(alone: Process) -> None:
    with connect("room", server=address(alone)) as one, connect("room", server=address(alone)) as two:
        written = [threading.Event(), threading.Event()]

        def write(room: JobRoom, name: str, half: threading.Event) -> None:
            for number in range(300):
                room.list("log").append([name, number])
                room.counter("n").increment()
                if number == 150:
                    half.set()

        writers = [
            threading.Thread(target=write, args=(room, name, half))
            for room, name, half in zip((one, two), "ab", written, strict=True)
        ]
        for writer in writers:
            writer.start()
        for half in written:
            assert half.wait(DEADLINE_S)
        alone.restart(signal.SIGKILL)
        for writer in writers:
            writer.join()
        assert one.flush(DEADLINE_S) and two.flush(DEADLINE_S)
        wait_until_equal(one, two)
        log = list(one.list("log"))
        assert sorted(log) == [[name, number] for name in "ab" for number in range(300)]
        assert one.state["n"] == 600
    with connect("room", server=address(alone)) as fresh:
        assert list(fresh.list("log")) == log
        assert fresh.state["n"] == 600


def test_n1_ten_thousand_edits_while_the_server_is_away_cost_no_more_than_the_document(
    alone: Process,
) -> None:
    with connect("room", server=address(alone)) as room:
        alone.stop(signal.SIGKILL)
        tracemalloc.start()
        for number in range(5_000):
            room.state["n"] = number
            room.state[f"k{number % 20}"] = f"{number}{'x' * 100}"
        held_bytes, _peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert held_bytes < 3_000_000
        assert room.status == "offline"
        assert not room.saved and not room.flush(0.01)
        alone.start()
        assert room.flush(DEADLINE_S)
    with connect("room", server=address(alone)) as fresh:
        assert fresh.state["n"] == 4_999


def test_two_threads_write_into_one_room(server: EmbeddedServer) -> None:
    with connect("room", server=address(server)) as room:

        def write() -> None:
            for number in range(200):
                room.counter("n").increment()
                room.list("log").append(number)
                room.state["last"] = number

        threads = [threading.Thread(target=write) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert room.counter("n").value == 400
        assert sorted(room.list("log")) == sorted([*range(200), *range(200)])
    with connect("room", server=address(server)) as fresh:
        assert (fresh.state["n"], len(fresh.list("log"))) == (400, 400)


def test_s5_what_another_thread_edits_as_the_block_ends_is_saved_or_refused(server: EmbeddedServer) -> None:
    taken, half = [], threading.Event()

    def write(room: JobRoom) -> None:
        with pytest.raises(RoomLeftError):
            for number in itertools.count():
                room.state[str(number % 10)] = number
                taken.append(number)
                if number == 50:
                    half.set()

    with connect("room", server=address(server)) as room:
        writer = threading.Thread(target=write, args=(room,))
        writer.start()
        assert half.wait(DEADLINE_S)
    writer.join()
    with connect("room", server=address(server)) as fresh:
        assert max(fresh.state.values()) == taken[-1]


def test_a2_a_token_that_the_server_does_not_take_is_one_sentence(server: EmbeddedServer) -> None:
    wrong = token(Role.EDITOR, secret="another secret, that nobody knows")
    with (
        pytest.raises(EntryRefusedError) as refused,
        connect("room", server=address(server), token=wrong),
    ):
        raise AssertionError("unreachable")
    assert isinstance(refused.value, PermissionError) and isinstance(refused.value, CrdtError)
    assert "does not take the token" in str(refused.value) and wrong not in str(refused.value)


def test_a2_without_a_token_entry_is_refused_at_once(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMLIT_CRDT_REQUIRE_TOKEN", "false")
    with (
        pytest.raises(EntryRefusedError, match="no token was shown"),
        connect("room", server=address(server)),
    ):
        raise AssertionError("unreachable")


def test_a1_a_viewers_job_sees_all_and_is_told_that_it_cannot_write(server: EmbeddedServer) -> None:
    with (
        connect("room", server=address(server)) as editor,
        connect("room", server=address(server), token=token(Role.VIEWER)) as viewer,
    ):
        editor.state["a"] = 1
        wait_until_equal(editor, viewer)
        assert viewer.role == "viewer"
        for write in (
            lambda: viewer.state.update(b=2),
            lambda: viewer.list("log").append(1),
            lambda: viewer.broadcast("x"),
            viewer.undo,
        ):
            with pytest.raises(ViewOnlyError):
                write()
    with connect("room", server=address(server), role="viewer") as viewer, pytest.raises(ViewOnlyError):
        viewer.state["b"] = 2


def test_a1_an_edit_that_the_server_refuses_is_reported(server: EmbeddedServer) -> None:
    """As where the token's role cannot be read here."""
    with (
        pytest.raises(EditsNotSavedError, match="1 edit is not saved") as unsaved,
        connect("room", server=address(server), token=token(Role.VIEWER)) as viewer,
    ):
        viewer._member.role = "editor"
        viewer.state["b"] = 2
        assert not viewer.flush()
        assert viewer.unsaved_count == 1
        with pytest.raises(ViewOnlyError):
            viewer.state["c"] = 3
    assert unsaved.value.count == 1
    with connect("room", server=address(server)) as fresh:
        assert not dict(fresh.state)


def test_a_job_that_leaves_while_the_server_is_away_is_told_what_is_not_saved(alone: Process) -> None:
    with (
        pytest.raises(EditsNotSavedError, match="2 edits are not saved"),
        connect("room", server=address(alone), flush_timeout_s=0.1) as room,
    ):
        alone.stop(signal.SIGKILL)
        room.state["a"] = 1
        room.state["b"] = 2


def test_an_error_in_the_block_is_not_hidden_by_edits_that_are_not_saved(
    alone: Process, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        connect("room", server=address(alone), flush_timeout_s=0.1) as room,
    ):
        alone.stop(signal.SIGKILL)
        room.state["a"] = 1
        raise ZeroDivisionError
    assert "1 edit is not saved" in caplog.text


def test_a_deleted_room_is_an_error_and_its_values_do_not_come_back(server: EmbeddedServer) -> None:
    hub = server.hub
    with connect("room", server=address(server)) as room:
        room.state["old"] = 1
        assert room.flush()
        assert hub.loop is not None
        asyncio.run_coroutine_threadsafe(hub.delete_room(name="room"), hub.loop).result(DEADLINE_S)
        with pytest.raises(RoomDeletedError, match="begun anew"):
            while room.wait(DEADLINE_S):
                """Until it is told."""
        with pytest.raises(RoomDeletedError):
            room.state["new"] = 2
        with connect("room", server=address(server)) as fresh:
            assert not dict(fresh.state)


def test_a_server_that_is_not_there_is_one_sentence() -> None:
    where = f"ws://{HOST}:{free_port()}"
    with (
        pytest.raises(ServerUnavailableError, match="is not available"),
        connect("room", server=where, timeout_s=0.3),
    ):
        raise AssertionError("unreachable")


def test_a_job_that_comes_before_its_server_waits_for_it(alone: Process) -> None:
    alone.stop()
    starting = threading.Thread(target=alone.start)
    starting.start()
    with connect("room", server=address(alone), timeout_s=DEADLINE_S) as room:
        room.state["a"] = 1
    starting.join()


def test_without_an_address_the_servers_own_default_is_meant(
    alone: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMLIT_CRDT_PORT", address(alone).rpartition(":")[2])
    with connect("room") as room:
        room.state["a"] = 1
    monkeypatch.setenv("STREAMLIT_CRDT_SERVER", "http://example.com")
    with pytest.raises(ValueError, match="write ws://"), connect("room"):
        raise AssertionError("unreachable")


def test_a_name_that_no_room_can_have_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(RoomNameError), connect("a/b", server="ws://127.0.0.1:1"):
        raise AssertionError("unreachable")


def test_no_thread_is_left_behind(server: EmbeddedServer) -> None:
    before = threading.active_count()
    with connect("room", server=address(server)) as room:
        room.state["a"] = 1
    assert threading.active_count() <= before
