"""Which rooms there are, and how many people are in each: exactly."""

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


async def eventually_listed(hub: Hub, expected: dict[str, int]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while await listed(hub) != expected:
            await asyncio.sleep(0.002)


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[tuple[Hub, Any]]:
    chosen = Settings(host="0.0.0.0", **settings)
    async with Hub(chosen, keys=RING) as hub:
        yield hub, create_app(chosen, hub=hub, clock=lambda: NOW)


def tab_of(app: Any, session: str, room: str = "room") -> Any:
    """A socket with the token of a session's tab."""
    token = mint(RING, rooms={room: Role.EDITOR}, user="ada", name="Ada", session=session, ttl_s=600, now=NOW)
    return visit(app, Request(path=f"/{room}", query=f"token={token}"))


async def test_rooms_are_listed_by_name_with_how_many_are_in_each() -> None:
    async with Hub() as hub, connected(hub, "b"), connected(hub, "b"), connected(hub, "a"):
        assert await hub.find_rooms() == [RoomEntry("a", 1), RoomEntry("b", 2)]


async def test_a_room_that_never_held_anything_is_listed_only_while_somebody_is_in_it() -> None:
    async with Hub() as hub:
        peer = await hub.aopen_local("room")
        assert await listed(hub) == {"room": 1}
        peer.close()
        await eventually_listed(hub, {})


async def test_a_room_with_content_is_listed_when_everybody_has_left(tmp_path: Any) -> None:
    async with Hub(store=SQLiteStore(tmp_path / "rooms.db")) as hub:
        peer = await hub.aopen_local("room")
        peer.push(an_update())
        peer.close()
        await eventually_listed(hub, {"room": 0})
    async with Hub(store=SQLiteStore(tmp_path / "rooms.db")) as hub:
        assert await listed(hub) == {"room": 0}
        await hub.aopen_local("looked-at")
    async with Hub(store=SQLiteStore(tmp_path / "rooms.db")) as hub:
        assert await listed(hub) == {"room": 0}
        await hub.delete_room("room")
        assert await listed(hub) == {}
    async with Hub(store=SQLiteStore(tmp_path / "rooms.db")) as hub:
        assert await listed(hub) == {}, "it is gone from the disk as well"
        assert (await hub.aopen_local("room")).drain() is None


async def test_a_room_that_is_not_saved_yet_is_listed_too() -> None:
    store = UnreliableStore()
    async with Hub(store=store) as hub:
        store.can_write = False
        peer = await hub.aopen_local("room")
        peer.push(an_update())
        peer.close()
        await eventually_listed(hub, {"room": 0})
        store.can_write = True


async def test_a_namespace_sees_its_own_rooms_and_no_others() -> None:
    async with Hub() as hub:
        for name in ("shop~a", "shop~b", "shopping~a", "a"):
            await hub.aopen_local(name)
        assert await listed(hub, "shop") == {"a": 1, "b": 1}
        assert await listed(hub, "shopping") == {"a": 1}
        assert await listed(hub) == {"a": 1}
        assert await listed(hub, "sho") == {}


@pytest.mark.parametrize("require_token", [True, False], ids=["tokens", "no tokens"])
async def test_a_session_and_its_tab_are_counted_once(require_token: bool) -> None:
    async with serving(require_token=require_token) as (hub, app):
        await hub.aopen_local("room", session="s1")
        async with tab_of(app, "s1"), tab_of(app, "s2"):
            assert await listed(hub) == {"room": 2}
        await eventually_listed(hub, {"room": 1})


async def test_a_tab_stays_counted_while_its_session_is_away_for_a_moment() -> None:
    async with serving() as (hub, app):
        peer = await hub.aopen_local("room", session="s1")
        async with tab_of(app, "s1"):
            peer.close()
            await until(lambda: len(hub.rooms["room"].peers) == 1)  # type: ignore[attr-defined]
            assert await listed(hub) == {"room": 1}
        await eventually_listed(hub, {})


async def test_who_leaves_is_not_counted_until_the_tab_has_hung_up_but_when_coming_back() -> None:
    async with serving() as (hub, app), tab_of(app, "s1"), tab_of(app, "s2"):
        peer = await hub.aopen_local("room", session="s1")
        assert await listed(hub) == {"room": 2}
        peer.close(for_good=True)
        await eventually_listed(hub, {"room": 1})
        await hub.aopen_local("room", session="s1")
        assert await listed(hub) == {"room": 2}


async def test_a_tab_that_comes_back_before_its_old_socket_is_missed_is_counted_once() -> None:
    async with serving() as (hub, app), tab_of(app, "s1"), tab_of(app, "s1"):
        assert await listed(hub) == {"room": 1}


async def test_a_forged_name_counts_as_one_more_where_no_token_is_needed() -> None:
    async with serving(require_token=False) as (hub, app), AsyncExitStack() as stack:
        await hub.aopen_local("room", session="s1")
        for query in ("token=no.token.atall", ""):
            visited: Visit = await stack.enter_async_context(visit(app, Request(path="/room", query=query)))
            assert visited.close_code is None
        assert await listed(hub) == {"room": 3}


async def test_S4_a_store_that_fails_is_no_empty_list() -> None:
    class Failing(UnreliableStore):
        async def written(self) -> list[str]:
            raise StoreError("rooms.db", "disk on fire")

    async with Hub(store=Failing()) as hub, connected(hub):
        with pytest.raises(StoreError):
            await hub.find_rooms()


async def test_other_threads_can_list_and_delete_and_the_loops_own_may_not_wait() -> None:
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
    """A store whose disk is slow: it deletes once the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.may_delete = asyncio.Event()

    async def delete(self, room: str) -> None:
        await self.may_delete.wait()
        await super().delete(room)


async def test_S4_a_deletion_that_nobody_waits_for_any_more_comes_to_its_end() -> None:
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


async def test_a_thread_does_not_wait_for_ever() -> None:
    store = UnreliableStore()

    async def never() -> list[str]:
        await asyncio.Event().wait()
        return []

    store.written = never  # type: ignore[method-assign]
    async with Hub(store=store) as hub:
        with pytest.raises(AnswerTimeoutError):
            await asyncio.to_thread(hub.list_rooms, timeout_s=0.05)


async def test_a_peer_whose_server_stops_was_not_deleted() -> None:
    async with Hub() as hub:
        peer = await hub.aopen_local("room")
    assert (peer.is_closed, peer.was_deleted) == (True, False)


async def test_a_session_whose_tab_fell_silent_is_counted_no_more_until_either_is_heard_of() -> None:
    async with serving(silent_peer_timeout_s=0.05) as (hub, app):
        peer = await hub.aopen_local("room", session="s1")
        async with tab_of(app, "s1"):
            await eventually_listed(hub, {})
        peer.drain()
        assert await listed(hub) == {"room": 1}
        async with tab_of(app, "s1"):
            await eventually_listed(hub, {})
        async with tab_of(app, "s1"):
            assert await listed(hub) == {"room": 1}
