"""Metrics in the text format of Prometheus."""

from __future__ import annotations

from streamlit_crdt_server import Metrics


def test_every_metric_is_in_the_encoded_text() -> None:
    metrics = Metrics()
    metrics.rooms.set(2)
    metrics.connections.inc()
    metrics.updates.inc(5)
    metrics.saved_seconds.observe(0.003)
    metrics.store_errors.inc()
    metrics.set_aside.inc()
    metrics.refusals.labels("origin").inc()
    metrics.closes.labels("4400").inc()
    lines = metrics.encode().decode().splitlines()
    for line in (
        "streamlit_crdt_rooms 2.0",
        "streamlit_crdt_connections 1.0",
        "streamlit_crdt_updates_total 5.0",
        'streamlit_crdt_saved_seconds_bucket{le="0.005"} 1.0',
        "streamlit_crdt_store_errors_total 1.0",
        "streamlit_crdt_set_aside_total 1.0",
        'streamlit_crdt_refusals_total{reason="origin"} 1.0',
        'streamlit_crdt_closes_total{code="4400"} 1.0',
    ):
        assert line in lines


def test_metrics_of_two_hubs_are_separate() -> None:
    first, second = Metrics(), Metrics()
    first.updates.inc()
    assert "streamlit_crdt_updates_total 0.0" in second.encode().decode()
