"""A y-websocket client in this process: a replica, its socket, and the edits that the room reported as saved."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from pycrdt import Doc, Map
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from streamlit_crdt_server import KeyRing, Role, mint, protocol
from streamlit_crdt_server.protocol import SavedAnswer, SaveStatus, SyncStep1, SyncStep2, SyncUpdate
from tests.server.support.server_process import SECRET

HOST = "127.0.0.1"
CONNECTION_ERRORS = (ConnectionClosed, InvalidHandshake, InvalidMessage, OSError, TimeoutError, EOFError)
"""Errors of a socket whose server or network fails."""


def token_for(room: str, user: str, role: Role = Role.EDITOR, ttl_s: float = 24 * 3600.0) -> str:
    return mint(
        KeyRing.from_secret(SECRET),
        rooms={room: role},
        user=user,
        name=user,
        session=f"session of {user}",
        ttl_s=ttl_s,
        now=time.time(),
    )


def address(port: int, room: str, user: str, role: Role = Role.EDITOR) -> str:
    return f"ws://{HOST}:{port}/{room}?token={token_for(room, user, role)}"


class Peer:
    """A client, used as `async with Peer(...)` once per connection. The replica outlives the connections.

    Attributes:
        ydoc: The replica.
        state: Its map "state".
        edits: Number of the last edit.
        saved: Number of the last edit that is saved.
        is_synced: Whether the room's document arrived on this connection, and the room has all edits of this peer. An
            edit that is sent before would be saved without those that it depends on.
    """

    def __init__(self, room: str, user: str, role: Role = Role.EDITOR) -> None:
        self.room = room
        self.user = user
        self.role = role
        self.ydoc: Doc[Any] = Doc()
        self.state: Map[Any] = self.ydoc.get("state", type=Map)
        self.edits = 0
        self.saved = 0
        self._has_document = self._has_sent_all = False
        self.port = 0
        self._socket: ClientConnection | None = None
        self._reading: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    @property
    def socket(self) -> ClientConnection:
        assert self._socket is not None, "the peer is not connected"
        return self._socket

    @property
    def is_synced(self) -> bool:
        return self._has_document and self._has_sent_all

    @property
    def is_open(self) -> bool:
        return self._reading is not None and not self._reading.done()

    async def __aenter__(self) -> Self:
        """Connect to `port`. The first answer of the room arrives later."""
        self._has_document = self._has_sent_all = False
        self._socket = await connect(
            address(self.port, self.room, self.user, self.role),
            max_size=None, max_queue=None, ping_interval=None, compression=None, open_timeout=20, proxy=None,
        )  # fmt: skip
        self._reading = asyncio.ensure_future(self._read())
        await self.socket.send(protocol.sync_step1(self.ydoc.get_state()))
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        assert self._reading is not None
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        self.socket.transport.abort()

    def read_values(self) -> dict[str, str]:
        return read_values(self.state)

    async def edit(self, key: str, value: Any) -> None:
        """Write a value and send it, with a query for its save status.

        Raises:
            CONNECTION_ERRORS: The connection ended. The replica has the edit, and the next connection sends it.
        """
        before = self.ydoc.get_state()
        self.state[key] = value
        self.edits += 1
        await self.socket.send(protocol.sync_update(self.ydoc.get_update(before)))
        await self.socket.send(protocol.saved_query(self.edits))

    async def until(self, condition: Callable[[], object], timeout_s: float = 60.0) -> None:
        """Return once `condition()` is true.

        Raises:
            TimeoutError: The condition was false for `timeout_s`.
            ConnectionResetError: The connection ended before.
        """
        async with asyncio.timeout(timeout_s):
            while not condition():
                if not self.is_open:
                    raise ConnectionResetError("the connection ended")
                self._changed.clear()
                await self._changed.wait()

    async def until_synced(self) -> None:
        await self.until(lambda: self.is_synced)

    async def until_saved(self, timeout_s: float = 60.0) -> None:
        edits = self.edits
        await self.until(lambda: self.saved >= edits, timeout_s)

    async def _read(self) -> None:
        try:
            async for frame in self.socket:
                if isinstance(frame, bytes):
                    await self._apply(frame)
                    self._changed.set()
        except CONNECTION_ERRORS:
            pass  # the callers learn it from `is_open`
        finally:
            self._changed.set()

    async def _apply(self, frame: bytes) -> None:
        match protocol.parse_server_frame(frame):
            case SyncStep1(state_vector):
                await self.socket.send(protocol.sync_step2(self.ydoc.get_update(state_vector)))
                await self.socket.send(protocol.saved_query(self.edits))
                self._has_sent_all = True
            case SyncStep2(update):
                self.ydoc.apply_update(update)
                self._has_document = True
            case SyncUpdate(update):
                self.ydoc.apply_update(update)
            case SavedAnswer(version, _, status, _):
                if status is SaveStatus.SAVED:
                    self.saved = max(self.saved, version)


def read_values(state: Map[Any]) -> dict[str, str]:
    """Return the values of a map as text, so that NaN equals itself. Some shared types have no Python value."""
    values = {}
    for key in state:
        try:
            value = state[key]
            shown = repr(value.to_py() if hasattr(value, "to_py") else value)
            values[key] = re.sub(r" at 0x[0-9a-f]+", "", shown)
        except (KeyError, ValueError) as error:
            values[key] = repr(error)
    return values


async def close_code(socket: ClientConnection, timeout_s: float = 30.0) -> int | None:
    """Return the code with which the server closes the socket. None if it ends without a code."""
    async with asyncio.timeout(timeout_s):
        try:
            while True:
                await socket.recv()
        except ConnectionClosed as error:
            return error.rcvd.code if error.rcvd is not None else None
