"""Events of a room: broadcast once to each session that is in the room.

An event is an entry of the document. It is sent like an edit, and may be repeated or late like one. Each session
remembers the ids of the events it has read. A session that joins later does not get the earlier events. The sender of
an event deletes outdated ones.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from streamlit_crdt.codec.values import decode, encode
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.errors import ValueUnreadableError

_log = logging.getLogger("streamlit_crdt")

LIFETIME_S: Final = 60.0
"""Seconds that an event stays in the room, for sessions that reconnect. Measured by the clock of its sender."""

REMOTE_LIFETIME_S: Final = 600.0
"""Seconds after which a session deletes the event of another sender. Longer, because that clock may be wrong."""

CLEAR_INTERVAL_S: Final = 5.0
"""Seconds between two scans for outdated events by one sender. Each scan reads all events."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a room.

    Attributes:
        name: the name given to `broadcast`.
        payload: the value given to `broadcast`.
        is_self: whether this session sent the event.
    """

    name: str
    payload: Any
    is_self: bool


class EventLog:
    """The events of one room, for one session. Not thread-safe.

    Args:
        clock: returns the time in seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._read: set[str] | None = None
        self._requested: set[str] = set()
        self._numbers = itertools.count()
        self._clears_at = 0.0

    def join(self, replica: Replica) -> None:
        """Join the room. Mark all existing events as read, except this replica's own."""
        if self._read is None:
            own = f"{replica.birth_id:x}-"
            self._read = {event_id for event_id in replica.events if not event_id.startswith(own)}

    def begin_run(self) -> None:
        """Clear the requested names. Only the names that the current run requests cause a rerun."""
        self._requested.clear()

    def broadcast(self, replica: Replica, name: str, payload: Any) -> None:
        """Send an event to all sessions in the room.

        Raises:
            ValueNotShareableError: the payload has no stored form.
        """
        now = self._clock()
        prefix = f"{replica.birth_id:x}-"
        stored = {"name": name, "payload": encode(payload, key=None), "at": now}
        replica.add_event(f"{prefix}{next(self._numbers)}", stored, self._outdated(replica, now, prefix))

    def _outdated(self, replica: Replica, now: float, prefix: str) -> list[str]:
        """Return the ids of outdated events. Reads all events, and therefore at most once in `CLEAR_INTERVAL_S`."""
        if now < self._clears_at <= now + CLEAR_INTERVAL_S:
            return []
        self._clears_at = now + CLEAR_INTERVAL_S
        return [
            event_id
            for event_id, stored in replica.events.items()
            if not abs(now - _sent_at(stored))  # nan and a time in the future are outdated too
            <= (LIFETIME_S if event_id.startswith(prefix) else REMOTE_LIFETIME_S)
        ]

    def take(self, replica: Replica, name: str) -> Iterator[Event]:
        """Yield the unread events of a name. An event is marked as read when it is yielded."""
        self._requested.add(name)
        own = f"{replica.birth_id:x}-"
        for event_id, stored in self._unread(replica):
            if stored["name"] != name or self._read is None:
                continue
            self._read.add(event_id)
            try:
                payload = decode(stored["payload"])
            except ValueUnreadableError as error:
                _log.warning("event %r is unreadable and is skipped: %s", name, error)
                continue
            yield Event(name, payload, event_id.startswith(own))

    def has_unread(self, replica: Replica) -> bool:
        """Return whether there is an unread event of a name that the script requested in this run."""
        return bool(self._requested) and bool(self.unread_names(replica))

    def unread_names(self, replica: Replica) -> list[str]:
        """Return the sorted names of the unread events that the script requested in this run."""
        return sorted({stored["name"] for _, stored in self._unread(replica)} & self._requested)

    def start_over(self) -> None:
        """Leave the room. Its name now belongs to another document."""
        self._read = None

    def _unread(self, replica: Replica) -> list[tuple[str, dict[str, Any]]]:
        if self._read is None:
            return []
        events = replica.events
        self._read &= events.keys()
        unread = [
            (event_id, stored)
            for event_id, stored in events.items()
            if event_id not in self._read and _is_event(stored)
        ]
        return sorted(unread, key=lambda entry: (_sent_at(entry[1]), entry[0]))


def _is_event(stored: Any) -> bool:
    return isinstance(stored, dict) and isinstance(stored.get("name"), str) and "payload" in stored


def _sent_at(stored: Any) -> float:
    at = stored.get("at") if isinstance(stored, dict) else None
    return at if isinstance(at, float | int) else 0.0
