"""Summary of `make test`: counts of tests, and the exit code after a failure."""

from __future__ import annotations

import pytest

from tools.run_checks import parse_outcome, print_summary


@pytest.mark.parametrize(
    ("exit_code", "output", "passed", "failed"),
    [
        (0, "===== 12 passed, 1 skipped in 3.21s =====", 12, 0),
        (1, "===== 2 failed, 10 passed, 1 error in 3.21s =====", 10, 3),
        (0, " Test Files  3 passed (3)\n      Tests  41 passed (41)\n", 41, 0),
        (1, "      Tests  \x1b[31m1 failed\x1b[39m | 40 passed (41)\n", 40, 1),
        (0, "All checks passed!", 1, 0),
        (2, "make: *** [Makefile:1: lint] Error 1", 0, 1),
        (2, "===== 12 passed in 3.21s =====", 12, 1),
    ],
)
def test_tests_are_counted_and_other_targets_count_as_one(
    exit_code: int, output: str, passed: int, failed: int
) -> None:
    outcome = parse_outcome("target", exit_code, 1.0, output)
    assert (outcome.passed, outcome.failed) == (passed, failed)


def test_last_line_has_totals_and_one_failure_fails_all(capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = [
        parse_outcome("lint", 0, 1.0, ""),
        parse_outcome("test-py", 1, 2.0, "== 3 failed, 4 passed in 1s =="),
    ]
    assert print_summary(outcomes, 3.0) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "5 passed, 3 failed"
    assert print_summary(outcomes[:1], 1.0) == 0
