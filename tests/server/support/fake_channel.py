"""A channel without a network, and a client of a room that follows the protocol."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from pycrdt import Channel, Doc, Map

from streamlit_crdt_server import Hub, Room, protocol
from streamlit_crdt_server.protocol import Limits, Presence

DEADLINE_S = 30.0
LIMITS = Limits(max_frame_bytes=2**24, max_awareness_bytes=2**16, max_state_vector_bytes=2**20)
POISON = bytes.fromhex("0104080007010166030170000001780177013107000807060400080202686900")


async def until(condition: Callable[[], object]) -> None:
    """Return once `condition()` is true. Fail after the deadline."""
    ends_at = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < ends_at, "the deadline passed"
        await asyncio.sleep(0.002)


class FakeChannel(Channel):
    """A channel whose frames the test writes and reads."""

    def __init__(self, room: str = "room") -> None:
        self._room = room
        self.incoming: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.sent: list[bytes] = []
        self.closed_with: int | None = None
        self.close_reason = ""
        self.may_send = asyncio.Event()
        self.may_send.set()

    @property
    def path(self) -> str:
        return self._room

    async def recv(self) -> bytes:
        frame = await self.incoming.get()
        if frame is None:
            raise StopAsyncIteration
        return frame

    async def send(self, message: bytes) -> None:
        await self.may_send.wait()
        self.sent.append(message)

    async def close(self, code: int, reason: str = "") -> None:
        self.closed_with, self.close_reason = int(code), reason

    def put(self, frame: bytes) -> None:
        self.incoming.put_nowait(frame)

    def leave(self) -> None:
        self.incoming.put_nowait(None)


class Client:
    """A replica at the other end of a `FakeChannel`. `look` applies the received frames."""

    def __init__(self, channel: FakeChannel) -> None:
        self.channel = channel
        self.ydoc: Doc[Any] = Doc()
        self.state: Map[Any] = self.ydoc.get("state", type=Map)
        self.present: dict[int, Any] = {}
        self._seen = 0

    def set(self, key: str, value: Any) -> bytes:
        """Write a value and return the update."""
        updates: list[bytes] = []
        subscription = self.ydoc.observe(lambda event: updates.append(event.update))
        self.state[key] = value
        self.ydoc.unobserve(subscription)
        return updates[0]

    def edit(self, key: str, value: Any) -> None:
        """Write a value and send it."""
        self.channel.put(protocol.sync_update(self.set(key, value)))

    def announce(self, client_id: int, clock: int, text: str = '{"name":"Ada"}') -> None:
        self.channel.put(presence_frame(client_id, clock, text))

    def look(self) -> dict[str, Any]:
        """Apply the frames received since the last call, and return the values of the room."""
        frames, self._seen = self.channel.sent[self._seen :], len(self.channel.sent)
        for frame in frames:
            match protocol.parse(frame, LIMITS):
                case protocol.SyncUpdate(update):
                    self.ydoc.apply_update(update)
                case protocol.AwarenessUpdate(presences):
                    for presence in presences:
                        self._apply_presence(presence)
        return dict(self.state.to_py() or {})

    def _apply_presence(self, presence: Presence) -> None:
        if presence.is_gone:
            self.present.pop(presence.client_id, None)
        else:
            self.present[presence.client_id] = presence.state


def presence_frame(client_id: int, clock: int, text: str = '{"name":"Ada"}') -> bytes:
    return protocol.awareness([Presence(client_id, clock, text, None)])


def newest_clock(frames: list[bytes], client_id: int) -> int | None:
    """Return the newest clock of a client id in received frames. None if it was not announced."""
    clocks = [
        presence.clock
        for message in (protocol.parse(frame, LIMITS) for frame in frames)
        if isinstance(message, protocol.AwarenessUpdate)
        for presence in message.presences
        if presence.client_id == client_id
    ]
    return max(clocks, default=None)


@asynccontextmanager
async def connected(
    room: Room | Hub, name: str = "room", channel: FakeChannel | None = None
) -> AsyncIterator[Client]:
    """Connect a client, and disconnect it at the end."""
    channel = FakeChannel(name) if channel is None else channel
    serving = asyncio.ensure_future(room.serve(channel))
    try:
        await until(lambda: channel.sent or serving.done())
        channel.put(protocol.sync_step1(b"\0"))
        yield Client(channel)
    finally:
        channel.leave()
        await serving
