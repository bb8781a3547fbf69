"""A rate limit that allows bursts. No I/O; the clock is an argument."""

from __future__ import annotations


class TokenBucket:
    """A rate limit: `per_s` on average, `burst` at once."""

    def __init__(self, per_s: float, burst: float, now: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._left = burst
        self._at = now

    def take(self, amount: float, now: float) -> bool:
        """Take `amount` from the bucket, and return whether it was available at `now`."""
        self._left = min(self._burst, self._left + (now - self._at) * self._per_s) - amount
        self._at = now
        return self._left >= 0

    @property
    def debt_s(self) -> float:
        """Seconds from the last `take` until what it took is available."""
        return max(0.0, -self._left / self._per_s)

    def give_back(self, amount: float) -> None:
        """Undo a `take`."""
        self._left += amount

    def is_full(self, now: float) -> bool:
        """Return whether nothing was taken for so long that the whole burst is available."""
        return self._left + (now - self._at) * self._per_s >= self._burst
