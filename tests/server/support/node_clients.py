"""Many stock y-websocket clients in one Node process, which write by themselves and tell what is saved."""

from __future__ import annotations

import asyncio
import json
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from streamlit_crdt_server import Role, mint
from streamlit_crdt_server.auth.tokens import KeyRing
from tests.server.support.server_process import SECRET, node

DEADLINE_S = 60.0
LEVEL_DISK = 2


def member_token(room: str, user: str) -> str:
    """A token that opens `room` to an editor, as a Streamlit session would sign it."""
    return mint(
        KeyRing.from_secret(SECRET),
        rooms={room: Role.EDITOR},
        user=user,
        name=user,
        session=f"session of {user}",
        ttl_s=24 * 3600,
        now=time.time(),
    )


class Crowd:
    """What the clients said.

    Attributes:
        saved: By the name of a client, up to which of its edits it was told that they are saved.
        answers: How often one was told so.
    """

    def __init__(self, process: Process) -> None:
        self.saved: dict[str, int] = {}
        self.answers = 0
        self._process = process
        self._reports: asyncio.Queue[list[dict[str, Any]]] = asyncio.Queue()
        self._news = asyncio.Event()

    def tell(self, **command: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")

    async def report(self) -> list[dict[str, Any]]:
        """What every client holds at present."""
        self.tell(report=True)
        async with asyncio.timeout(DEADLINE_S):
            return await self._reports.get()

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Return as soon as what the clients said fulfils the condition."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not condition():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"it did not happen within {DEADLINE_S} s: {what}") from None

    async def until_told(self, answers: int) -> None:
        """Return when that many more answers have come."""
        aim = self.answers + answers
        await self.until(lambda: self.answers >= aim, f"{answers} more answers that edits are saved")

    async def until_alike(self) -> list[dict[str, Any]]:
        """Return what all hold once everybody is connected, has everything saved, and holds the same.

        After the deadline the last report is returned as it is, for the test to tell what differs.
        """
        ends_at = time.monotonic() + DEADLINE_S
        while True:
            report = await self.report()
            settled = all(one["synced"] and self.saved.get(one["name"], 0) >= one["edits"] for one in report)
            if settled and all(one["state"] == report[0]["state"] for one in report):
                return report
            if time.monotonic() > ends_at:
                return report
            await asyncio.sleep(0.05)

    async def listen(self) -> None:
        """Take in what is said, until the clients end."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            said = json.loads(line)
            if "saved" in said:
                name, number, level = said["saved"]
                assert level == LEVEL_DISK
                self.saved[name] = max(number, self.saved.get(name, 0))
                self.answers += 1
            if "report" in said:
                self._reports.put_nowait(said["report"])
            self._news.set()


@asynccontextmanager
async def crowd(
    port: int, rooms: Sequence[str], *, seed: int, pause_ms: float, keeps_all: bool
) -> AsyncIterator[Crowd]:
    """Yield one client for each entry of `rooms`, which starts to write at the command `write=True`."""
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
        clients = Crowd(process)
        listening = asyncio.ensure_future(clients.listen())
        try:
            yield clients
        finally:
            assert process.stdin is not None
            process.stdin.close()
            await listening
