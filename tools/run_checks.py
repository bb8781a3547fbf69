"""Runner of make targets with a summary: `python tools/run_checks.py --side-by-side A B --alone C D`.

make's own parallelism interleaves the output, hides the failed target, and does not count tests. Here each target
writes to .test/logs/TARGET.log. The log of a failed target is printed completely, of the others the summary lines.
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
SUMMARY_LINE = re.compile(
    r"^(=+ .*\b(passed|failed|error|errors)\b.* =+|\s+Tests\s.*\b(passed|failed)\b.*)$", re.MULTILINE
)
COUNT = re.compile(r"(\d+) (passed|failed|errors?)\b")
ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a target. `passed` and `failed` count tests, or the target itself if it has no tests."""

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
    outcome = parse_outcome(target, exit_code, time.monotonic() - started, log.read_text(errors="replace"))
    report(outcome)
    return outcome


def parse_outcome(target: str, exit_code: int, duration_s: float, output: str) -> Outcome:
    plain = ANSI.sub("", output)
    counts = {"passed": 0, "failed": 0}
    summaries = [found.group(0) for found in SUMMARY_LINE.finditer(plain)]
    for line in summaries:
        for number, word in COUNT.findall(line):
            counts["passed" if word == "passed" else "failed"] += int(number)
    if not summaries:
        counts["passed"] = int(exit_code == 0)
    if exit_code != 0 and counts["failed"] == 0:
        counts["failed"] = 1
    return Outcome(target, exit_code, duration_s, counts["passed"], counts["failed"], plain)


def report(outcome: Outcome) -> None:
    status = "ok" if outcome.exit_code == 0 else f"FAILED (exit code {outcome.exit_code})"
    text = outcome.output.rstrip() if outcome.exit_code else summary_lines(outcome.output)
    print(f"-- {outcome.target}: {status}, {outcome.duration_s:.0f} s\n{text}".rstrip(), flush=True)


def summary_lines(output: str) -> str:
    return "\n".join(found.group(0) for found in SUMMARY_LINE.finditer(output))


def print_summary(outcomes: Sequence[Outcome], total_s: float) -> int:
    """Print the summary, whose last line is parsed by CI. Return the exit code."""
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
    parser.add_argument(
        "--side-by-side", nargs="*", default=[], metavar="TARGET", help="targets to run two at a time"
    )
    parser.add_argument(
        "--alone",
        nargs="*",
        default=[],
        metavar="TARGET",
        help="targets to run one at a time, after the others",
    )
    options = parser.parse_args(arguments)
    LOGS.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with ThreadPoolExecutor(max_workers=2) as lanes:
        outcomes = list(lanes.map(run_target, options.side_by_side))
    outcomes += [run_target(target) for target in options.alone]
    return print_summary(outcomes, time.monotonic() - started)


if __name__ == "__main__":
    sys.exit(main())
