"""Many y-websocket clients in one Node process, which edit continuously and report saved edits."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from streamlit_crdt_server import Role, mint
from streamlit_crdt_server.auth.tokens import KeyRing
from tests.server.support.server_process import ROOT, SECRET, node

NEEDS_NODE = pytest.mark.skipif(
    shutil.which("node") is None or not (ROOT / "node_modules" / "y-websocket").is_dir(),
    reason="needs Node and the packages of package.json: run `npm ci`",
)

DEADLINE_S = 60.0
LEVEL_DISK = 2


def member_token(room: str, user: str) -> str:
    """Return an editor token for `room`, as a Streamlit session would sign it."""
    return mint(
        KeyRing.from_secret(SECRET),
        rooms={room: Role.EDITOR},
        user=user,
        name=user,
        session=f"session of {user}",
        ttl_s=24 * 3600,
        now=time.time(),
    )


class NodeClients:
    """The running clients and their reports.

    Attributes:
        saved: Number of the last saved edit by the name of the client.
        answers: Number of save answers.
    """

    def __init__(self, process: Process) -> None:
        self.saved: dict[str, int] = {}
        self.answers = 0
        self._process = process
        self._reports: asyncio.Queue[list[dict[str, Any]]] = asyncio.Queue()
        self._changed = asyncio.Event()

    def send(self, **command: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")

    async def report(self) -> list[dict[str, Any]]:
        """Return the current states of all clients."""
        self.send(report=True)
        async with asyncio.timeout(DEADLINE_S):
            return await self._reports.get()

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Return once the reports of the clients satisfy the condition."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"the deadline of {DEADLINE_S} s passed: {what}") from None

    async def until_answered(self, answers: int) -> None:
        """Return once `answers` more save answers have arrived."""
        target = self.answers + answers
        await self.until(lambda: self.answers >= target, f"{answers} more save answers")

    async def until_converged(self) -> list[dict[str, Any]]:
        """Return the states of the clients once all are connected, saved and equal.

        After the deadline the last report is returned, so that the test shows the differences.
        """
        ends_at = time.monotonic() + DEADLINE_S
        while True:
            report = await self.report()
            is_saved = all(one["synced"] and self.saved.get(one["name"], 0) >= one["edits"] for one in report)
            if is_saved and all(one["state"] == report[0]["state"] for one in report):
                return report
            if time.monotonic() > ends_at:
                return report
            await asyncio.sleep(0.05)

    async def listen(self) -> None:
        """Read the reports until the clients end."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            message = json.loads(line)
            if "saved" in message:
                name, number, level = message["saved"]
                assert level == LEVEL_DISK
                self.saved[name] = max(number, self.saved.get(name, 0))
                self.answers += 1
            if "report" in message:
                self._reports.put_nowait(message["report"])
            self._changed.set()


@asynccontextmanager
async def node_clients(
    port: int, rooms: Sequence[str], *, seed: int, pause_ms: float, keeps_all: bool
) -> AsyncIterator[NodeClients]:
    """Yield one client for each entry of `rooms`. They start to edit at the command `write=True`."""
    options: Mapping[str, Any] = {
        "url": f"ws://127.0.0.1:{port}",
        "seed": seed,
        "pauseMs": pause_ms,
        "keepsAll": keeps_all,
        "members": [
            {"room": room, "token": member_token(room, f"user{number}")} for number, room in enumerate(rooms)
        ],
    }
    async with node("crowd.mjs", options) as process:
        clients = NodeClients(process)
        listening = asyncio.ensure_future(clients.listen())
        try:
            yield clients
        finally:
            assert process.stdin is not None
            process.stdin.close()
            await listening
