"""Growth of a document in bytes after many edits (N4), and of its stored form (S3)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from benchmarks.growth import WORKLOADS, Workload, measure
from streamlit_crdt.document.replica import Replica
from streamlit_crdt_server import Hub, Settings, SQLiteStore
from streamlit_crdt_server.storage.store import COMPACT_OVER_BYTES, COMPACT_RATIO

EDITS = 600


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_edit_history_stays_under_its_limit_per_edit(workload: Workload) -> None:
    grown = measure(workload, EDITS)
    assert grown.edits == EDITS
    assert grown.history_bytes_per_edit <= workload.max_bytes_per_edit, f"{len(grown.state)} bytes"


def test_document_size_is_independent_of_overwrites() -> None:
    often, seldom = measure(WORKLOADS[0], 10 * EDITS), measure(WORKLOADS[0], EDITS)
    assert len(often.state) <= len(seldom.state) + 8


@pytest.mark.anyio
async def test_S3_stored_bytes_are_limited_by_the_document_size(tmp_path: Path) -> None:
    session, store = Replica(), tmp_path / "rooms.db"
    sent_bytes = 0
    async with Hub(Settings(store=str(store), require_token=False)) as hub:
        peer = await asyncio.to_thread(hub.open_local, "room")
        for number in range(3_000):
            version = session.version
            session.set(f"key{number % 2}", f"{number} {'x' * 200}")
            update = session.update_since(version) or b""
            session.acknowledge(session.version)
            sent_bytes += len(update)
            pushed = peer.push(update)
            if number % 100 == 99:
                await asyncio.wrap_future(pushed)
        peer.close()
    async with SQLiteStore(store) as opened:
        stored_bytes = sum(map(len, (await opened.load("room")).updates))
    assert sent_bytes > 600_000
    assert stored_bytes <= max(COMPACT_OVER_BYTES, COMPACT_RATIO * len(session.diff())) + 100 * 300
