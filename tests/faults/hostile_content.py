"""Hostile documents, room files and snapshots: random ones, in child processes, see `tests/support/hostile_trials`.

A room accepts or refuses each update of a document, and replicas that enter at different times read it alike. A file is
loaded as a whole, or refused and changes nothing. A trial that crashes, hangs or diverges is lost.
"""

from __future__ import annotations

from tests.faults.result import Budget, Result
from tests.support.hostile_trials import fuzz

FULL = 6000
KINDS = {
    "documents in order": ("random", True),
    "documents in any order": ("random", False),
    "files": ("files", False),
}


def run(seed: int, budget_s: float, trials: int = FULL) -> Result:
    """Try a third of the trials of each kind, within a third of the time."""
    budget = Budget(budget_s)
    failures, counts = list[str](), dict[str, int]()
    for number, (kind, (mode, in_order)) in enumerate(KINDS.items()):
        left_s = budget.left_s / (len(KINDS) - number)
        tried = fuzz(seed, left_s, trials // len(KINDS), mode=mode, in_order=in_order)
        counts[kind] = tried.tried
        failures += tried.failures
    return Result(
        campaign="hostile_content",
        seed=seed,
        budget_s=budget_s,
        took_s=budget.spent_s,
        tried=sum(counts.values()),
        full=FULL,
        lost=len(failures),
        failures=tuple(failures),
        counts=counts,
    )
