"""Replica ids that sessions have left (N4)."""

from __future__ import annotations

import asyncio

import pytest

from streamlit_crdt_server import Hub
from streamlit_crdt_server.hub.replica_ids import MAX_IDS_PER_ROOM, MAX_ROOMS, ReplicaIdPool


def test_N4_id_belongs_to_one_session_at_a_time() -> None:
    ids = ReplicaIdPool().of("room", "epoch")
    ids.give_back(5, 7)
    assert ids.take() == (5, 7)
    assert ids.take() is None


def test_N4_ids_belong_to_one_epoch_of_one_room() -> None:
    pool = ReplicaIdPool()
    pool.of("room", "epoch").give_back(5, 7)
    assert pool.of("other", "epoch").take() is pool.of("room", "later").take() is None


def test_N4_pool_is_bounded() -> None:
    pool = ReplicaIdPool()
    for number in range(MAX_ROOMS + 1):
        pool.of(f"room{number}", "epoch").give_back(number, 1)
    assert pool.of("room0", "epoch").take() is None
    ids = pool.of(f"room{MAX_ROOMS}", "epoch")
    for number in range(2 * MAX_IDS_PER_ROOM):
        ids.give_back(number, 1)
    assert sum(ids.take() is not None for _ in range(2 * MAX_IDS_PER_ROOM)) == MAX_IDS_PER_ROOM


@pytest.mark.anyio
async def test_N4_ids_outlive_the_eviction_of_their_room() -> None:
    async with Hub() as hub:
        peer = await hub.aopen_local("room")
        assert peer.replica_ids is not None
        peer.close()
        await hub.registry.evict(await hub.get_room("room"))
        peer.replica_ids.give_back(5, 7)
        later = await asyncio.wait_for(hub.aopen_local("room"), 10)
        assert later.replica_ids is not None and later.replica_ids.take() == (5, 7)
