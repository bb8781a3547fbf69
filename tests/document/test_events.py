"""Event log: delivery, malformed events and deletion of outdated events."""

from __future__ import annotations

from typing import Any

import pytest

from streamlit_crdt.document.document import Document
from streamlit_crdt.document.events import EventLog
from streamlit_crdt.document.replica import Replica


@pytest.mark.parametrize("malformed", [{"name": [1], "payload": 2}, {"name": "ping"}, 3, {"payload": 1}])
def test_N2_malformed_event_is_ignored(malformed: Any) -> None:
    replica, events = Replica(), EventLog()
    events.join(replica)
    assert list(events.take(replica, "ping")) == []
    replica.add_event("z", malformed)
    assert not events.has_unread(replica) and list(events.take(replica, "ping")) == []


def test_outdated_events_are_deleted_at_any_sender_clock() -> None:
    now = 1_000_000.0
    replica, events = Replica(), EventLog(clock=lambda: now)
    events.join(replica)
    for number, at in enumerate((now + 10**9, float("nan"), now - 10**9, "soon", now - 300)):
        replica.add_event(f"other-{number}", {"name": "ping", "payload": None, "at": at})
    events.broadcast(replica, "ping", 1)
    assert [event_id for event_id in replica.events if event_id.startswith("other")] == ["other-4"]
    now += 100.0
    events.broadcast(replica, "ping", 2)
    assert len(replica.events) == 2, "own events are outdated after 60 s"


def test_frequent_broadcasts_scan_events_once(monkeypatch: pytest.MonkeyPatch) -> None:
    replica, events, read = Replica(), EventLog(clock=lambda: 1_000_000.0), list[int]()
    events.join(replica)
    native = Document.read_events
    monkeypatch.setattr(Document, "read_events", lambda self: read.append(1) or native(self))
    for _ in range(20):
        events.broadcast(replica, "ping", None)
    assert len(read) == 1
    assert len(replica.events) == 20
