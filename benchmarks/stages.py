"""Stages of an edit from a key press in tab A to the page of tab B, and their tables."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mark:
    """A time stamp of a tab's page or session, in ms since 1970. `tab` is None for an event of the whole process."""

    tab: str | None
    event: str
    at_ms: float
    detail: str | float | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """One edit: milliseconds from the key press until each page shows it, and until each stage."""

    own_ms: float
    other_ms: float
    stages: dict[str, float | None]


STAGES: dict[str, tuple[str, str, str]] = {
    "A's browser sends it": ("A", "host-sent", "first"),
    "A's script starts": ("A", "script", "first"),
    "A's session pushes it to the room": ("A", "push", "first"),
    "A's script ends": ("A", "script-end", "first"),
    "A's page has all of the run": ("A", "host-received", "last"),
    "A's page shows it": ("A", "shown", "last"),
    "B's session has it queued": ("B", "deliver", "first"),
    "B's tab has it": ("B", "room-received", "first"),
    "B's tab requests a rerun": ("B", "host-sent", "first"),
    "B's fragment callback": ("B", "callback", "first"),
    "B's script starts": ("B", "script", "first"),
    "B's crdt_sync returns": ("B", "synced", "first"),
    "B's script ends": ("B", "script-end", "first"),
    "B's page has all of the run": ("B", "host-received", "last"),
    "B's page shows it": ("B", "shown", "last"),
}
"""Stage → tab, event, and whether to use its first or its last mark before the tab shows the value."""

PAUSES = "(full collections until then, in total)"


def follow(text: str, marks: Sequence[Mark]) -> Round:
    """Convert the marks of a round to milliseconds since the key press."""
    by_name: dict[tuple[str | None, str], list[float]] = {}
    for mark in marks:
        event = "shown" if mark.event == f"shown {text}" else mark.event
        by_name.setdefault((mark.tab, event), []).append(mark.at_ms)
    began = max(by_name["A", "key"])
    end = {tab: by_name[tab, "shown"][0] for tab in ("A", "B")}
    stages: dict[str, float | None] = {}
    for stage, (tab, event, which) in STAGES.items():
        times = sorted(t - began for t in by_name.get((tab, event), []) if began <= t <= end[tab])
        stages[stage] = None if not times else times[0 if which == "first" else -1]
    stages[PAUSES] = sum(
        float(mark.detail or 0)
        for mark in marks
        if mark.event == "collection" and began <= mark.at_ms <= end["B"]
    )
    return Round(end["A"] - began, end["B"] - began, stages)


def summary(results: dict[str, list[Round]]) -> Iterator[str]:
    yield f"{'milliseconds from the key press':34}{'own page':>16}{'other page':>16}{'other / own':>16}"
    yield f"{'':34}{'median    p90':>16}{'median    p90':>16}{'of the medians':>16}"
    for name, rounds in results.items():
        own, other = [r.own_ms for r in rounds], [r.other_ms for r in rounds]
        quotient = statistics.median(other) / statistics.median(own)
        yield f"{name:34}{_spread(own):>16}{_spread(other):>16}{quotient:>16.2f}"


def breakdown(results: dict[str, list[Round]]) -> Iterator[str]:
    yield "stages: median milliseconds from the key press until"
    numbers = {name: number for number, name in enumerate(results, 1)}
    for name, number in numbers.items():
        yield f"  ({number}) {name}"
    yield f"{'':42}" + "".join(f"{f'({number})':>8}" for number in numbers.values())
    for stage in (*STAGES, PAUSES):
        cells = [_median([r.stages[stage] for r in rounds]) for rounds in results.values()]
        yield f"{stage:42}" + "".join(f"{cell:>8}" for cell in cells)


def _spread(times: Sequence[float]) -> str:
    return f"{statistics.median(times):.0f}{_p90(times):>7.0f}"


def _p90(times: Sequence[float]) -> float:
    return statistics.quantiles(times, n=10, method="inclusive")[-1] if len(times) > 1 else times[0]


def _median(times: Sequence[float | None]) -> str:
    known = [time for time in times if time is not None]
    return f"{statistics.median(known):.0f}" if 2 * len(known) > len(times) else "-"
