"""A few faults of each campaign, so that the campaigns keep working. The counts are those of `make faults`."""

from __future__ import annotations

import sys

import pytest

from tests.faults import (
    churn,
    damaged_files,
    disk_and_clock,
    hostile_content,
    hostile_frames,
    intrusion,
    kills,
    network,
)
from tests.faults.result import Result

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the campaigns use signals and /proc")

BUDGET_S = 120.0
"""Longest time of a campaign in seconds. Each ends much earlier, by its count."""


@pytest.fixture
def seed() -> int:
    """A fixed seed, so that `make test` is repeatable. `make faults` takes any."""
    return 1


def assert_nothing_lost(result: Result) -> None:
    print(result)
    assert result.tried > 0
    assert result.lost == 0, result.failures


def test_S4_damaged_files_lose_nothing_silently(seed: int) -> None:
    assert_nothing_lost(damaged_files.run(seed, BUDGET_S, rounds=25))


def test_S5_killed_servers_lose_no_saved_edit(seed: int) -> None:
    assert_nothing_lost(kills.run(seed, BUDGET_S, rounds=3))


def test_S5_network_faults_lose_no_saved_edit(seed: int) -> None:
    assert_nothing_lost(network.run(seed, BUDGET_S, rounds=6))


def test_N2_hostile_frames_stop_nobody(seed: int) -> None:
    result = hostile_frames.run(seed, BUDGET_S, frames=150)
    assert_nothing_lost(result)
    assert result.tried >= 150


def test_N2_hostile_documents_and_files_damage_nothing(seed: int) -> None:
    assert_nothing_lost(hostile_content.run(seed, BUDGET_S, trials=9))


def test_A2_attempts_to_get_in_are_refused(seed: int) -> None:
    assert_nothing_lost(intrusion.run(seed, BUDGET_S, rounds=40))


def test_N2_people_who_left_cost_nothing(seed: int) -> None:
    result = churn.run(seed, BUDGET_S, seconds=2.0)
    print(result)
    assert result.counts["saved edits"] > 0


def test_S4_disk_and_clock_faults_lose_no_saved_edit(seed: int) -> None:
    assert_nothing_lost(disk_and_clock.run(seed, BUDGET_S, rounds=2))
