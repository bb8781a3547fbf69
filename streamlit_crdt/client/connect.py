"""`connect`: a room for a program that is no Streamlit app."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from streamlit_crdt.access.participant import Role, role_of
from streamlit_crdt.client.connection import ClientConnection
from streamlit_crdt.client.credentials import find_server, name_in, role_in, token_factory
from streamlit_crdt.client.membership import ClientMembership
from streamlit_crdt.errors import RoomNameError, ServerUnavailableError
from streamlit_crdt.merge import MergePolicy, MergeRule
from streamlit_crdt.room.room import Room
from streamlit_crdt_server import RoomNameRefused, Settings, qualified
from streamlit_crdt_server.names import check_room_name

FLUSH_S: Final = 10.0
"""So long the end of the block waits for what is not saved yet."""


class JobRoom(Room):
    """A room that a program is in. What it edits is on its way at once; any thread may use it.

    Each assignment, and each call that changes something, is one edit, which `undo` takes back by itself.
    """

    def __init__(self, name: str, member: ClientMembership) -> None:
        super().__init__(name, member)
        self._member = member

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until others have changed something since the last call, or since this program came.

        Args:
            timeout: seconds to wait; None waits for ever.

        Returns:
            Whether something has changed.
        """
        return self._member.wait(timeout)


@contextmanager
def connect(
    room: str = "default",
    *,
    server: str | None = None,
    namespace: str | None = None,
    token: str | None = None,
    merge: Mapping[str, MergeRule] | None = None,
    role: Role = "editor",
    user: str = "job",
    timeout_s: float = 10.0,
    flush_timeout_s: float = FLUSH_S,
) -> Iterator[JobRoom]:
    """Be in a room for as long as a `with` block lasts, without Streamlit::

        with connect("planning") as room:
            room.state["progress"] = 0.5

    The block begins when the room's content is here. If the connection is lost later it is made again, for as long as
    that takes; what is edited meanwhile merges then. The block ends when everything is saved.

    Args:
        room: 1 to 128 of the characters A-Z a-z 0-9 . _ - .
        server: where the room server is: `ws://host:port` for a stand-alone or an embedded one, and
            `ws://host:port/crdt` for one that is mounted in an app; or another server that speaks the y-websocket
            protocol. None: STREAMLIT_CRDT_SERVER, else where  streamlit-crdt serve  listens.
        namespace: of the app whose room it is (see `crdt_app`). None: STREAMLIT_CRDT_NAMESPACE, else none.
        token: what  streamlit-crdt token  has printed. None signs one, and new ones in time, with the secret that is
            set (STREAMLIT_CRDT_SECRET), or this user's key file if the server is on this machine.
        merge: how edits of a key merge, as with `crdt_sync`.
        role: of the token that is signed here; a given one says by itself what it allows.
        user: of the token that is signed here, and who this is to the others; a given one says by itself.
        timeout_s: how long to wait for the room's content.
        flush_timeout_s: how long the end of the block waits until everything is saved.

    Raises:
        RoomNameError, RoleError, MergeRuleError, ValueError: an argument is none.
        EntryRefusedError: the server does not let this program in.
        ServerUnavailableError: the room's content did not come in time.
        EditsNotSavedError: at the end of the block: not everything is saved. If the block itself raised, it is logged.
        RoomDeletedError: on use: the room was deleted, and what is edited here reaches nobody.
    """
    address, rules = find_server(server), MergePolicy(dict(merge or {}))
    name = _full_name(room, Settings.load().namespace if namespace is None else namespace)
    allowed = role_of(role) if token is None else role_in(token, name)
    sign = token_factory(address, name, role=allowed, user=user) if token is None else lambda: token
    sign()  # what is wrong with it is better said here than in the connection's thread
    line = ClientConnection(name, address, sign)
    member = ClientMembership(
        room, line.exchange, rules, allowed, user if token is None else name_in(token, user)
    )
    line.start()
    try:
        _enter(line, member, address, timeout_s)
        try:
            yield JobRoom(room, member)
        except BaseException as error:
            member.depart(error, flush_timeout_s)
            raise
        member.depart(None, flush_timeout_s)
    finally:
        line.stop()


def _enter(line: ClientConnection, member: ClientMembership, address: str, timeout_s: float) -> None:
    """Wait until the room's content is here; anew, if the connection was lost before the room could be entered."""
    progress, ends_at = line.exchange.progress, time.monotonic() + timeout_s
    while not line.exchange.enter():
        if not progress.wait_synced(ends_at - time.monotonic()):
            if progress.fault is not None:
                raise progress.fault
            raise ServerUnavailableError(
                address, progress.reason or f"the room did not come within {timeout_s:g} s"
            )
    member.enter()


def _full_name(room: str, namespace: str) -> str:
    try:
        return check_room_name(qualified(room, namespace))
    except (RoomNameRefused, TypeError) as error:
        raise RoomNameError(room) from error
