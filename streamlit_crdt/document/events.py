"""EventLog: what everybody who is in a room hears of once, and nobody who comes later.

An event is an entry in the document, so that it takes the same ways as an edit, and may be repeated or come late like
one. Each session remembers which it has seen. Who broadcasts takes out what is too old for anybody to wait for.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from streamlit_crdt.codec.values import decode, encode
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.errors import ValueUnreadableError

_log = logging.getLogger("streamlit_crdt")

KEPT_S: Final = 60.0
"""So long an event stays in the room for those who have just lost the connection, by its sender's clock."""

KEPT_OF_OTHERS_S: Final = 600.0
"""The same where another one sent it, whose clock may be wrong."""

CLEARED_EVERY_S: Final = 5.0
"""Who broadcasts often looks that often for events that are too old."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that was broadcast.

    Attributes:
        name: what it was broadcast as.
        payload: what came with it.
        is_self: whether this session broadcast it.
    """

    name: str
    payload: Any
    is_self: bool


class EventLog:
    """The events of one room, for one session. Not thread-safe."""

    def __init__(self) -> None:
        self._seen: set[str] | None = None
        self._asked: set[str] = set()
        self._numbers = itertools.count()
        self._clears_at = 0.0

    def arrive(self, replica: Replica) -> None:
        """Be in the room from now on: what was broadcast before is not for this session."""
        if self._seen is None:
            own = f"{replica.replica_id:x}-"
            self._seen = {event_id for event_id in replica.events if not event_id.startswith(own)}

    def begin_run(self) -> None:
        """Forget what the script has asked for: it is run for what it asks for in its present run."""
        self._asked.clear()

    def broadcast(self, replica: Replica, name: str, payload: Any) -> None:
        """Tell everybody who is in the room.

        Raises:
            ValueNotShareableError: the payload has no shared form.
        """
        now = time.time()
        prefix = f"{replica.replica_id:x}-"
        stored = {"name": name, "payload": encode(payload, key=None), "at": now}
        replica.post(f"{prefix}{next(self._numbers)}", stored, self._outdated(replica, now, prefix))

    def _outdated(self, replica: Replica, now: float, prefix: str) -> list[str]:
        """Return what is to be taken out; seldom, because all events are looked at for it."""
        if now < self._clears_at <= now + CLEARED_EVERY_S:
            return []
        self._clears_at = now + CLEARED_EVERY_S
        return [
            event_id
            for event_id, stored in replica.events.items()
            if not abs(now - _sent_at(stored))  # not a number, or of a time to come, is outdated as well
            <= (KEPT_S if event_id.startswith(prefix) else KEPT_OF_OTHERS_S)
        ]

    def take(self, replica: Replica, name: str) -> Iterator[Event]:
        """Yield what was broadcast under `name` and was not yielded here before; each counts as seen when yielded."""
        self._asked.add(name)
        own = f"{replica.replica_id:x}-"
        for event_id, stored in self._unseen(replica):
            if stored["name"] != name or self._seen is None:
                continue
            self._seen.add(event_id)
            try:
                payload = decode(stored["payload"])
            except ValueUnreadableError as error:
                _log.warning("an event %r cannot be read here and is left out: %s", name, error)
                continue
            yield Event(name, payload, event_id.startswith(own))

    def has_news(self, replica: Replica) -> bool:
        """Say whether there is an event that the script would be told of."""
        return bool(self._asked) and bool(self.news(replica))

    def news(self, replica: Replica) -> list[str]:
        """Return the names of such events, sorted."""
        return sorted({stored["name"] for _, stored in self._unseen(replica)} & self._asked)

    def start_over(self) -> None:
        """Be in no room: another one has begun in the place of the former."""
        self._seen = None

    def _unseen(self, replica: Replica) -> list[tuple[str, dict[str, Any]]]:
        if self._seen is None:
            return []
        events = replica.events
        self._seen &= events.keys()
        unseen = [
            (event_id, stored)
            for event_id, stored in events.items()
            if event_id not in self._seen and _is_event(stored)
        ]
        return sorted(unseen, key=lambda entry: (_sent_at(entry[1]), entry[0]))


def _is_event(stored: Any) -> bool:
    return isinstance(stored, dict) and isinstance(stored.get("name"), str) and "payload" in stored


def _sent_at(stored: Any) -> float:
    at = stored.get("at") if isinstance(stored, dict) else None
    return at if isinstance(at, float | int) else 0.0
