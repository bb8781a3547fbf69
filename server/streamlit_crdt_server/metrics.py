"""What is counted, for Prometheus: each hub has a registry of its own, so that two hubs are not added up."""

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
"""From an idle disk to one that people notice."""


class Metrics:
    """The numbers of one hub.

    Attributes:
        rooms: Rooms in memory.
        connections: Sockets being served.
        updates: Updates that were applied.
        saved_seconds: From an update's arrival until it was saved.
        store_errors: Failures of the store; each may be a retry of the same update.
        set_aside: Stored updates that could not be read and were put aside.
        refusals: Connections that were not accepted, by `reason`; why is said here and in the log only.
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
        """All of them in Prometheus' text format, which `CONTENT_TYPE` names."""
        return generate_latest(self.registry)
