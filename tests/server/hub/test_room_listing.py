"""Listing of rooms with exact participant counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from streamlit_crdt_server import (
    AnswerTimeoutError,
    Hub,
    HubNotRunningError,
    KeyRing,
    MemoryStore,
    Role,
    RoomEntry,
    Settings,
    SQLiteStore,
    StoreError,
    WrongThreadError,
    create_app,
    mint,
)
from tests.server.support.asgi import Request, Visit, visit
from tests.server.support.fake_channel import DEADLINE_S, Client, FakeChannel, connected, until
from tests.server.support.unreliable_store import UnreliableStore

pytestmark = pytest.mark.anyio

RING = KeyRing.from_secret("the secret of this server")
NOW = 1_800_000_000.0


def an_update() -> bytes:
    return Client(FakeChannel()).set("x", 1)


async def listed(hub: Hub, namespace: str = "") -> dict[str, int]:
    return {entry.name: entry.people for entry in await hub.find_rooms(namespace)}


async def until_listed(hub: Hub, expected: dict[str, int]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while await listed(hub) != expected:
            await asyncio.sleep(0.002)


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[tuple[Hub, Any]]:
    chosen = Settings(host="0.0.0.0", **settings)
    async with Hub(chosen, keys=RING) as hub:
        yield hub, create_app(chosen, hub=hub, clock=lambda: NOW)


def tab_of(app: Any, session: str, room: str = "room") -> Any:
    """Return a socket with the token of a session's tab."""
    token = mint(RING, rooms={room: Role.EDITOR}, user="ada", name="Ada", session=session, ttl_s=600, now=NOW)
    return visit(app, Request(path=f"/{room}", query=f"token={token}"))


async def test_rooms_are_listed_by_name_with_participant_counts() -> None:
    async with Hub() as hub, connected(hub, "b"), connected(hub, "b"), connected(hub, "a"):
        assert await hub.find_rooms() == [RoomEntry("a", 1), RoomEntry("b", 2)]


async def test_blank_room_is_listed_only_while_it_has_participants() -> None:
    async with Hub() as hub:
        peer = await hub.aopen_local("room")
        assert await listed(hub) == {"room": 1}
        peer.close()
        await until_listed(hub, {})


async def test_room_with_content_is_listed_without_participants(tmp_path: Any) -> None:
    async with Hub(store=SQLiteStore(tmp_path / "rooms.db")) as hub:
        peer = await hub.aopen_local("room")
        peer.push(an_update())
        peer.close()
        await until_listed(hub, {"room": 0})
    async with Hub(store=SQLiteStore(tmp_path / "rooms.db")) as hub:
        assert await listed(hub) == {"room": 0}
        await hub.aopen_local("looked-at")
    async with Hub(store=SQLiteStore(tmp_path / "rooms.db")) as hub:
        assert await listed(hub) == {"room": 0}
        await hub.delete_room("room")
        assert await listed(hub) == {}
    async with Hub(store=SQLiteStore(tmp_path / "rooms.db")) as hub:
        assert await listed(hub) == {}, "the room is still in the file"
        assert (await hub.aopen_local("room")).drain() is None


async def test_unsaved_room_is_listed() -> None:
    store = UnreliableStore()
    async with Hub(store=store) as hub:
        store.can_write = False
        peer = await hub.aopen_local("room")
        peer.push(an_update())
        peer.close()
        await until_listed(hub, {"room": 0})
        store.can_write = True


async def test_namespace_lists_its_own_rooms_only() -> None:
    async with Hub() as hub:
        for name in ("shop~a", "shop~b", "shopping~a", "a"):
            await hub.aopen_local(name)
        assert await listed(hub, "shop") == {"a": 1, "b": 1}
        assert await listed(hub, "shopping") == {"a": 1}
        assert await listed(hub) == {"a": 1}
        assert await listed(hub, "sho") == {}


@pytest.mark.parametrize("require_token", [True, False], ids=["tokens", "no tokens"])
async def test_session_and_its_tab_count_once(require_token: bool) -> None:
    async with serving(require_token=require_token) as (hub, app):
        await hub.aopen_local("room", session="s1")
        async with tab_of(app, "s1"), tab_of(app, "s2"):
            assert await listed(hub) == {"room": 2}
        await until_listed(hub, {"room": 1})


async def test_tab_counts_while_its_session_is_detached() -> None:
    async with serving() as (hub, app):
        peer = await hub.aopen_local("room", session="s1")
        async with tab_of(app, "s1"):
            peer.close()
            await until(lambda: len(hub.rooms["room"].peers) == 1)  # type: ignore[attr-defined]
            assert await listed(hub) == {"room": 1}
        await until_listed(hub, {})


async def test_session_that_left_for_good_does_not_count_until_it_returns() -> None:
    async with serving() as (hub, app), tab_of(app, "s1"), tab_of(app, "s2"):
        peer = await hub.aopen_local("room", session="s1")
        assert await listed(hub) == {"room": 2}
        peer.close(for_good=True)
        await until_listed(hub, {"room": 1})
        await hub.aopen_local("room", session="s1")
        assert await listed(hub) == {"room": 2}


async def test_reconnected_tab_beside_its_old_socket_counts_once() -> None:
    async with serving() as (hub, app), tab_of(app, "s1"), tab_of(app, "s1"):
        await until(lambda: len(hub.rooms["room"].peers) == 2 if "room" in hub.rooms else False)  # type: ignore[attr-defined]
        assert await listed(hub) == {"room": 1}


async def test_invalid_token_counts_as_a_separate_participant() -> None:
    async with serving(require_token=False) as (hub, app), AsyncExitStack() as stack:
        await hub.aopen_local("room", session="s1")
        for query in ("token=no.token.atall", ""):
            visited: Visit = await stack.enter_async_context(visit(app, Request(path="/room", query=query)))
            assert visited.close_code is None
        assert await listed(hub) == {"room": 3}


async def test_S4_failing_store_raises_instead_of_an_empty_list() -> None:
    class Failing(UnreliableStore):
        async def written(self) -> list[str]:
            raise StoreError("rooms.db", "disk on fire")

    async with Hub(store=Failing()) as hub, connected(hub):
        with pytest.raises(StoreError):
            await hub.find_rooms()


async def test_other_threads_list_and_delete_and_the_loop_thread_raises() -> None:
    hub = Hub()
    with pytest.raises(HubNotRunningError):
        hub.list_rooms()
    async with hub:
        peer = await hub.aopen_local("room")
        assert await asyncio.to_thread(hub.list_rooms) == [RoomEntry("room", 1)]
        await asyncio.to_thread(hub.delete_room_and_wait, "room")
        assert (peer.is_closed, peer.was_deleted) == (True, True)
        assert await asyncio.to_thread(hub.list_rooms) == []
        with pytest.raises(WrongThreadError):
            hub.list_rooms()


class SlowToDelete(MemoryStore):
    """A store that deletes only after the test allows it."""

    def __init__(self) -> None:
        super().__init__()
        self.may_delete = asyncio.Event()

    async def delete(self, room: str) -> None:
        await self.may_delete.wait()
        await super().delete(room)


async def test_S4_deletion_continues_after_its_caller_timed_out() -> None:
    store = SlowToDelete()
    async with Hub(store=store) as hub:
        peer = await hub.aopen_local("room")
        await asyncio.wrap_future(peer.push(an_update()))
        with pytest.raises(AnswerTimeoutError):
            await asyncio.to_thread(hub.delete_room_and_wait, "room", timeout_s=0.05)
        store.may_delete.set()
        async with asyncio.timeout(DEADLINE_S):
            while not peer.was_deleted:
                await asyncio.sleep(0.002)
        assert await listed(hub) == {}
        assert (await hub.aopen_local("room")).drain() is None


async def test_list_rooms_times_out() -> None:
    store = UnreliableStore()

    async def never() -> list[str]:
        await asyncio.Event().wait()
        return []

    store.written = never  # type: ignore[method-assign]
    async with Hub(store=store) as hub:
        with pytest.raises(AnswerTimeoutError):
            await asyncio.to_thread(hub.list_rooms, timeout_s=0.05)


async def test_was_deleted_is_false_after_a_server_stop() -> None:
    async with Hub() as hub:
        peer = await hub.aopen_local("room")
    assert (peer.is_closed, peer.was_deleted) == (True, False)


async def test_session_with_a_silent_tab_does_not_count_until_it_returns() -> None:
    async with serving(silent_peer_timeout_s=0.05) as (hub, app):
        peer = await hub.aopen_local("room", session="s1")
        async with tab_of(app, "s1"):
            await until_listed(hub, {})
        peer.drain()
        assert await listed(hub) == {"room": 1}
        async with tab_of(app, "s1"):
            await until_listed(hub, {})
        async with tab_of(app, "s1"):
            assert await listed(hub) == {"room": 1}
