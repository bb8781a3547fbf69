"""Result of one fault campaign, and the time that it may take."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

MAX_FAILURES_KEPT = 20
"""Descriptions of failures in a result. Further ones are counted only."""


@dataclass(frozen=True, slots=True)
class Result:
    """Counts of one campaign.

    Attributes:
        campaign: Name of its module.
        seed: Seed of its randomness.
        budget_s: Seconds that it was given.
        took_s: Seconds that it took.
        tried: Number of faults.
        full: Number of faults in a full run.
        lost: Saved edits that were lost, clients that diverged, attempts that got in. Must be 0.
        failures: Descriptions of the first of them, with the numbers that reproduce them.
        counts: Further counts by name.
        stall_ms: Longest time in ms that an edit in another room took to arrive.
        calm_stall_ms: The same on the same machine before the faults began.
        memory_mb: Highest resident memory of a server process in MB.
    """

    campaign: str
    seed: int
    budget_s: float
    took_s: float
    tried: int
    full: int
    lost: int
    failures: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    stall_ms: float | None = None
    calm_stall_ms: float | None = None
    memory_mb: float | None = None

    @property
    def is_full(self) -> bool:
        """True if the campaign reached the number of a full run."""
        return self.tried >= self.full

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {
            "failures": list(self.failures[:MAX_FAILURES_KEPT]),
            "counts": dict(self.counts),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        return cls(**(dict(stored) | {"failures": tuple(stored["failures"])}))


class Budget:
    """Time of a campaign, from its construction on."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._started_at = time.monotonic()

    @property
    def spent_s(self) -> float:
        return time.monotonic() - self._started_at

    @property
    def left_s(self) -> float:
        return self.seconds - self.spent_s

    @property
    def is_spent(self) -> bool:
        return self.left_s <= 0
