"""The y-websocket 3 provider in Node as the client."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pycrdt import Doc, Map

from streamlit_crdt_server import EmbeddedServer, Settings
from tests.server.support.fake_channel import Client, FakeChannel
from tests.server.support.node_clients import NEEDS_NODE
from tests.server.support.server_process import SECRET, stand_alone, stored_state

ROOT = Path(__file__).parents[3]
DEADLINE_S = 60.0

pytestmark = NEEDS_NODE


class NodeClient:
    """A y-websocket client in Node. `reported` is its last report, `send` sends it a command."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.reported: dict[str, Any] = {}
        self._process = process
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, **command: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def wait(self, condition: Callable[[dict[str, Any]], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self.reported), DEADLINE_S), self.reported

    def wait_for(self, **expected: Any) -> None:
        self.wait(lambda reported: all(reported.get(key) == value for key, value in expected.items()))

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self.reported |= json.loads(line)
                self._changed.notify_all()

    def end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        self._process.stdout.close()


@contextmanager
def node_client(
    port: int, room: str = "room", token: str = "", max_frame_bytes: int | None = None
) -> Iterator[NodeClient]:
    script = str(ROOT / "tests/server/stock/client.mjs")
    command = ["node", script, f"ws://127.0.0.1:{port}", room, token, str(max_frame_bytes or "")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    client = NodeClient(process)
    try:
        yield client
    finally:
        client.end()


def test_two_clients_and_a_session_converge(server: EmbeddedServer) -> None:
    session = server.hub.open_local("room")
    with node_client(server.port) as ada, node_client(server.port) as bob:
        ada.wait_for(synced=True)
        bob.wait_for(synced=True)
        for number in range(20):
            ada.send(set=[f"a{number}", number])
            bob.send(set=[f"b{number}", number])
        session.push(Client(FakeChannel()).set("s", "session")).result(DEADLINE_S)
        expected = {f"{name}{number}": number for name in "ab" for number in range(20)} | {"s": "session"}
        ada.wait_for(state=expected)
        bob.wait_for(state=expected)
        ada.send(delete="a0")
        del expected["a0"]
        bob.wait_for(state=expected)
        assert _values(server) == expected


def _values(server: EmbeddedServer) -> dict[str, Any]:
    replica: Doc[Any] = Doc()
    replica.apply_update(server.hub.open_local("room").drain() or b"\0\0")
    return dict(replica.get("state", type=Map).to_py() or {})


def test_A3_clients_see_users_join_and_leave(server: EmbeddedServer) -> None:
    with node_client(server.port) as ada:
        ada.send(user="Ada")
        ada.wait_for(synced=True, users=["Ada"])
        with node_client(server.port) as bob:
            bob.wait_for(users=["Ada"])
            bob.send(user="Bob")
            ada.wait_for(users=["Ada", "Bob"])
        ada.wait_for(users=["Ada"])


def test_clients_reconnect_after_restart_with_offline_edits() -> None:
    first = EmbeddedServer(Settings(require_token=False, port=0))
    first.start()
    with node_client(first.port) as ada, node_client(first.port) as bob:
        ada.send(set=["before", 1], user="Ada")
        bob.wait_for(synced=True, state={"before": 1}, users=["Ada"])
        first.stop()
        ada.wait(lambda reported: reported["status"] != "connected")
        bob.wait(lambda reported: reported["status"] != "connected")
        ada.send(set=["a", 2])
        bob.send(set=["b", 3])
        second = EmbeddedServer(Settings(require_token=False, port=first.port))
        started_at = time.monotonic()
        second.start()
        try:
            for client in (ada, bob):
                client.wait_for(status="connected", state={"before": 1, "a": 2, "b": 3})
            bob.wait_for(users=["Ada"])
            assert time.monotonic() - started_at < 10
        finally:
            second.stop()


def test_R3_client_with_its_own_frame_limit_gets_a_large_room() -> None:
    """`max_sent_frame_bytes` is below the client's limit. The room arrives at a join, and as one update of a client."""
    running = EmbeddedServer(Settings(require_token=False, port=0, max_sent_frame_bytes=100_000))
    running.start()
    values = {f"key{number}": f"{number}" * 20_000 for number in range(30)}
    try:
        with node_client(running.port, max_frame_bytes=120_000) as early:
            early.wait_for(synced=True)
            with node_client(running.port) as author:
                for key, value in values.items():
                    author.send(set=[key, value])
                early.wait_for(state=values)
                with node_client(running.port, max_frame_bytes=120_000) as late:
                    late.wait_for(state=values, synced=True)
                    late.send(set=["answer", 1])
                    early.wait_for(state=values | {"answer": 1})
                    assert "dropped" not in early.reported | late.reported
    finally:
        running.stop()


def test_client_closed_for_an_oversized_frame_stays_offline(server: EmbeddedServer) -> None:
    with node_client(server.port) as ada, node_client(server.port, "other") as bob:
        ada.wait_for(synced=True)
        bob.wait_for(synced=True)
        ada.send(set=["huge", "x" * (17 * 1024 * 1024)])
        ada.wait_for(closed=4413)
        bob.send(set=["x", 1])
        bob.wait_for(state={"x": 1}, status="connected")


@pytest.mark.anyio
async def test_client_with_token_of_the_cli_syncs_with_stand_alone_server(
    tmp_path: Path,
) -> None:
    secret_file = tmp_path / "secret"
    secret_file.write_text(SECRET)
    secret_file.chmod(0o600)
    tokens = {
        role: await asyncio.to_thread(printed_token, secret_file, role, user)
        for role, user in (("editor", "Ada"), ("viewer", "Bob"))
    }
    async with stand_alone(tmp_path / "rooms.db") as server:
        with (
            node_client(server.port, token=tokens["editor"]) as ada,
            node_client(server.port, token=tokens["viewer"]) as bob,
        ):
            for client in (ada, bob):
                await asyncio.to_thread(client.wait_for, synced=True)
            bob.send(set=["forbidden", True])
            ada.send(set=["x", 1])
            await asyncio.to_thread(bob.wait_for, state={"forbidden": True, "x": 1})
            assert ada.reported["state"] == {"x": 1}
    assert "forbidden" not in repr(await stored_state(server.store, "room"))


def printed_token(secret_file: Path, role: str, user: str) -> str:
    """Run `streamlit-crdt token` and return the token."""
    words = ["token", "room", "--role", role, "--user", user, "--secret-file", str(secret_file)]
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from streamlit_crdt.deploy.cli import main; raise SystemExit(main())",
            *words,
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return done.stdout.strip()
