"""Replica ids that their sessions have left, for later sessions of the same room.

Each replica id that ever wrote stays in a document for ever, and makes each edit, each join and each state vector a
little more expensive (rule N4). A session in this process therefore returns its id when it ends, and the next session
of the room continues with it. Three conditions make that safe:

- One replica has an id at a time. A session stops writing with it before it returns it.
- Everything that the id wrote is saved, so that the room has it.
- A session takes an id only if its document has exactly the clock with which the id was returned.

The ids of sessions in other processes are unknown here and never reused.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

MAX_IDS_PER_ROOM = 1000
"""Ids kept for one room. More were never in use at one time."""

MAX_ROOMS = 10_000
"""Rooms for which ids are kept, the last ones used. The others get new ids."""


class ReplicaIdPool:
    """The free replica ids of all rooms, with their clocks. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rooms: OrderedDict[tuple[str, str], dict[int, int]] = OrderedDict()

    def of(self, room: str, epoch: str) -> RoomReplicaIds:
        """Return the ids of one room in one epoch."""
        return RoomReplicaIds(self, (room, epoch))

    def take(self, key: tuple[str, str]) -> tuple[int, int] | None:
        """Remove and return an id and its clock, or None if there is none."""
        with self._lock:
            free = self._rooms.get(key)
            return free.popitem() if free else None

    def give_back(self, key: tuple[str, str], replica_id: int, clock: int) -> None:
        """Add an id with its clock. Its replica must not write with it any more."""
        with self._lock:
            free = self._rooms.setdefault(key, {})
            self._rooms.move_to_end(key)
            if len(free) < MAX_IDS_PER_ROOM:
                free[replica_id] = clock
            if len(self._rooms) > MAX_ROOMS:
                self._rooms.popitem(last=False)


class RoomReplicaIds:
    """The free replica ids of one room in one epoch. Thread-safe."""

    def __init__(self, pool: ReplicaIdPool, key: tuple[str, str]) -> None:
        self._pool = pool
        self._key = key

    def take(self) -> tuple[int, int] | None:
        """See `ReplicaIdPool.take`."""
        return self._pool.take(self._key)

    def give_back(self, replica_id: int, clock: int) -> None:
        """See `ReplicaIdPool.give_back`."""
        self._pool.give_back(self._key, replica_id, clock)
