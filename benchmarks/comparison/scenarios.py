"""Scenarios: actions in two tabs, and the part of their results that both tabs show.

Each scenario receives two tabs of a newly started app, and returns its entry in the table: counts, never times.
"""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.comparison.page import Page, both_show, until_quiet, within

PACE_MS = 400
SETTLE_S = 2.0
PEOPLE_DEADLINE_S = 45.0


@dataclass
class Stage:
    """Two tabs, and functions for a scenario."""

    a: Page
    b: Page
    rounds: int
    random: random.Random
    open: Callable[[str], Page]
    kill_and_restart: Callable[[], None]
    count_runs: Callable[[], int]

    @property
    def pair(self) -> tuple[Page, Page]:
        """The tabs in the order of their actions, random at each access."""
        return (self.a, self.b) if self.random.random() < 0.5 else (self.b, self.a)


def widgets(stage: Stage) -> str:
    """Both tabs commit different fields concurrently."""
    kept = 0
    for number in range(1, stage.rounds + 1):
        stage.a.field("Left").fill(f"l{number}")
        stage.b.field("Right").fill(f"r{number}")
        for page in stage.pair:
            page.field("Left" if page is stage.a else "Right").press("Enter")
        kept += both_show(stage.a, stage.b, [f"l{number}", f"r{number}"])
    return f"{kept} of {stage.rounds}"


def text(stage: Stage) -> str:
    """Both tabs add to the same text, one at its start and one at its end."""
    kept = 0
    for number in range(1, stage.rounds + 1):
        within(SETTLE_S, lambda: stage.a.shown == stage.b.shown)
        stage.a.field("Note").fill(f"a{number} {stage.a.field('Note').input_value()}")
        stage.b.field("Note").fill(f"{stage.b.field('Note').input_value()} b{number}")
        for page in stage.pair:
            page.field("Note").press("Control+Enter")
        kept += both_have(stage, {f"a{number}", f"b{number}"}, _marks)
    return f"{kept} of {stage.rounds}"


def choices(stage: Stage) -> str:
    """Each tab selects one more option of the same multiselect."""
    kept = 0
    for number in range(stage.rounds):
        within(SETTLE_S, lambda: stage.a.shown == stage.b.shown)
        for page, side in ((stage.a, "a"), (stage.b, "b")):
            page.field("Picked").fill(f"{side}{number}")
        for page in stage.pair:
            page.field("Picked").press("Enter")
        kept += both_have(stage, {f"a{number}", f"b{number}"}, lambda shown: shown)
    return f"{kept} of {stage.rounds}"


def counter(stage: Stage) -> str:
    """Both tabs click concurrently, in each round."""
    for number in range(1, stage.rounds + 1):
        for page in stage.pair:
            page.click("Count")
        within(SETTLE_S, lambda total=2 * number: stage.a.shown == stage.b.shown == total)  # type: ignore[misc]
    both_show(stage.a, stage.b, 2 * stage.rounds)
    shown = {stage.a.shown, stage.b.shown}
    return f"{' in one tab, '.join(map(str, sorted(shown)))} of {2 * stage.rounds}"


def swallowed(stage: Stage) -> str:
    """One tab clicks a private button, while the other makes edits."""
    for number in range(stage.rounds):
        stage.a.click("Mine")
        for part in range(3):
            stage.b.edit("Right", f"{number}.{part}")
            stage.b.page.wait_for_timeout(PACE_MS / 3 * stage.random.uniform(0.5, 1.5))
    within(SETTLE_S, lambda: bool(stage.a.shown and stage.a.shown[1] == stage.rounds))
    if not within(PEOPLE_DEADLINE_S, lambda: stage.a.shown is not None):
        return "the page is empty"
    return f"{stage.rounds - stage.a.shown[1]} of {stage.rounds}"


def kept(stage: Stage) -> str:
    """Set three values, kill and restart the process, and open a new tab."""
    stage.a.edit("Left", "l")
    both_show(stage.a, stage.b, ["l", "", None])
    stage.b.edit("Right", "r")
    both_show(stage.a, stage.b, ["l", "r", None])
    stage.a.click("Assign")
    if not both_show(stage.a, stage.b, ["l", "r", 42]):
        return f"not even before the kill: {stage.b.shown}"
    stage.kill_and_restart()
    page = stage.open("")
    within(SETTLE_S, lambda: bool(page.shown == ["l", "r", 42]))
    found = sum(a == b for a, b in zip(page.shown, ["l", "r", 42], strict=True))
    return f"{found} of 3"


def nothing(stage: Stage) -> str:
    """One tab assigns None, False, 0 and "" to new keys, then 1 to another key."""
    stage.a.click("Assign")
    within(SETTLE_S * 2, lambda: bool(stage.b.shown[1]))
    within(SETTLE_S, lambda: len(stage.b.shown[0]) == 4)
    return _all_but(stage.b.shown[0], ["none", "false", "zero", "empty"])


def deleted(stage: Stage) -> str:
    stage.a.click("Assign")
    if not both_show(stage.a, stage.b, True):
        return "not even the assignment"
    stage.a.click("Delete")
    return "yes" if both_show(stage.a, stage.b, False) else "no, it came back" if stage.a.shown else "no"


def frame(stage: Stage) -> str:
    stage.a.click("Assign")
    if both_show(stage.a, stage.b, 3):
        return "yes"
    failed = [page for page in (stage.a, stage.b) if page.has_failed]
    return failed[0].failure if failed else "no"


def volatile(stage: Stage) -> str:
    """An idle room whose script assigns the time in each run."""
    within(3 * SETTLE_S, lambda: stage.a.has_shown and stage.b.has_shown)
    stage.a.page.wait_for_timeout(5_000)
    before = stage.count_runs()
    stage.a.page.wait_for_timeout(20_000)
    counted = f"{(stage.count_runs() - before) * 3} runs a minute"
    return counted if stage.a.has_shown and stage.b.has_shown else f"{counted}, and an empty page"


def form(stage: Stage) -> str:
    """One tab submits a form with `clear_on_submit`. Then the other tab submits its form unchanged."""
    stage.a.edit("Wish", "tea")
    within(SETTLE_S, lambda: bool(stage.b.shown == "tea"))
    within(SETTLE_S, lambda: not stage.a.field("Wish").input_value() and not _wish(stage.b))
    shown = [_wish(stage.a), _wish(stage.b)]
    stage.b.click("Submit")
    within(SETTLE_S, lambda: bool(stage.a.shown == stage.b.shown == shown[1]))
    cleared = [name for name, left in zip(("submitter", "other"), shown, strict=True) if not left]
    is_equal = stage.b.shown == shown[1]
    result = "submits its visible values" if is_equal else "submits other values than it shows"
    return f"{' and '.join(cleared) or 'none'}; the other {result}"


def people(stage: Stage) -> str:
    """One of two tabs is closed. A third tab outside of the room reads the number of participants."""
    stage.b.close()
    observer = stage.open("?outside")

    def is_right() -> bool:
        observer.page.reload(wait_until="domcontentloaded")
        observer.wait_rendered()
        return bool(observer.shown == 1)

    is_exact = within(PEOPLE_DEADLINE_S, is_right)
    return "1, correct" if is_exact else f"{observer.shown}, after {PEOPLE_DEADLINE_S:g} s"


def _marks(shown: str) -> list[str]:
    """Return the inserted words, each a letter and a number. Concurrent inserts may have no space between them."""
    return re.findall(r"[ab]\d+", shown)


def both_have(stage: Stage, expected: set[str], parts: Callable[[Any], list[str]]) -> bool:
    kept = until_quiet(stage.a, stage.b, lambda shown: expected <= set(parts(shown or "")))
    if not kept:
        print(f"lost: one of {sorted(expected)}, in {stage.a.shown!r} and {stage.b.shown!r}", file=sys.stderr)
    return kept


def _wish(page: Page) -> str:
    return page.field("Wish").input_value()


def _all_but(found: list[str], expected: list[str]) -> str:
    missing = [name for name in expected if name not in found]
    return "all" if not missing else f"all but {', '.join(missing)}"


SCENARIOS: dict[str, tuple[Callable[[Stage], str], str]] = {
    "widgets": (widgets, "rounds in which both edits of two widgets are kept"),
    "text": (text, "rounds in which both edits of one text area are kept"),
    "choices": (choices, "rounds in which both selections in one multiselect are kept"),
    "counter": (counter, "clicks on a shared counter that count"),
    "swallowed": (swallowed, "clicks that are lost during edits of the other tab"),
    "kept": (kept, "values that are present after kill -9 and a restart"),
    "nothing": (nothing, "None, False, 0 and an empty text arrive"),
    "deleted": (deleted, "a deletion arrives"),
    "frame": (frame, "a DataFrame in the state"),
    "volatile": (volatile, "an idle room of two whose script assigns the time"),
    "form": (form, "tabs whose form clear_on_submit clears"),
    "people": (people, "number of people in the room after one of two has left"),
}
"""Case of the apps → scenario, and label in the table."""
