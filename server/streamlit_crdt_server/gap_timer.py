"""Times at which the holder of pending updates requests the missing ones (rule S6). No I/O; the clock is an argument.

A *gap* is the oldest pending update of one sender. Its sender is asked first, because it has what it wrote on. Then all
peers are asked. Every request of a gap doubles the wait for the next one, so a gap that never closes costs next to
nothing. A participant that opens new gaps without end is asked alone; requests to all peers have a rate of their own.
"""

from __future__ import annotations

from collections.abc import Container, Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from streamlit_crdt_server.token_bucket import TokenBucket

Sender = TypeVar("Sender")

FIRST_REQUEST_S = 1.0
"""Seconds that a gap lasts before its sender is asked, and from then until all peers are. Reordered updates close
their gaps within milliseconds."""

REQUESTS_TO_ALL = 4
TO_ALL_PER_S = 1 / 30
"""Requests to all peers of one document: at once, and per second on average. One covers all gaps of the document. Each
peer answers with what the document lacks, and with every deletion that it knows."""


@dataclass(frozen=True, slots=True)
class GapRequest(Generic[Sender]):
    """Peers to ask for what the document lacks.

    Attributes:
        senders: The senders of gaps to ask.
        is_for_all: Whether all peers are asked, these included.
    """

    senders: frozenset[Sender]
    is_for_all: bool

    def __bool__(self) -> bool:
        return bool(self.senders) or self.is_for_all


@dataclass(slots=True)
class _Gap:
    oldest: Hashable
    due_at: float
    count: int = 0

    def record_request(self, now: float) -> None:
        self.due_at = now + FIRST_REQUEST_S * 2**self.count
        self.count += 1


class GapTimer(Generic[Sender]):
    """The gaps of one document and their next requests. Not thread-safe."""

    def __init__(self, now: float) -> None:
        self._gaps: dict[Sender, _Gap] = {}
        self._to_all = TokenBucket(TO_ALL_PER_S, REQUESTS_TO_ALL, now)
        self._to_all_at = now

    def wait_s(self, now: float) -> float | None:
        """Return the seconds until the next call of `take` may return a request. None without a gap."""
        due_at = min(map(self._due_at, self._gaps.values()), default=None)
        return None if due_at is None else max(0.0, due_at - now)

    def _due_at(self, gap: _Gap) -> float:
        return max(gap.due_at, self._to_all_at) if gap.count else gap.due_at

    def take(
        self, oldest: Mapping[Sender, Hashable], now: float, reachable: Container[Sender] | None = None
    ) -> GapRequest[Sender]:
        """Note the gaps, and return the request that is due now.

        Args:
            oldest: The oldest pending update of each sender that has one, under any identity.
            now: The time in seconds.
            reachable: The senders that can be asked. None: all of them. Without its sender, a gap concerns all peers.
        """
        self._note(oldest, now)
        due = {sender for sender, gap in self._gaps.items() if gap.due_at <= now}
        alone = {
            sender
            for sender in due
            if not self._gaps[sender].count and (reachable is None or sender in reachable)
        }
        is_for_all = due != alone and self._may_ask_all(now)
        for sender in due if is_for_all else alone:
            self._gaps[sender].record_request(now)
        return GapRequest(frozenset(alone), is_for_all)

    def _note(self, oldest: Mapping[Sender, Hashable], now: float) -> None:
        """Forget the gaps that have closed, and begin those that have opened."""
        for sender in self._gaps.keys() - oldest.keys():
            del self._gaps[sender]
        for sender, update in oldest.items():
            gap = self._gaps.get(sender)
            if gap is None or gap.oldest != update:
                self._gaps[sender] = _Gap(update, now + FIRST_REQUEST_S)

    def _may_ask_all(self, now: float) -> bool:
        """Return whether the rate allows a request to all peers. If not, the gaps wait for it."""
        if now < self._to_all_at:
            return False
        if not self._to_all.take(1, now):
            self._to_all_at = now + self._to_all.debt_s
            self._to_all.give_back(1)
            return False
        return True
