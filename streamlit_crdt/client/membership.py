"""A program's membership in a room: what `Room` needs, without a session, a page or a run."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

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


class ClientMembership:
    """A program in a room. Thread-safe: each member is one edit, or one look.

    Attributes:
        role: what the token allows; the server enforces it (rule A1).
        user_name: who this is to the others.
    """

    def __init__(
        self, room: str, exchange: SyncClient, rules: MergePolicy, role: Role, user_name: str
    ) -> None:
        self.role = role
        self.user_name = user_name
        self._room = room
        self._exchange = exchange
        self._rules = rules
        self._events = EventLog()
        self._lock = threading.RLock()
        self._has_left = False
        self._news_seen = 0

    def enter(self) -> None:
        """Be in the room from now on, whose content is here."""
        self._news_seen = self._exchange.progress.news
        self._events.arrive(self._exchange.replica)

    @property
    def replica(self) -> Replica:
        self._check_is_the_same()
        return self._exchange.replica

    @property
    def status(self) -> Status:
        progress = self._exchange.progress
        if progress.is_open:
            return "connected"
        return "offline" if progress.is_synced else "connecting"

    @property
    def saved(self) -> bool:
        self._check_is_the_same()
        return self.unsaved_count == 0

    @property
    def unsaved_count(self) -> int:
        return self._exchange.progress.unsaved

    def flush(self, timeout_s: float) -> bool:
        self._check_is_the_same()
        return self._exchange.progress.wait_saved(timeout_s)

    def wait(self, timeout_s: float | None) -> bool:
        """Wait for something new since the last call; say whether it came."""
        progress = self._exchange.progress
        progress.wait(lambda: progress.news > self._news_seen or progress.fault is not None, timeout_s)
        self._check_is_the_same()
        with self._lock:
            before, self._news_seen = self._news_seen, progress.news
            return self._news_seen > before

    def write(self, key: str, value: Any) -> None:
        with self._editing(key) as replica:
            replica.edit(key, None, value, self._rules.rule(key, value, None))

    def remove(self, key: str) -> None:
        with self._editing(key) as replica:
            replica.delete(key)

    def change(self, key: str, rule: Rule, empty: Any, change: Callable[[Any], Any]) -> None:
        with self._editing(key) as replica:
            replica.change(key, rule, empty, change)

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
        """What is assigned is in the replica already."""
        self._check_is_the_same()

    def require_editable(self, subject: str) -> None:
        with self._editing(subject, begins_group=False):
            pass

    def observe_snapshots(self) -> None:
        """No script waits to be run; `wait` tells of any change."""

    def store_snapshot(self, name: str, snapshot: StoredSnapshot | None) -> None:
        with self._editing(name, begins_group=False) as replica:
            replica.keep(name, snapshot)

    def restore(self, subject: str, state: State) -> None:
        with self._editing(subject) as replica:
            restore(replica, state, KeyFilter().shares)

    def show_snapshot_menu(self, room: Room, label: str, key: str, options: Mapping[str, Any]) -> None:
        raise OutsideAppError("snapshot_menu")

    def leave(self, error: BaseException | None) -> None:
        """Edits are on their way already; the room is left with the block of `connect`."""

    def depart(self, error: BaseException | None, timeout_s: float) -> None:
        """Take no more edits, and wait until all are saved.

        Raises:
            EditsNotSavedError, RoomDeletedError: some are not. Logged instead if `error` is under way.
        """
        with self._lock:
            self._has_left = True  # no thread is in the midst of an edit that nobody would wait for
        progress = self._exchange.progress
        if progress.wait_saved(timeout_s):
            return
        if progress.is_silent and progress.arrived >= progress.made and progress.fault is None:
            _log.warning(
                "room %r: the server has all edits, and does not say whether they are saved", self._room
            )
            return
        lost = progress.fault or EditsNotSavedError(
            self._room, progress.unsaved, self._why_unsaved(timeout_s)
        )
        if error is None:
            raise lost
        _log.error("%s", lost)

    def _why_unsaved(self, timeout_s: float) -> str:
        progress = self._exchange.progress
        if progress.is_failing:
            return "the storage of the room server fails"
        if progress.is_denied or not progress.is_open:
            return progress.reason or "there is no connection"
        return f"the server did not confirm them within {timeout_s:g} s"

    @contextmanager
    def _editing(self, key: str, *, begins_group: bool = True) -> Iterator[Replica]:
        """Yield the replica to edit, from before the look whether that may be until the edit is made.

        Each edit is undone by itself.
        """
        with self._lock:
            if self._has_left:
                raise RoomLeftError(self._room)
            if self.role == "viewer" or self._exchange.progress.is_denied:
                raise ViewOnlyError(self._room, key)
            replica = self.replica
            if begins_group:
                replica.begin_group()
            yield replica

    def _check_is_the_same(self) -> None:
        if self._exchange.progress.fault is not None:
            raise self._exchange.progress.fault
