"""Runner of the fault campaigns: `python -m tests.faults --budget 60 --seed 7 kills network`.

The budget is in seconds for all campaigns, and is shared by their weights. A campaign ends earlier when it reached the
count of a full run. The exit code is 1 if anything was lost.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Mapping, Sequence

from tests.faults.report import TITLES, store
from tests.faults.result import Result

WEIGHTS: Mapping[str, float] = {
    "kills": 900,
    "network": 900,
    "damaged_files": 300,
    "hostile_frames": 1200,
    "hostile_content": 900,
    "intrusion": 120,
    "disk_and_clock": 180,
    "churn": 1900,
}
"""Seconds of a full run on two cores."""

FULL_BUDGET_S = sum(WEIGHTS.values())


def run_campaign(name: str, seed: int, budget_s: float) -> Result:
    """Run one campaign, and print its result."""
    print(f"-- {name}, seed {seed}, {budget_s:.0f} s ...", flush=True)
    module = importlib.import_module(f"tests.faults.{name}")
    result: Result = module.run(seed, budget_s)
    print(
        f"-- {name}: {result.tried} of {result.full} faults, {result.lost} lost, {dict(result.counts)}, "
        f"stall {result.stall_ms} ms (calm {result.calm_stall_ms}), memory {result.memory_mb} MB, "
        f"{result.took_s:.0f} s",
        *result.failures,
        sep="\n     ",
        flush=True,
    )
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("campaigns", nargs="*", metavar="CAMPAIGN", help=f"default: {' '.join(TITLES)}")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--budget", type=float, default=FULL_BUDGET_S, metavar="S", help="seconds in all")
    parser.add_argument("--dry", action="store_true", help="write neither results nor table")
    chosen = parser.parse_args(arguments)
    names = chosen.campaigns or list(TITLES)
    if unknown := [name for name in names if name not in TITLES]:
        parser.error(f"unknown campaigns: {', '.join(unknown)}")
    share = chosen.budget / sum(WEIGHTS[name] for name in names)
    results = []
    for name in names:
        results.append(run_campaign(name, chosen.seed, WEIGHTS[name] * share))
        if not chosen.dry:
            store(results)
    return int(any(result.lost for result in results))


if __name__ == "__main__":
    sys.exit(main())
