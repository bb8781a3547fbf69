"""Prometheus metrics. Each hub has its own registry, so that two hubs are not added up."""

from __future__ import annotations

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

CONTENT_TYPE = CONTENT_TYPE_LATEST

SAVED_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
"""Seconds, from an idle disk to a delay that users notice."""


class Metrics:
    """Metrics of one hub.

    Attributes:
        rooms: Rooms in memory.
        connections: Open sockets.
        updates: Applied updates.
        saved_seconds: Time from the arrival of an update until it was saved.
        store_errors: Failed calls of the store, retries of the same update included.
        set_aside: Stored updates that could not be read and were set aside.
        refusals: Refused connections by `reason`. The reason is only shown here and in the log.
        closes: Sockets that the server closed, by `code`.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.rooms = Gauge("streamlit_crdt_rooms", "Rooms in memory", registry=self.registry)
        self.connections = Gauge("streamlit_crdt_connections", "Sockets being served", registry=self.registry)
        self.updates = Counter("streamlit_crdt_updates", "Updates applied", registry=self.registry)
        self.saved_seconds = Histogram(
            "streamlit_crdt_saved_seconds",
            "From an update's arrival until it was saved",
            buckets=SAVED_BUCKETS_S,
            registry=self.registry,
        )
        self.store_errors = Counter(
            "streamlit_crdt_store_errors", "Failures of the store", registry=self.registry
        )
        self.set_aside = Counter(
            "streamlit_crdt_set_aside", "Stored updates that were put aside", registry=self.registry
        )
        self.refusals = Counter(
            "streamlit_crdt_refusals",
            "Connections that were not accepted",
            ["reason"],
            registry=self.registry,
        )
        self.closes = Counter(
            "streamlit_crdt_closes", "Sockets that the server closed", ["code"], registry=self.registry
        )

    def encode(self) -> bytes:
        """Encode all metrics in the text format of Prometheus, see `CONTENT_TYPE`."""
        return generate_latest(self.registry)
