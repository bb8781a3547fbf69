"""At most one line per second and kind."""

from __future__ import annotations

import logging

import pytest

from streamlit_crdt_server.throttled_log import ThrottledLog


def test_one_line_per_second_and_kind_counts_the_others(caplog: pytest.LogCaptureFixture) -> None:
    now = 100.0
    log = ThrottledLog(logging.getLogger("test"), clock=lambda: now)
    for number in range(1000):
        log.warning("a", "refused %d", number)
    log.warning("b", "other")
    now += 1
    for number in range(5):
        log.warning("a", "refused %d", number)
    now += 5
    log.warning("a", "refused %d", 7)
    assert caplog.messages == [
        "refused 0",
        "other",
        "refused 0 (and 999 more like this)",
        "refused 7 (and 4 more like this)",
    ]
