"""Command line of the benchmarks: `python -m benchmarks [NAME ...] [--rounds N]`."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from benchmarks import costs, fairness, growth, latency, wire_bytes

BENCHMARKS: dict[str, tuple[Callable[[int], None], int, str]] = {
    "latency": (
        latency.run,
        latency.DEFAULT_ROUNDS,
        "time of an edit to the other tab's page, divided by that to its own page",
    ),
    "growth": (growth.run, growth.DEFAULT_ROUNDS, "size and load time of a room's document after long use"),
    "fairness": (
        fairness.run,
        fairness.DEFAULT_ROUNDS,
        "longest wait of another room while one participant does its worst",
    ),
    "costs": (
        costs.run,
        costs.DEFAULT_ROUNDS,
        "CPU time of one change and of one run, at 100 to 100 000 keys or items",
    ),
    "wire": (wire_bytes.run, wire_bytes.DEFAULT_ROUNDS, "bytes on the wire for one assigned value of 1 MB"),
}
"""Name → function, default rounds, and description."""


def main() -> None:
    descriptions = "\n".join(
        f"  {name:10} {about} ({rounds} rounds)" for name, (_, rounds, about) in BENCHMARKS.items()
    )
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"benchmarks:\n{descriptions}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks to run; all if none is given")
    parser.add_argument("--rounds", type=int, help="rounds of each benchmark; few rounds are fast and noisy")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"benchmark {unknown[0]} does not exist; choose from {', '.join(BENCHMARKS)}")
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds must be at least 1")
    for name in options.names or BENCHMARKS:
        run, rounds, about = BENCHMARKS[name]
        print(f"{name}: {about}")
        run(options.rounds or rounds)


if __name__ == "__main__":
    main()
