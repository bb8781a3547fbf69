"""`python -m benchmarks [NAME ...] [--rounds N]`: run the benchmarks, all of them without a name."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from benchmarks import growth, latency

BENCHMARKS: dict[str, tuple[Callable[[int], None], int, str]] = {
    "latency": (
        latency.run,
        latency.DEFAULT_ROUNDS,
        "from an edit to the other tab's page, by the time to its own",
    ),
    "growth": (growth.run, growth.DEFAULT_ROUNDS, "what long use makes of a room's document"),
}
"""Name → what runs it, its rounds, and what it measures."""


def main() -> None:
    listed = "\n".join(
        f"  {name:10} {about} ({rounds} rounds)" for name, (_, rounds, about) in BENCHMARKS.items()
    )
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"benchmarks:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which ones; all if none is named")
    parser.add_argument("--rounds", type=int, help="measure each so often; few make it quick and noisy")
    chosen = parser.parse_args()
    unknown = [name for name in chosen.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]}: {', '.join(BENCHMARKS)}")
    if chosen.rounds is not None and chosen.rounds < 1:
        parser.error("--rounds must be at least 1")
    for name in chosen.names or BENCHMARKS:
        run, rounds, about = BENCHMARKS[name]
        print(f"{name}: {about}")
        run(chosen.rounds or rounds)


if __name__ == "__main__":
    main()
