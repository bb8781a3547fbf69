"""Gaps in the replica of one session: updates that wait for missing ones, and updates that were refused (rule S6).

A session has two peers: the room, if it is in this process, and the session's tab. Both can send everything again that
the replica lacks. The session has no clock of its own: it looks at its gaps in each run and for each frame of the tab.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final

from streamlit_crdt.document.replica import ROOM, TAB, Replica
from streamlit_crdt_server.gap_timer import FIRST_REQUEST_S, GapTimer

MAX_WAKE_S: Final = 2 * FIRST_REQUEST_S
"""Longest time in seconds to the next request for which the tab wakes the session. A gap that nobody can close then
costs three script runs of a fragment."""

MIN_WAKE_S: Final = 0.1
"""Shortest time in seconds, for a request that is due while the frame is built."""

_REFUSED: Final = "refused"


class ReplicaGaps:
    """The gaps of a replica. Calls must not overlap."""

    def __init__(self, replica: Replica, clock: Callable[[], float]) -> None:
        self._replica = replica
        self._clock = clock
        self._timer: GapTimer[str] = GapTimer(clock())
        self._oldest: int | None = None
        self._sender = TAB
        self._is_refused = False

    def note(self, origin: str) -> None:
        """Note that an update of `origin` was applied."""
        oldest = self._replica.oldest_pending
        if oldest != self._oldest:
            self._oldest, self._sender = oldest, origin

    def note_refusal(self) -> None:
        """Note that the replica refused an update, and may have dropped what was pending."""
        self._is_refused = True

    def note_whole_state(self) -> None:
        """Note that everything in the room was applied, or is applied next."""
        self._is_refused = False

    def take_request(self) -> frozenset[str]:
        """Return the origins to ask now for what the replica lacks."""
        gaps: dict[str, Hashable] = {}
        if self._replica.oldest_pending is not None:
            gaps[self._sender] = self._replica.oldest_pending
        if self._is_refused:
            gaps[_REFUSED] = _REFUSED
        request = self._timer.take(gaps, self._clock(), (ROOM, TAB))
        return frozenset((ROOM, TAB)) if request.is_for_all else request.senders

    @property
    def wake_s(self) -> float | None:
        """Seconds until a request is due for which the tab must wake the session. None if there is none."""
        wait_s = self._timer.wait_s(self._clock())
        return None if wait_s is None or wait_s > MAX_WAKE_S else max(wait_s, MIN_WAKE_S)
