"""The table of the fault campaigns in the documentation."""

from __future__ import annotations

from tests.faults.__main__ import WEIGHTS
from tests.faults.report import BEGIN, END, PAGE, TITLES, read_results, render
from tests.faults.result import Result

RESULT = Result(
    "damaged_files", 7, 60.0, 59.0, 40, 500, 0, counts={"during compaction": 8}, stall_ms=12.4, memory_mb=80
)


def test_table_in_the_documentation_shows_the_stored_results() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.partition(BEGIN)[2].partition(END)[0].strip() == render(read_results()).strip()


def test_short_run_is_marked_in_the_table() -> None:
    assert "Not run at full count: damaged store files." in render([RESULT])
    assert "| damaged store files | 40 | 500 | 0 | 12 ms | 80 MB |" in render([RESULT])


def test_loss_is_shown_with_its_description() -> None:
    assert "Lost: round 3: cut." in render(
        [Result("damaged_files", 7, 60.0, 59.0, 500, 500, 1, ("round 3: cut",))]
    )


def test_every_campaign_has_a_share_of_the_budget() -> None:
    assert WEIGHTS.keys() == TITLES.keys()
