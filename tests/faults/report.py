"""The results of the campaigns as a file, and as the table of `docs/reliability.md`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.faults.result import Result

RESULTS = Path(__file__).with_name("results.json")
PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"

TITLES: Mapping[str, str] = {
    "kills": "kill -9 of the server",
    "network": "network faults",
    "damaged_files": "damaged store files",
    "hostile_frames": "hostile frames",
    "hostile_content": "hostile documents and files",
    "intrusion": "attempts to get in",
    "disk_and_clock": "disk and clock faults",
    "churn": "seconds of people who come and go",
}
"""Campaigns by module, in the order of the table."""

WIDTH = 118


def read_results() -> list[Result]:
    """Return the stored results in the order of the table."""
    if not RESULTS.exists():
        return []
    stored = {entry["campaign"]: Result.from_json(entry) for entry in json.loads(RESULTS.read_text("utf-8"))}
    return [stored[name] for name in TITLES if name in stored]


def store(results: Sequence[Result]) -> None:
    """Replace the stored results of these campaigns, and the table."""
    merged = {result.campaign: result for result in [*read_results(), *results]}
    entries = [merged[name].to_json() for name in TITLES if name in merged]
    RESULTS.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{render(read_results())}\n{END}{after}", encoding="utf-8")


def render(results: Sequence[Result]) -> str:
    """Return the table and its notes as Markdown."""
    lines = [
        "",
        "| faults | tried | full run | lost | longest stall of another room | highest memory |",
        "|---|---|---|---|---|---|",
    ]
    lines += [_row(result) for result in results]
    lines += ["", *(line for result in results for line in _wrap(f"- {_note(result)}"))]
    unfinished = [TITLES[result.campaign] for result in results if not result.is_full]
    if unfinished:
        lines += ["", *_wrap(f"Not run at full count: {', '.join(unfinished)}.", indent="")]
    return "\n".join([*lines, ""])


def _row(result: Result) -> str:
    stall = "–" if result.stall_ms is None else f"{result.stall_ms:.0f} ms"
    if result.calm_stall_ms is not None:
        stall += f" ({result.calm_stall_ms:.0f} ms without faults)"
    memory = "–" if result.memory_mb is None else f"{result.memory_mb:.0f} MB"
    cells = [
        TITLES[result.campaign],
        _count(result.tried),
        _count(result.full),
        _count(result.lost),
        stall,
        memory,
    ]
    return f"| {' | '.join(cells)} |"


def _count(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def _note(result: Result) -> str:
    counts = ", ".join(f"{_count(number)} {name}" for name, number in result.counts.items() if number)
    failures = f" Lost: {'; '.join(result.failures[:3])}." if result.failures else ""
    return f"{TITLES[result.campaign]} (seed {result.seed}, {result.took_s:.0f} s): {counts or 'no counts'}.{failures}"


def _wrap(text: str, indent: str = "  ") -> list[str]:
    """Break a line between words at WIDTH characters."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > WIDTH:
            lines.append(indent + word)
        else:
            lines[-1] += f" {word}" if lines[-1] else word
    return lines
