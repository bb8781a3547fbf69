"""Two clients in a quiet room, in their own process, that measure the longest time until an edit arrives.

As a script, it connects to the port and room of its arguments, and answers each line on stdin with the longest time in
ms since the last line, and the number of edits. The process does nothing else, so that its own work is not measured.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from streamlit_crdt_server import protocol
from tests.faults.support.peer import Peer
from tests.server.support.server_process import ROOT

PAUSE_S = 0.02
ALIVE_EVERY = 50
"""Edits after which the reader sends a message. The server closes a socket that is silent for 150 s."""

ARRIVAL_S = 120.0
"""Longest time for an edit to arrive. A longer one ends the campaign."""


class HonestPair:
    """The running process."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def read_longest_ms(self) -> float:
        """Return the longest time in ms since the last call."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(b"look\n")
        async with asyncio.timeout(ARRIVAL_S):
            line = await self._process.stdout.readline()
        assert line, "the honest pair ended: its connection was closed or an edit did not arrive"
        answer = json.loads(line)
        return float(answer["longest_ms"])


@asynccontextmanager
async def honest_pair(port: int, room: str = "quiet") -> AsyncIterator[HonestPair]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.faults.support.honest_pair",
        str(port),
        room,
        stdin=PIPE,
        stdout=PIPE,
        cwd=ROOT,
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        yield HonestPair(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(20):
                await process.wait()
        finally:
            if process.returncode is None:
                process.kill()


async def _main(port: int, room: str) -> None:
    ada, bob = Peer(room, "honest-ada"), Peer(room, "honest-bob")
    ada.port = bob.port = port
    longest_s, edits, started_at = 0.0, 0, 0.0
    is_over = False

    def answer() -> None:
        nonlocal longest_s, edits, is_over
        if not sys.stdin.readline():
            is_over = True
            asyncio.get_running_loop().remove_reader(sys.stdin)
            return
        waiting_s = time.monotonic() - started_at if started_at else 0.0
        longest_ms = 1000 * max(longest_s, waiting_s)
        print(json.dumps({"longest_ms": longest_ms, "edits": edits}), flush=True)
        longest_s, edits = 0.0, 0

    async with ada, bob:
        await ada.until_synced()
        await bob.until_synced()
        asyncio.get_running_loop().add_reader(sys.stdin, answer)
        print("ready", flush=True)
        number = 0
        while not is_over:
            number += 1
            started_at = time.monotonic()
            await ada.edit("count", number)
            await bob.until(lambda expected=number: bob.state.get("count") == expected, ARRIVAL_S)  # type: ignore[misc]
            longest_s = max(longest_s, time.monotonic() - started_at)
            started_at = 0.0
            edits += 1
            if number % ALIVE_EVERY == 0:
                await bob.socket.send(protocol.saved_query(0))
            await asyncio.sleep(PAUSE_S)


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), sys.argv[2]))
