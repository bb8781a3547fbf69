"""A few faults of each campaign, so that the campaigns keep working. The counts are those of `make faults`."""

from __future__ import annotations

import random

import pytest

from tests.faults import damaged_files
from tests.faults.result import Result


@pytest.fixture
def seed() -> int:
    """A seed, which a failing test shows."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    return seed


def assert_nothing_lost(result: Result) -> None:
    print(result)
    assert result.tried > 0
    assert result.lost == 0, result.failures


def test_S4_damaged_files_lose_nothing_silently(seed: int) -> None:
    assert_nothing_lost(damaged_files.run(seed, 8.0, rounds=60))
