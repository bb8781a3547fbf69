"""Rooms that are rewritten when everybody has left (rule N4)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pycrdt import Doc, Map, XmlFragment, XmlText

from streamlit_crdt_server import CloseCode, Hub, MemoryStore, Settings, protocol
from streamlit_crdt_server.rewriting import kept_operations
from streamlit_crdt_server.storage.sqlite_store import SQLiteStore
from streamlit_crdt_server.storage.store import Store
from streamlit_crdt_server.yjs.update_decoder import decode_state_vector
from tests.server.support.fake_channel import DEADLINE_S, FakeChannel, until

pytestmark = pytest.mark.anyio

SETTINGS = Settings(require_token=False, evict_after_s=0.04, rewrite_over_bytes=1000)


class ReturningChannel(FakeChannel):
    """A channel of a client that states its epoch and its replica id."""

    def __init__(self, epoch: str | None = None, replica_id: int | None = None) -> None:
        super().__init__()
        self.epoch = epoch
        self.replica_id = replica_id


def with_past(client_id: int = 5, writes: int = 1000) -> Doc[Any]:
    document: Doc[Any] = Doc(client_id=client_id)
    for number in range(writes):
        document.get("state", type=Map)[f"key{number % 2}"] = number
    return document


async def visit(hub: Hub, update: bytes = b"\0\0") -> tuple[str, dict[str, Any], Doc[Any]]:
    """Enter the room, write, and leave. Return its epoch, its values and its document."""
    peer = await hub.aopen_local("room")
    await asyncio.wait_for(asyncio.wrap_future(peer.push(update)), DEADLINE_S)
    document: Doc[Any] = Doc()
    document.apply_update(peer.drain() or b"\0\0")
    document.apply_update(update)
    peer.close()
    return peer.epoch, document.get("state", type=Map).to_py() or {}, document


async def read(hub: Hub) -> None:
    """Enter the room and leave it."""
    (await hub.aopen_local("room")).close()


async def evicted(hub: Hub) -> None:
    await until(lambda: "room" not in hub.rooms)


@asynccontextmanager
async def rewritten(
    store: Store | None = None, settings: Settings = SETTINGS
) -> AsyncIterator[tuple[Hub, str, Doc[Any]]]:
    """A hub with a room that was rewritten, the epoch and the document before."""
    before = with_past()
    async with Hub(settings, store=store) as hub:
        epoch, _, _ = await visit(hub, before.get_update())
        await evicted(hub)
        yield hub, epoch, before


async def served(hub: Hub, channel: FakeChannel, *frames: bytes) -> None:
    """Serve a channel until the server closes it, or has handled the frames."""
    serving = asyncio.ensure_future(hub.serve(channel))
    for frame in frames:
        channel.put(frame)
    await until(lambda: channel.closed_with is not None or len(channel.sent) > len(frames))
    channel.leave()
    await asyncio.wait_for(serving, DEADLINE_S)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_N4_empty_room_is_rewritten_with_a_new_epoch(kind: str, tmp_path: Path) -> None:
    store = MemoryStore() if kind == "memory" else SQLiteStore(tmp_path / "rooms.db")
    async with rewritten(store) as (hub, epoch, before):
        stored = await store.load("room")
        assert 2 * sum(map(len, stored.updates)) < len(before.get_update())
        now, values, document = await visit(hub)
        assert now != epoch
        assert values == {"key0": 998, "key1": 999}
        assert before.client_id not in decode_state_vector(document.get_state())


async def test_N4_rewritten_room_is_loaded_after_a_restart(tmp_path: Path) -> None:
    async with rewritten(SQLiteStore(tmp_path / "rooms.db")) as (hub, epoch, _):
        now, values, _ = await visit(hub)
    async with Hub(SETTINGS, store=SQLiteStore(tmp_path / "rooms.db")) as hub:
        assert (await visit(hub))[:2] == (now, values)
        channel = ReturningChannel(epoch)
        await served(hub, channel)
        assert channel.closed_with == CloseCode.REWRITTEN


async def test_N4_room_that_is_only_read_is_rewritten(tmp_path: Path) -> None:
    async with Hub(replace(SETTINGS, rewrite_over_bytes=0), store=SQLiteStore(tmp_path / "rooms.db")) as hub:
        epoch, _, _ = await visit(hub, with_past().get_update())
    async with Hub(SETTINGS, store=SQLiteStore(tmp_path / "rooms.db")) as hub:
        await read(hub)
        await evicted(hub)
        peer = await hub.aopen_local("room")
        assert peer.epoch != epoch
        peer.close()


async def test_N4_client_of_the_former_epoch_learns_what_the_room_has() -> None:
    async with rewritten() as (hub, epoch, before):
        channel = ReturningChannel(epoch, before.client_id)
        await served(hub, channel)
        assert channel.closed_with == CloseCode.REWRITTEN
        assert kept_operations(channel.close_reason) == 1000
        unknown = ReturningChannel("ab" * 16)
        await served(hub, unknown)
        assert unknown.closed_with == CloseCode.OTHER_EPOCH


@pytest.mark.parametrize("first", ["state vector", "update"])
async def test_N4_former_document_without_an_epoch_is_not_merged(first: str) -> None:
    async with rewritten() as (hub, _, before):
        before.get("state", type=Map)["unsaved"] = 1
        channel = ReturningChannel()
        frame = (
            protocol.sync_step1(before.get_state())
            if first == "state vector"
            else protocol.sync_update(before.get_update())
        )
        await served(hub, channel, frame)
        assert channel.closed_with == CloseCode.REWRITTEN
        assert (await visit(hub))[1] == {"key0": 998, "key1": 999}


async def test_N4_new_client_without_an_epoch_is_served() -> None:
    async with rewritten() as (hub, _, _):
        document: Doc[Any] = Doc()
        document.get("state", type=Map)["new"] = 1
        channel = ReturningChannel()
        step1, update = protocol.sync_step1(b"\0"), protocol.sync_update(document.get_update())
        await served(hub, channel, step1, update)
        assert channel.closed_with is None
        assert (await visit(hub))[1] == {"key0": 998, "key1": 999, "new": 1}


async def test_N4_room_with_people_or_little_past_is_not_rewritten() -> None:
    async with Hub(SETTINGS) as hub:
        present = await hub.aopen_local("room")
        epoch, _, _ = await visit(hub, with_past().get_update())
        await asyncio.sleep(4 * SETTINGS.evict_after_s)
        assert (await visit(hub))[0] == epoch
        present.close()
    async with Hub(SETTINGS) as hub:
        document: Doc[Any] = Doc()
        document.get("state", type=Map).update({f"key{number}": number for number in range(500)})
        epoch, _, _ = await visit(hub, document.get_update())
        await evicted(hub)
        assert (await visit(hub))[0] == epoch


@pytest.mark.parametrize("limit", [0, 10**6])
async def test_N4_setting_limits_or_disables_rewriting(limit: int) -> None:
    settings = Settings(require_token=False, evict_after_s=0.04, rewrite_over_bytes=limit)
    async with rewritten(settings=settings) as (hub, epoch, _):
        assert (await visit(hub))[0] == epoch


async def test_N4_room_with_xml_is_not_rewritten() -> None:
    document = with_past()
    document.get("page", type=XmlFragment).children.append(XmlText("text"))
    async with Hub(SETTINGS) as hub:
        epoch, _, _ = await visit(hub, document.get_update())
        await evicted(hub)
        assert (await visit(hub))[0] == epoch
