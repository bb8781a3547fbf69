"""`connect()`: headless clients in a room, over real sockets."""

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
DEADLINE_S = 60.0


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
def standalone(tmp_path: Path) -> Iterator[Process]:
    """`streamlit-crdt serve` in a separate process, with a port and a store file that stay the same after a restart."""
    port = free_port()
    command = [sys.executable, "-m", "streamlit_crdt", "serve", "--port", str(port), "--store", "rooms.db"]
    environ = {"STREAMLIT_CRDT_SECRET": SECRET}
    process = Process("server", command, f"http://{HOST}:{port}/healthz", environ, tmp_path, preloaded=True)
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
    """Wait until all rooms have equal state."""
    ends_at = time.monotonic() + DEADLINE_S
    while any(room.state != rooms[0].state for room in rooms[1:]):
        assert time.monotonic() < ends_at, [dict(room.state) for room in rooms]
        for room in rooms:
            room.wait(0.05)


def test_two_clients_and_a_local_session_converge(server: EmbeddedServer) -> None:
    peer, session, has_update = server.hub.open_local("room"), Replica(), threading.Event()
    peer.on_update = has_update.set
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
            assert has_update.wait(ends_at - time.monotonic())
            has_update.clear()
            session.apply(peer.drain() or b"", origin=ROOM)
        assert session.get("n") == 5
        assert sorted(session.get("log")) == ["one", "two"]
        assert one.state["from the session"] is True
    peer.close()


def test_all_room_members_work_without_streamlit(server: EmbeddedServer) -> None:
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


def test_records_and_live_values_work_without_streamlit(server: EmbeddedServer) -> None:
    merge: dict[str, str] = {"stock": "records:sku"}
    with (
        connect("room", server=address(server), merge=merge) as one,
        connect("room", server=address(server), merge=merge) as two,
    ):
        stock, orders = one.records("stock"), one.counter("orders")
        assert stock.extend([{"sku": "A", "tags": set()}, {"sku": "B", "tags": {"x"}}]) == ["A", "B"]
        orders.increment(5)
        wait_until_equal(one, two)
        two.records("stock")["A"]["tags"].add("new")
        two.counter("orders").decrement(2)
        stock.move("B", 0)
        wait_until_equal(one, two)
        assert (two.records("stock").ids(), stock["A"]["tags"], orders.value) == (["B", "A"], {"new"}, 3)
        orders.reset()
        del two.records("stock")["B"]
        wait_until_equal(one, two)
        assert (one.state["stock"], two.counter("orders").value) == ([{"sku": "A", "tags": {"new"}}], 0)


def test_event_reaches_another_client_once(server: EmbeddedServer) -> None:
    with connect("room", server=address(server)) as one, connect("room", server=address(server)) as two:
        one.broadcast("ready", "now")
        ends_at = time.monotonic() + DEADLINE_S
        while not (events := list(two.events("ready"))):
            assert two.wait(ends_at - time.monotonic())
        assert [(event.payload, event.is_self) for event in events] == [("now", False)]
        assert not list(two.events("ready"))


def test_client_connects_to_a_mounted_server(tmp_path: Path) -> None:
    with mounted(tmp_path) as (_process, port):
        url = f"ws://{HOST}:{port}/crdt"
        with connect("room", server=url) as one:
            one.state["a"] = 1
        with connect("room", server=url) as two:
            assert dict(two.state) == {"a": 1}


def test_S5_saved_edits_survive_a_kill(standalone: Process) -> None:
    with connect("room", server=address(standalone)) as room:
        for number in range(50):
            room.list("log").append(number)
        assert room.flush()
        standalone.restart(signal.SIGKILL)
    with connect("room", server=address(standalone)) as fresh:
        assert list(fresh.list("log")) == list(range(50))


EDITS = 100
"""Edits of each writer. The cost grows with their square, because each append compares the list."""


def test_server_kill_during_edits_loses_and_repeats_nothing(standalone: Process) -> None:
    with (
        connect("room", server=address(standalone)) as one,
        connect("room", server=address(standalone)) as two,
    ):
        written = [threading.Event(), threading.Event()]

        def write(room: JobRoom, name: str, half: threading.Event) -> None:
            for number in range(EDITS):
                room.list("log").append([name, number])
                room.counter("n").increment()
                if number == EDITS // 2:
                    half.set()

        writers = [
            threading.Thread(target=write, args=(room, name, half))
            for room, name, half in zip((one, two), "ab", written, strict=True)
        ]
        for writer in writers:
            writer.start()
        for half in written:
            assert half.wait(DEADLINE_S)
        standalone.restart(signal.SIGKILL)
        for writer in writers:
            writer.join()
        assert one.flush(DEADLINE_S) and two.flush(DEADLINE_S)
        wait_until_equal(one, two)
        log = list(one.list("log"))
        assert sorted(log) == [[name, number] for name in "ab" for number in range(EDITS)]
        assert one.state["n"] == 2 * EDITS
    with connect("room", server=address(standalone)) as fresh:
        assert list(fresh.list("log")) == log
        assert fresh.state["n"] == 2 * EDITS


def test_N1_memory_for_offline_edits_is_bounded(
    standalone: Process,
) -> None:
    with connect("room", server=address(standalone)) as room:
        standalone.stop(signal.SIGKILL)
        tracemalloc.start()
        for number in range(5_000):
            room.state["n"] = number
            room.state[f"k{number % 20}"] = f"{number}{'x' * 100}"
        held_bytes, _peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert held_bytes < 3_000_000
        assert room.status == "offline"
        assert not room.saved and not room.flush(0.01)
        standalone.start()
        assert room.flush(DEADLINE_S)
    with connect("room", server=address(standalone)) as fresh:
        assert fresh.state["n"] == 4_999


def test_two_threads_edit_one_room(server: EmbeddedServer) -> None:
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


def test_S5_edit_at_the_end_of_the_block_is_saved_or_rejected(server: EmbeddedServer) -> None:
    accepted, half = [], threading.Event()

    def write(room: JobRoom) -> None:
        with pytest.raises(RoomLeftError):
            for number in itertools.count():
                room.state[str(number % 10)] = number
                accepted.append(number)
                if number == 50:
                    half.set()

    with connect("room", server=address(server)) as room:
        writer = threading.Thread(target=write, args=(room,))
        writer.start()
        assert half.wait(DEADLINE_S)
    writer.join()
    with connect("room", server=address(server)) as fresh:
        assert max(fresh.state.values()) == accepted[-1]


def test_A2_rejected_token_raises_EntryRefusedError(server: EmbeddedServer) -> None:
    wrong = token(Role.EDITOR, secret="a secret that the server does not have")
    with (
        pytest.raises(EntryRefusedError) as refused,
        connect("room", server=address(server), token=wrong),
    ):
        raise AssertionError("unreachable")
    assert isinstance(refused.value, PermissionError) and isinstance(refused.value, CrdtError)
    assert "does not accept the token" in str(refused.value) and wrong not in str(refused.value)


def test_A2_missing_token_raises_EntryRefusedError(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMLIT_CRDT_REQUIRE_TOKEN", "false")
    with (
        pytest.raises(EntryRefusedError, match="no token was sent"),
        connect("room", server=address(server)),
    ):
        raise AssertionError("unreachable")


def test_A1_viewer_client_reads_and_raises_ViewOnlyError_on_edits(server: EmbeddedServer) -> None:
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


def test_A1_edit_rejected_by_the_server_is_reported(server: EmbeddedServer) -> None:
    # The client treats a token without readable claims as an editor's.
    with (
        pytest.raises(EditsNotSavedError, match="1 edit is not saved") as unsaved,
        connect("room", server=address(server), token=token(Role.VIEWER)) as viewer,
    ):
        viewer._client_membership.role = "editor"
        viewer.state["b"] = 2
        assert not viewer.flush()
        assert viewer.unsaved_count == 1
        with pytest.raises(ViewOnlyError):
            viewer.state["c"] = 3
    assert unsaved.value.count == 1
    with connect("room", server=address(server)) as fresh:
        assert not dict(fresh.state)


def test_leaving_while_offline_raises_EditsNotSavedError(standalone: Process) -> None:
    with (
        pytest.raises(EditsNotSavedError, match="2 edits are not saved"),
        connect("room", server=address(standalone), flush_timeout_s=0.1) as room,
    ):
        standalone.stop(signal.SIGKILL)
        room.state["a"] = 1
        room.state["b"] = 2


def test_error_in_the_block_takes_precedence_over_unsaved_edits(
    standalone: Process, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        connect("room", server=address(standalone), flush_timeout_s=0.1) as room,
    ):
        standalone.stop(signal.SIGKILL)
        room.state["a"] = 1
        raise ZeroDivisionError
    assert "1 edit is not saved" in caplog.text


def test_deleted_room_raises_and_its_values_do_not_return(server: EmbeddedServer) -> None:
    hub = server.hub
    with connect("room", server=address(server)) as room:
        room.state["old"] = 1
        assert room.flush()
        assert hub.loop is not None
        asyncio.run_coroutine_threadsafe(hub.delete_room(name="room"), hub.loop).result(DEADLINE_S)
        with pytest.raises(RoomDeletedError, match="was deleted"):
            while room.wait(DEADLINE_S):
                """Until the error is raised."""
        with pytest.raises(RoomDeletedError):
            room.state["new"] = 2
        with connect("room", server=address(server)) as fresh:
            assert not dict(fresh.state)


def test_unreachable_server_raises_ServerUnavailableError() -> None:
    url = f"ws://{HOST}:{free_port()}"
    with (
        pytest.raises(ServerUnavailableError, match="is not available"),
        connect("room", server=url, timeout_s=0.3),
    ):
        raise AssertionError("unreachable")


def test_client_waits_for_a_server_that_starts_later(standalone: Process) -> None:
    standalone.stop()
    starting = threading.Thread(target=standalone.start)
    starting.start()
    with connect("room", server=address(standalone), timeout_s=DEADLINE_S) as room:
        room.state["a"] = 1
    starting.join()


def test_default_address_is_that_of_the_serve_command(
    standalone: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMLIT_CRDT_PORT", address(standalone).rpartition(":")[2])
    with connect("room") as room:
        room.state["a"] = 1
    monkeypatch.setenv("STREAMLIT_CRDT_SERVER", "http://example.com")
    with pytest.raises(ValueError, match="write ws://"), connect("room"):
        raise AssertionError("unreachable")


def test_invalid_room_name_raises_before_connecting() -> None:
    with pytest.raises(RoomNameError), connect("a/b", server="ws://127.0.0.1:1"):
        raise AssertionError("unreachable")


def test_no_thread_remains_after_the_block(server: EmbeddedServer) -> None:
    before = threading.active_count()
    with connect("room", server=address(server)) as room:
        room.state["a"] = 1
    assert threading.active_count() <= before
