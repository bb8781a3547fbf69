"""Limits of new rooms per user and per address: their rate and their number.

A room is created when its name is opened for the first time, because clients then have its epoch. Without a limit, one
client could fill the store with names. An existing room is not affected: everyone whose token allows it can open it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from streamlit_crdt_server.errors import TooManyNewRoomsError
from streamlit_crdt_server.names import countable_address
from streamlit_crdt_server.settings import Settings
from streamlit_crdt_server.storage.disk_usage import DiskUsage
from streamlit_crdt_server.storage.room_owners import owner_of
from streamlit_crdt_server.token_bucket import TokenBucket

BURST_MIN = 5.0
"""Minutes for which an unused rate accumulates. A script that creates the rooms of a course needs the burst."""

MAX_BUCKETS = 10_000
"""Rates that are remembered. Above it, those that are not in use are dropped."""


@dataclass(frozen=True, slots=True)
class Creator:
    """The client that opens a room.

    Attributes:
        user: The user id of its token. None without a token.
        address: Its address. None if unknown.
    """

    user: str | None = None
    address: str | None = None


class CreationLimits:
    """The new rooms of one server by user and by address. Event loop only."""

    def __init__(
        self, settings: Settings, usage: DiskUsage, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._usage = usage
        self._clock = clock
        self._buckets: dict[tuple[str, str], TokenBucket] = {}
        self._created_from: dict[str, str] = {}
        self._rooms_from: Counter[str] = Counter()

    def create(self, room: str, creator: Creator) -> None:
        """Record a new room, unless its creator has created too many.

        Raises:
            TooManyNewRoomsError: A limit is reached. Nothing was recorded.
        """
        owner = None if creator.user is None else owner_of(creator.user)
        address = countable_address(creator.address)
        if owner is not None:
            self._check_number(room, "max_rooms_per_user", self._usage.rooms_of[owner])
        if address is not None:
            self._check_number(room, "max_rooms_per_address", self._rooms_from[address])
        if owner is not None:
            self._take(room, "max_new_rooms_per_min_per_user", owner)
        if address is not None:
            self._take(room, "max_new_rooms_per_min_per_address", address)
            self._created_from[room] = address
            self._rooms_from[address] += 1
        self._usage.create(room, owner)

    def delete(self, room: str) -> None:
        """Forget a room that was deleted."""
        self._usage.delete(room)
        address = self._created_from.pop(room, None)
        if address is not None:
            self._rooms_from[address] -= 1
            if not self._rooms_from[address]:
                del self._rooms_from[address]

    def _check_number(self, room: str, setting: str, count: int) -> None:
        limit: int = getattr(self._settings, setting)
        if count >= limit:
            raise TooManyNewRoomsError(room, setting, limit)

    def _take(self, room: str, setting: str, client: str) -> None:
        now, limit = self._clock(), getattr(self._settings, setting)
        bucket = self._buckets.get((setting, client))
        if bucket is None:
            if len(self._buckets) >= MAX_BUCKETS:
                self._buckets = {key: used for key, used in self._buckets.items() if not used.is_full(now)}
            bucket = self._buckets[setting, client] = TokenBucket(limit / 60, BURST_MIN * limit, now)
        if not bucket.take(1, now):
            bucket.give_back(1)  # a refused attempt does not delay the next
            raise TooManyNewRoomsError(room, setting, limit)
