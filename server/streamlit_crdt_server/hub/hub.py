"""All rooms of one server, for sockets and for threads of this process.

A `Hub` is a `WebsocketServer` of pycrdt-websocket: `rooms`, `serve(channel)`, `get_room(name)`, `start()`, `stop()` and
`async with hub:` keep their meaning. Each override names the bug of `WebsocketServer` that it fixes.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import AsyncExitStack
from functools import partial
from logging import Logger
from types import TracebackType
from typing import Any, Self, TypeVar

from anyio import TASK_STATUS_IGNORED, Event, create_task_group, move_on_after
from anyio.abc import TaskStatus
from pycrdt import Channel
from pycrdt.websocket import WebsocketServer, YRoom
from pycrdt.websocket.yroom import ProviderFactory

from streamlit_crdt_server.auth.key_ring import check_keys, ring_from_settings
from streamlit_crdt_server.auth.tokens import KeyRing
from streamlit_crdt_server.errors import (
    AnswerTimeoutError,
    HubNotRunningError,
    OpenTimeoutError,
    RoomUnavailableError,
    ServerError,
    StoreError,
    WrongThreadError,
)
from streamlit_crdt_server.hub.creation_limits import Creator
from streamlit_crdt_server.hub.registry import RoomEntry, RoomRegistry
from streamlit_crdt_server.hub.replica_ids import ReplicaIdPool
from streamlit_crdt_server.metrics import Metrics
from streamlit_crdt_server.names import check_room_name
from streamlit_crdt_server.protocol import CloseCode
from streamlit_crdt_server.room.peers import LocalPeer
from streamlit_crdt_server.room.room import Room
from streamlit_crdt_server.settings import Settings
from streamlit_crdt_server.storage.disk_usage import DiskUsage
from streamlit_crdt_server.storage.room_owners import OwnerFile
from streamlit_crdt_server.storage.sqlite_store import SQLiteStore
from streamlit_crdt_server.storage.store import Store
from streamlit_crdt_server.storage.store_url import open_store

T = TypeVar("T")


class Hub(WebsocketServer):
    """The rooms of one server and their start and stop. Use it as `async with hub:`. A hub runs once.

    The methods that block are for other threads, all others are for the event loop only.

    Attributes:
        settings: The limits.
        store: The store of the rooms' updates. It is open while the hub runs.
        keys: The keys that verify tokens. None if there are none. If no token is required, a valid one still gives
            the session of a socket.
        metrics: The counters.
        registry: Opens, evicts, deletes and lists rooms.
        loop: The event loop of the hub. None while it does not run.
        opened_at: Time at which the store was opened, in seconds since the Unix epoch. No server of the same store
            served a request later. Infinite before.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        store: Store | None = None,
        keys: KeyRing | None = None,
        rooms_ready: bool = True,
        auto_clean_rooms: bool = False,
        exception_handler: Callable[[Exception, Logger], bool] | None = None,
        log: Logger | None = None,
        provider_factory: ProviderFactory | None = None,
    ) -> None:
        """Create a hub. All arguments but `settings`, `store` and `keys` are those of `WebsocketServer`.

        Fixes `auto_clean_rooms` of `WebsocketServer`, which is on by default: the last client that leaves removes the
        room with its unwritten updates. Here it is off by default. If it is on, an empty room is flushed and its log
        is kept.

        Args:
            settings: The limits and the store. Without settings, the hub requires no tokens: its caller authorizes
                the channels that it serves.
            store: The store, instead of the one in the settings.
            keys: The keys that verify tokens, instead of those of the settings.

        Raises:
            SettingsError: The settings require tokens and there are no keys to verify them.
        """
        keys = ring_from_settings(settings) if keys is None and settings is not None else keys
        check_keys(settings, keys)
        super().__init__(rooms_ready, auto_clean_rooms, exception_handler, log, provider_factory)
        self.settings = settings or Settings(require_token=False)
        self.store = open_store(self.settings.store) if store is None else store
        self.keys = keys
        self.metrics = Metrics()
        self.registry = RoomRegistry(
            self.rooms,
            settings=self.settings,
            store=self.store,
            metrics=self.metrics,
            usage=_disk_usage(self.settings, self.store),
            log=self.log,
            rooms_ready=rooms_ready,
            exception_handler=exception_handler,
            provider_factory=provider_factory,
        )
        self.loop: asyncio.AbstractEventLoop | None = None
        self.opened_at = math.inf
        self._replica_ids = ReplicaIdPool()
        self._is_draining = False
        self._opened = AsyncExitStack()
        self._serving_count = 0
        self._all_served = Event()

    @property
    def is_open(self) -> bool:
        """True if the hub accepts connections: it runs and is not draining."""
        return self.running and not self._is_draining

    async def start(
        self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED, from_context_manager: bool = False
    ) -> None:
        """Run until `stop()`. The low-level API of `WebsocketServer`."""
        self.loop = running_loop()
        if from_context_manager:
            await super().start(task_status=task_status, from_context_manager=True)
            return
        async with self.store:
            self.opened_at = time.time()
            await super().start(task_status=task_status)

    async def __aenter__(self) -> Self:
        """Open the store and start.

        Raises:
            StoreError: The store could not be opened. Nothing was started.
        """
        async with AsyncExitStack() as opened:
            await opened.enter_async_context(self.store)
            self.opened_at = time.time()
            await self._load_usage()
            await super().__aenter__()
            self._opened = opened.pop_all()
        return self

    async def _load_usage(self) -> None:
        try:
            await self.registry.load_usage()
        except StoreError as error:  # a store that has just been opened; the first new room retries
            self.log.warning("the sizes of the rooms cannot be read: %s", error)

    async def drain(self) -> None:
        """Flush every room and close every socket with 1012. No connection is accepted afterwards.

        May be called repeatedly. A failing store delays it by `flush_timeout_s`, for any number of rooms. Call it
        before the ASGI server is stopped, which otherwise waits for its sockets and closes them with 1011.
        """
        self._is_draining = True
        async with create_task_group() as tasks:
            for room in tuple(self.rooms.values()):
                tasks.start_soon(room.stop)
        with move_on_after(2 * self.settings.close_timeout_s):
            while self._serving_count:
                await self._all_served.wait()

    async def stop(self) -> None:
        """Drain and end. Cancels the body of `async with hub:`. May be called repeatedly.

        Fixes `WebsocketServer`, which cancels rooms with unsent and unwritten updates, leaves sockets to the ASGI
        server, and raises on a second call.
        """
        if self._task_group is None:
            return
        await self.drain()
        self.loop = None
        await super().stop()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> bool | None:
        async with self._opened:  # the store closes last
            await self.stop()
            result: bool | None = await self._exit_stack.__aexit__(exc_type, exc_value, exc_tb)
        return result

    async def serve(self, websocket: Channel) -> None:
        """Serve one connection to the room that its path names, until either ends.

        Fixes `WebsocketServer`, which deletes a room that other clients are opening, and lets the failure of one
        connection reach the ASGI server or the task group of all connections.
        """
        self._serving_count += 1
        try:
            room = await self.get_room(_room_name(websocket))
            await room.serve(websocket)
            if self.auto_clean_rooms and not (room.peers or room.is_closed):
                await self.registry.evict(room)
        except ServerError as error:
            self.log.warning("refused a connection: %s", error)
            await _close(websocket, CloseCode.TRY_AGAIN_LATER)
        except Exception as error:
            self._handle_exception(error)
        finally:
            self._serving_count -= 1
            if not self._serving_count:
                self._all_served.set()
                self._all_served = Event()

    def check_can_open(self, name: str) -> None:
        """Raise unless room `name` could be opened now. Opens nothing.

        Raises:
            RoomNameRefused: The name is invalid.
            HubNotRunningError: The hub does not run or is draining.
            TooManyRoomsError, RoomUnavailableError: See `RoomRegistry.check_can_open`.
        """
        check_room_name(name)
        if not self.is_open:
            raise HubNotRunningError()
        self.registry.check_can_open(name)

    async def check_creation(self, name: str, creator: Creator) -> None:
        """Record the creator of a room that does not exist; see `RoomRegistry.check_creation`."""
        await self.registry.check_creation(name, creator)

    async def get_room(self, name: str) -> Room:
        """Return room `name`, loaded and observed. Opens it unless it is open.

        Fixes `WebsocketServer`, in which two clients that open a room at the same time both start it, and the second
        one waits forever.

        Raises:
            RoomNameRefused, HubNotRunningError, TooManyRoomsError, RoomUnavailableError: See `check_can_open`.
        """
        while True:
            self.check_can_open(name)
            room = await self.registry.obtain(name)
            try:
                await self.start_room(room)
            except RoomUnavailableError:
                if room.started.is_set():  # it left memory at the same moment
                    continue
                raise
            return room

    async def start_room(self, room: YRoom) -> None:
        """Start a room unless it is started, and wait until it can be joined.

        Fixes two bugs of `WebsocketServer`: the room runs in the task of the first caller, whose cancellation stops
        it for every client; and a room that fails stops the whole server.

        Raises:
            HubNotRunningError: The hub does not run.
            RoomUnavailableError: The room's log could not be loaded.
        """
        if self._task_group is None:
            raise HubNotRunningError()
        if isinstance(room, Room):
            await self.registry.start(room, self._task_group)
        else:
            await super().start_room(room)

    async def delete_room(self, name: str | None = None, *, room: YRoom | None = None) -> None:
        """Delete a room from memory and store. The next room of this name is empty and has another epoch.

        Every socket in it is closed with 4409 and does not reconnect by itself, so that no old content is merged into
        the new room.

        Fixes `WebsocketServer`, which raises for a room that is not in memory and keeps its log.

        Args:
            name: The room's name. Pass either `name` or `room`, as in `WebsocketServer`.
            room: The room.

        Raises:
            RoomNameRefused: The name is invalid.
            StoreError: The store failed. The room is unchanged.
        """
        found = self.get_room_name(room) if name is None and room is not None else name or ""
        await self.registry.delete(check_room_name(found))

    def open_local(
        self,
        room: str,
        *,
        session: str | None = None,
        creator: Creator | None = None,
        timeout_s: float = 5.0,
    ) -> LocalPeer:
        """Join a room from another thread. Blocks until the room is loaded.

        Args:
            session: The session in the token of the peer's tab. Both then count as one participant.
            creator: The client of the session, for the limits of new rooms. None sets no limit.

        Raises:
            TooManyNewRoomsError: The room does not exist, and its creator has created too many.
            RoomNameRefused, TooManyRoomsError, RoomUnavailableError: See `get_room`.
            HubNotRunningError: The hub does not run.
            OpenTimeoutError: The room was not open within `timeout_s`.
        """
        check_room_name(room)
        opening = schedule(self.loop, lambda: self.aopen_local(room, session=session, creator=creator))
        try:
            return opening.result(timeout_s)
        except FutureTimeoutError as error:
            if not opening.cancel() and opening.exception() is None:
                opening.result().close()
            raise OpenTimeoutError(room, timeout_s) from error

    async def aopen_local(
        self, room: str, *, session: str | None = None, creator: Creator | None = None
    ) -> LocalPeer:
        """Join a room from the event loop; see `open_local`."""
        loop = self.loop
        if loop is None:
            raise HubNotRunningError()
        if creator is not None:
            self.check_can_open(room)
            await self.check_creation(room, creator)
        opened = await self.get_room(room)
        await opened.ydoc_observed.wait()
        while opened.is_closed:  # evicted meanwhile
            opened = await self.get_room(room)
            await opened.ydoc_observed.wait()
        peer = opened.open_local(partial(_post, loop), session=session)
        peer.replica_ids = self._replica_ids.of(room, peer.epoch)
        return peer

    async def find_rooms(self, namespace: str = "") -> list[RoomEntry]:
        """Return the rooms of a namespace; see `RoomRegistry.list_entries`."""
        return await self.registry.list_entries(namespace)

    def list_rooms(self, namespace: str = "", *, timeout_s: float = 5.0) -> list[RoomEntry]:
        """Call `find_rooms` from another thread, and wait for the result.

        Raises:
            StoreError: The store failed.
            HubNotRunningError: The hub does not run.
            AnswerTimeoutError: It took longer than `timeout_s`.
        """
        return wait(self.loop, lambda: self.registry.list_entries(namespace), timeout_s)

    def delete_room_and_wait(self, name: str, *, timeout_s: float = 10.0) -> None:
        """Call `delete_room` from another thread, and wait for its end. Raises as `delete_room` and `list_rooms` do.

        After an `AnswerTimeoutError` the deletion continues to its end.
        """
        wait(self.loop, lambda: self.delete_room(name), timeout_s, may_cancel=False)


def schedule(loop: asyncio.AbstractEventLoop | None, work: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
    """Run a coroutine in an event loop, from another thread.

    Raises:
        HubNotRunningError: The loop is None or closed.
        WrongThreadError: The calling thread runs the loop and would wait for itself.
    """
    if loop is None or loop.is_closed():
        raise HubNotRunningError()
    if running_loop() is loop:
        raise WrongThreadError()
    return asyncio.run_coroutine_threadsafe(work(), loop)


def wait(
    loop: asyncio.AbstractEventLoop | None,
    work: Callable[[], Coroutine[Any, Any, T]],
    timeout_s: float,
    *,
    may_cancel: bool = True,
) -> T:
    """Run a coroutine in an event loop, from another thread, and return its result.

    Args:
        may_cancel: Whether the coroutine is cancelled after `timeout_s`. False for a write: half done, it would leave
            memory and store different.

    Raises:
        HubNotRunningError, WrongThreadError: See `schedule`.
        AnswerTimeoutError: It took longer than `timeout_s`.
    """
    working = schedule(loop, work)
    try:
        return working.result(timeout_s)
    except FutureTimeoutError as error:
        if may_cancel:
            working.cancel()
        raise AnswerTimeoutError(timeout_s) from error


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the asyncio loop of this thread. None in a thread without one, and under trio."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _disk_usage(settings: Settings, store: Store) -> DiskUsage:
    owner_file = OwnerFile(store.path) if isinstance(store, SQLiteStore) else None
    return DiskUsage(
        owner_file,
        max_room_bytes=settings.max_disk_bytes_per_room,
        max_user_bytes=settings.max_disk_bytes_per_user,
    )


def _room_name(channel: Channel) -> str:
    """Return the room of a channel: its `room_name`, or its path without the first slash. A name may begin with one."""
    name = getattr(channel, "room_name", None)
    return channel.path.removeprefix("/") if name is None else str(name)


def _post(loop: asyncio.AbstractEventLoop, task: Callable[[], None]) -> None:
    loop.call_soon_threadsafe(task)


async def _close(channel: Channel, code: CloseCode) -> None:
    close = getattr(channel, "close", None)
    if close is not None:
        await close(code)
