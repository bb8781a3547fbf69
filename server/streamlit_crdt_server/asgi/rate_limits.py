"""Rate limits of a connection and limits of the number of connections. No I/O; the clock is an argument."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from streamlit_crdt_server.errors import TooManyConnectionsError
from streamlit_crdt_server.names import countable_address
from streamlit_crdt_server.settings import Settings
from streamlit_crdt_server.token_bucket import TokenBucket

BURST_S = 10.0
"""Seconds for which an unused rate accumulates. A paste and a reconnecting tab with unsaved edits need the burst."""


class RateExceededError(Exception):
    """Raised when a connection must be closed because it exceeded a rate for too long. Its text is the setting."""


class RateLimiter:
    """The rate limits of one connection: messages and bytes. It is read more slowly first, then closed."""

    def __init__(self, settings: Settings, now: float) -> None:
        messages_per_s = settings.max_messages_per_s_per_connection
        bytes_per_s = settings.max_bytes_per_s_per_connection
        self._messages = TokenBucket(messages_per_s, BURST_S * messages_per_s, now)
        self._max_throttled_s = settings.max_throttled_s_per_connection
        self._throttled_since: float | None = None
        # A frame of the largest size must pass at any rate.
        self._bytes = TokenBucket(bytes_per_s, max(BURST_S * bytes_per_s, 2 * settings.max_frame_bytes), now)

    def count(self, size_bytes: int, now: float) -> float:
        """Count a frame, and return the seconds for which the connection must not be read.

        Raises:
            RateExceededError: The connection has exceeded a rate for `max_throttled_s_per_connection`.
        """
        are_few, are_small = self._messages.take(1, now), self._bytes.take(size_bytes, now)
        if are_few and are_small:
            self._throttled_since = None
            return 0.0
        if self._throttled_since is None:
            self._throttled_since = now
        delay_s = max(self._messages.debt_s, self._bytes.debt_s)
        if now + delay_s - self._throttled_since > self._max_throttled_s:
            raise RateExceededError(
                "max_bytes_per_s_per_connection" if are_few else "max_messages_per_s_per_connection"
            )
        return delay_s


class ConnectionCounter:
    """The connections of one server, counted in total, by room, by user and by address."""

    def __init__(self, settings: Settings, max_accepted: int | None = None) -> None:
        """Create a counter.

        Args:
            settings: The limits per room, user and address.
            max_accepted: Limit of all connections. None sets no limit.
        """
        self._limits = {
            "server": sys.maxsize if max_accepted is None else max_accepted,
            "room": settings.max_connections_per_room,
            "user": settings.max_connections_per_user,
            "address": settings.max_connections_per_address,
        }
        self._counts: Counter[tuple[str, str]] = Counter()

    def check(self, *, room: str, user: str | None, address: str | None) -> None:
        """Raise TooManyConnectionsError if one more connection exceeds a limit."""
        for kind, name in _keys(room, user, address):
            if self._counts[kind, name] >= self._limits[kind]:
                raise TooManyConnectionsError(kind, name, self._limits[kind])

    @contextmanager
    def counted(self, *, room: str, user: str | None, address: str | None) -> Iterator[None]:
        """Count a connection during the block. A count of zero is removed, so that memory stays bounded."""
        keys = _keys(room, user, address)
        self._counts.update(keys)
        try:
            yield
        finally:
            for key in keys:
                self._counts[key] -= 1
                if not self._counts[key]:
                    del self._counts[key]

    def __len__(self) -> int:
        """Return the number of counters above zero: 0 without connections."""
        return len(self._counts)


def _keys(room: str, user: str | None, address: str | None) -> list[tuple[str, str]]:
    """Return the counters of a connection."""
    keys = [("server", ""), ("room", room)]
    if user is not None:
        keys.append(("user", user))
    counted = countable_address(address)
    if counted is not None:
        keys.append(("address", counted))
    return keys
