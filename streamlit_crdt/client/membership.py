"""Membership of a headless client in a room."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

from streamlit_crdt.access.participant import Role
from streamlit_crdt.access.room_context import KeyFilter
from streamlit_crdt.client.errors import EditsNotSavedError, OutsideAppError, RoomLeftError
from streamlit_crdt.client.sync_client import SyncClient
from streamlit_crdt.document.events import Event, EventLog
from streamlit_crdt.document.json_state import State
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.document.snapshots import restore
from streamlit_crdt.document.stored_snapshots import StoredSnapshot
from streamlit_crdt.errors import ViewOnlyError
from streamlit_crdt.merge import MergePolicy, Rule
from streamlit_crdt.room.room import Room
from streamlit_crdt.transport.frame import Status

_log = logging.getLogger("streamlit_crdt")

Returned = TypeVar("Returned")


class ClientMembership:
    """Implementation of `Membership` for a program without Streamlit. Thread-safe; each method is one edit or one read.

    Attributes:
        role: role claimed by the token. The server enforces it (rule A1).
        user_name: name that other participants see.
    """

    def __init__(
        self, room: str, sync_client: SyncClient, policy: MergePolicy, role: Role, user_name: str
    ) -> None:
        self.role = role
        self.user_name = user_name
        self._room = room
        self._sync_client = sync_client
        self._policy = policy
        self._events = EventLog()
        self._lock = threading.RLock()
        self._has_left = False
        self._seen_remote_count = 0

    def enter(self) -> None:
        """Enter the room. It must be synced."""
        self._seen_remote_count = self._sync_client.progress.remote_count
        self._events.join(self._sync_client.replica)

    @property
    def replica(self) -> Replica:
        self._raise_fault()
        return self._sync_client.replica

    @property
    def status(self) -> Status:
        progress = self._sync_client.progress
        if progress.is_open:
            return "connected"
        return "offline" if progress.is_synced else "connecting"

    @property
    def saved(self) -> bool:
        self._raise_fault()
        return self.unsaved_count == 0

    @property
    def unsaved_count(self) -> int:
        return self._sync_client.progress.unsaved_count

    def flush(self, timeout_s: float) -> bool:
        self._raise_fault()
        return self._sync_client.progress.wait_saved(timeout_s)

    def wait(self, timeout_s: float | None) -> bool:
        """Wait for a remote update since the last call. Return True if there was one."""
        progress = self._sync_client.progress
        progress.wait(
            lambda: progress.remote_count > self._seen_remote_count or progress.fault is not None, timeout_s
        )
        self._raise_fault()
        with self._lock:
            before, self._seen_remote_count = self._seen_remote_count, progress.remote_count
            return self._seen_remote_count > before

    def write(self, key: str, value: Any) -> None:
        with self._editing(key) as replica:
            replica.edit(key, None, value, self.rule(key, value))

    def remove(self, key: str) -> None:
        with self._editing(key) as replica:
            replica.delete(key)

    def rule(self, key: str, value: Any) -> Rule | None:
        return self._policy.rule(key, value, None, self.replica.rule_name(key))

    def change(self, key: str, rule: Rule | None, empty: Any, change: Callable[[Any], Any]) -> None:
        with self._editing(key) as replica:
            replica.change(key, rule, empty, change)

    def operate(self, key: str, rule: Rule, empty: Any, operation: Callable[[Any], Returned]) -> Returned:
        with self._editing(key) as replica:
            return replica.operate(key, rule, empty, operation)

    def undo_or_redo(self, action: Literal["undo", "redo"]) -> None:
        with self._editing(action, begins_group=False) as replica:
            if action == "undo":
                replica.undo()
            else:
                replica.redo()

    def broadcast(self, name: str, payload: Any) -> None:
        with self._editing(name) as replica:
            self._events.broadcast(replica, name, payload)

    def events(self, name: str) -> Iterator[Event]:
        with self._lock:
            return iter(list(self._events.take(self.replica, name)))

    def button(self, label: str, key: str, options: Mapping[str, Any]) -> bool:
        raise OutsideAppError("button")

    def show_badge(self) -> None:
        raise OutsideAppError("status_badge")

    def push_edits(self) -> None:
        """Check for a fault. `write` edits the replica directly, so nothing is left to push."""
        self._raise_fault()

    def require_editable(self, subject: str) -> None:
        with self._editing(subject, begins_group=False):
            pass

    def observe_snapshots(self) -> None:
        """Do nothing: there is no script to rerun, and `wait` returns at any change."""

    def store_snapshot(self, name: str, snapshot: StoredSnapshot | None) -> None:
        with self._editing(name, begins_group=False) as replica:
            replica.set_snapshot(name, snapshot)

    def restore(self, subject: str, state: State) -> None:
        with self._editing(subject) as replica:
            restore(replica, state, KeyFilter().shares)

    def show_snapshot_menu(self, room: Room, label: str, key: str, options: Mapping[str, Any]) -> None:
        raise OutsideAppError("snapshot_menu")

    def leave(self, error: BaseException | None) -> None:
        """Do nothing: edits are sent at once, and the block of `connect` leaves the room."""

    def close(self, error: BaseException | None, timeout_s: float) -> None:
        """Accept no more edits, and wait until all edits are saved.

        Args:
            error: exception that ends the block.
            timeout_s: seconds to wait at most.

        Raises:
            EditsNotSavedError: edits are unsaved. Logged instead if `error` is given.
            RoomDeletedError: the room was deleted. Logged instead if `error` is given.
        """
        with self._lock:
            self._has_left = True  # under the lock: no edit of another thread may begin after the wait below
        progress = self._sync_client.progress
        if progress.wait_saved(timeout_s):
            return
        has_all = progress.received_count >= progress.edit_count
        if progress.lacks_save_status and has_all and progress.fault is None:
            _log.warning("room %r: the server has received all edits but does not report saves", self._room)
            return
        failure = progress.fault or EditsNotSavedError(
            self._room, progress.unsaved_count, self._unsaved_reason(timeout_s)
        )
        if error is None:
            raise failure
        _log.error("%s", failure)

    def _unsaved_reason(self, timeout_s: float) -> str:
        progress = self._sync_client.progress
        if progress.is_failing:
            return "the storage of the room server fails"
        if progress.is_denied or not progress.is_open:
            return progress.reason or "there is no connection"
        return f"the server did not confirm them within {timeout_s:g} s"

    @contextmanager
    def _editing(self, key: str, *, begins_group: bool = True) -> Iterator[Replica]:
        """Check that edits are allowed, and yield the replica. The lock is held until the edit is made.

        Args:
            key: named in the ViewOnlyError.
            begins_group: begin an undo step of its own.

        Raises:
            RoomLeftError: the block of `connect` has ended.
            ViewOnlyError: the role is viewer, or the server has rejected edits of this connection.
        """
        with self._lock:
            if self._has_left:
                raise RoomLeftError(self._room)
            if self.role == "viewer" or self._sync_client.progress.is_denied:
                raise ViewOnlyError(self._room, key)
            replica = self.replica
            if begins_group:
                replica.begin_group()
            yield replica

    def _raise_fault(self) -> None:
        if self._sync_client.progress.fault is not None:
            raise self._sync_client.progress.fault
