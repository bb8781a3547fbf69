"""`connect`: a room in a program without Streamlit."""

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
from streamlit_crdt_server import Settings, qualified
from streamlit_crdt_server.names import is_app_room_name

FLUSH_S: Final = 10.0
"""Default seconds that the end of the block waits for unsaved edits."""


class JobRoom(Room):
    """A room that a program is in. Edits are sent at once. Thread-safe.

    Each assignment and each call that changes a value is one edit with its own undo step.
    """

    def __init__(self, name: str, membership: ClientMembership) -> None:
        super().__init__(name, membership)
        self._client_membership = membership

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for a remote change since the last call, or since `connect` for the first call.

        Args:
            timeout: seconds to wait at most. None waits without a limit.

        Returns:
            True if there was a remote change.

        Raises:
            RoomDeletedError: the room was deleted.
        """
        return self._client_membership.wait(timeout)


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
    """Enter a room without Streamlit, for the duration of a `with` block::

        with connect("planning") as room:
            room.state["progress"] = 0.5

    The block begins when the room is synced. A lost connection is opened again until the block ends, and edits made
    meanwhile merge then. The end of the block waits until all edits are saved.

    Args:
        room: name of the room, 1 to 128 of the characters A-Z a-z 0-9 . _ - .
        server: address of the room server: `ws://host:port` if it is stand-alone or embedded, `ws://host:port/crdt` if
            it is mounted in an app. Other servers with the y-websocket protocol work, too. None uses
            STREAMLIT_CRDT_SERVER, else the address on which  streamlit-crdt serve  listens.
        namespace: namespace of the app (see `crdt_app`). None uses STREAMLIT_CRDT_NAMESPACE, else no namespace.
        token: a token printed by  streamlit-crdt token . None signs tokens, and renews them in time, with the secret
            of STREAMLIT_CRDT_SECRET, or with this user's key file if the server is on this machine.
        merge: merge rule by key or glob, as in `crdt_sync`.
        role: role in the signed token. Ignored if `token` is given.
        user: name of the user in the signed token, shown to others. Used with `token` only if that has no name.
        timeout_s: seconds to wait for the first sync.
        flush_timeout_s: seconds that the end of the block waits for unsaved edits.

    Yields:
        The room.

    Raises:
        RoomNameError: `room` or `namespace` is not valid.
        RoleError: `role` is neither "editor" nor "viewer".
        MergeRuleError: `merge` names an unknown rule.
        ValueError: `server` is not a WebSocket address.
        EntryRefusedError: the server refuses the connection.
        ServerUnavailableError: the room was not synced within `timeout_s`.
        EditsNotSavedError: at the end of the block, edits are unsaved. Logged instead if the block raised an error.
        RoomDeletedError: on use of the room, if it was deleted. Edits made here do not reach the new room.
    """
    address, policy = find_server(server), MergePolicy(dict(merge or {}))
    name = _full_name(room, Settings.load().namespace if namespace is None else namespace)
    allowed = role_of(role) if token is None else role_in(token, name)
    sign = token_factory(address, name, role=allowed, user=user) if token is None else lambda: token
    sign()  # raises errors of the key here, not in the connection's thread
    connection = ClientConnection(name, address, sign)
    membership = ClientMembership(
        room, connection.sync_client, policy, allowed, user if token is None else name_in(token, user)
    )
    connection.start()
    try:
        _enter(connection, membership, address, timeout_s)
        try:
            yield JobRoom(room, membership)
        except BaseException as error:
            membership.close(error, flush_timeout_s)
            raise
        membership.close(None, flush_timeout_s)
    finally:
        connection.stop()


def _enter(
    connection: ClientConnection, membership: ClientMembership, address: str, timeout_s: float
) -> None:
    """Wait until the room is synced. Wait again if the connection was lost before the room was entered."""
    client, ends_at = connection.sync_client, time.monotonic() + timeout_s
    while not client.enter():
        if not client.progress.wait_synced(ends_at - time.monotonic()):
            if client.progress.fault is not None:
                raise client.progress.fault
            raise ServerUnavailableError(
                address, client.progress.reason or f"the room was not synced within {timeout_s:g} s"
            )
    membership.enter()


def _full_name(room: str, namespace: str) -> str:
    name = qualified(room, namespace)
    if not isinstance(name, str) or not is_app_room_name(name):
        raise RoomNameError(room)
    return name
