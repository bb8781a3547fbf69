"""Runs make targets and closes with one summary: `python tools/run_checks.py --side-by-side A B --alone C D`.

Why not make's own parallelism: its output would be interleaved, it stops or hides which part failed, and it cannot tell
how many tests ran. Each target's output goes to .test/logs/TARGET.log as it comes; the log of a target that failed is
printed whole, of the others the lines that count.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

LOGS = Path(".test/logs")
# pytest: "== 12 passed, 1 failed in 3.2s ==". vitest: "      Tests  12 passed | 1 failed (13)".
CLOSING_LINE = re.compile(
    r"^(=+ .*\b(passed|failed|error|errors)\b.* =+|\s+Tests\s.*\b(passed|failed)\b.*)$", re.MULTILINE
)
COUNT = re.compile(r"(\d+) (passed|failed|errors?)\b")
ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one target ended. `passed` and `failed` count tests, or the target itself where it has none."""

    target: str
    exit_code: int
    duration_s: float
    passed: int
    failed: int
    output: str


def run_target(target: str) -> Outcome:
    log = LOGS / f"{target}.log"
    print(f"-- {target} ...", flush=True)
    started = time.monotonic()
    with log.open("wb") as sink:
        exit_code = subprocess.run(
            ["make", "--no-print-directory", target],
            stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT, check=False,
        ).returncode  # fmt: skip
    outcome = judge(target, exit_code, time.monotonic() - started, log.read_text(errors="replace"))
    report(outcome)
    return outcome


def judge(target: str, exit_code: int, duration_s: float, output: str) -> Outcome:
    plain = ANSI.sub("", output)
    counts = {"passed": 0, "failed": 0}
    closing = [found.group(0) for found in CLOSING_LINE.finditer(plain)]
    for line in closing:
        for number, word in COUNT.findall(line):
            counts["passed" if word == "passed" else "failed"] += int(number)
    if not closing:
        counts["passed"] = int(exit_code == 0)
    if exit_code != 0 and counts["failed"] == 0:
        counts["failed"] = 1
    return Outcome(target, exit_code, duration_s, counts["passed"], counts["failed"], plain)


def report(outcome: Outcome) -> None:
    verdict = "ok" if outcome.exit_code == 0 else f"FAILED (exit code {outcome.exit_code})"
    text = outcome.output.rstrip() if outcome.exit_code else closing_lines(outcome.output)
    print(f"-- {outcome.target}: {verdict}, {outcome.duration_s:.0f} s\n{text}".rstrip(), flush=True)


def closing_lines(output: str) -> str:
    return "\n".join(found.group(0) for found in CLOSING_LINE.finditer(output))


def summarise(outcomes: Sequence[Outcome], total_s: float) -> int:
    """Print the closing summary, its last line one that CI reads; return the exit code."""
    print("\n== summary ==")
    for outcome in outcomes:
        mark = "ok    " if outcome.exit_code == 0 else "FAILED"
        print(
            f"{mark} {outcome.target:<16}{outcome.passed:>6} passed"
            f"{outcome.failed:>5} failed{outcome.duration_s:>6.0f} s"
        )
    print(f"took {total_s:.0f} s; logs are in {LOGS}/")
    print(f"{sum(o.passed for o in outcomes)} passed, {sum(o.failed for o in outcomes)} failed", flush=True)
    return int(any(outcome.exit_code for outcome in outcomes))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--side-by-side", nargs="*", default=[], metavar="TARGET", help="two at a time")
    parser.add_argument("--alone", nargs="*", default=[], metavar="TARGET", help="one after the other")
    chosen = parser.parse_args(arguments)
    LOGS.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with ThreadPoolExecutor(max_workers=2) as lanes:
        outcomes = list(lanes.map(run_target, chosen.side_by_side))
    outcomes += [run_target(target) for target in chosen.alone]
    return summarise(outcomes, time.monotonic() - started)


if __name__ == "__main__":
    sys.exit(main())
