"""All rooms of one server, and the way into them from sockets and from threads of this process.

It is a `WebsocketServer` of pycrdt-websocket: `rooms`, `serve(channel)`, `get_room(name)`, `start()`,
`stop()` and `async with hub:` are what people who know that library expect.

Asking a hub from a thread that is not its loop's, as Streamlit's scripts do.
"""

from __future__ import annotations

import asyncio
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
from pycrdt.websocket.yroom import ProviderFactory

from streamlit_crdt_server.auth.key_ring import check_keys, ring_from_settings
from streamlit_crdt_server.auth.tokens import KeyRing
from streamlit_crdt_server.errors import (
    AnswerTimeoutError,
    HubNotRunningError,
    OpenTimeoutError,
    ServerError,
    WrongThreadError,
)
from streamlit_crdt_server.hub.registry import RoomEntry, RoomListing
from streamlit_crdt_server.metrics import Metrics
from streamlit_crdt_server.names import check_room_name
from streamlit_crdt_server.protocol import CloseCode
from streamlit_crdt_server.room.peers import LocalPeer
from streamlit_crdt_server.settings import Settings
from streamlit_crdt_server.storage.store import Store
from streamlit_crdt_server.storage.store_url import open_store

T = TypeVar("T")


def begin(loop: asyncio.AbstractEventLoop | None, work: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
    """Have `work` done in the loop.

    Raises:
        HubNotRunningError: There is no loop, or it is closed.
        WrongThreadError: This is the loop's thread, which would wait for itself.
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
    may_stop: bool = True,
) -> T:
    """Have `work` done in the loop and return what it returns; raises what it raises, and as `begin` does.

    Args:
        may_stop: Whether it is told to stop when it takes too long. What writes is not: half done, it would leave
            memory and disk apart.

    Raises:
        AnswerTimeoutError: It took longer.
    """
    working = begin(loop, work)
    try:
        return working.result(timeout_s)
    except FutureTimeoutError as error:
        if may_stop:
            working.cancel()
        raise AnswerTimeoutError(timeout_s) from error


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The loop of this thread; None in a thread without one, and under trio."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class Hub(RoomListing):
    """Serves rooms for as long as it runs; use it as `async with hub:`. A hub runs once.

    Attributes:
        settings: The limits.
        store: Where the rooms' updates go. It is open for as long as the hub runs.
        keys: What tokens are verified with; None where there are none. Where no token is required, a good one tells
            whose a socket is.
        metrics: What is counted.
        loop: The event loop that it runs in; None while it does not run.
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
        """Make a hub; all arguments but `settings`, `store` and `keys` are those of `WebsocketServer`.

        Without settings it is a `WebsocketServer` and no more: who is let in is up to whoever hands it channels.

        Mends the faults of `auto_clean_rooms`, which is on as shipped: the last one who leaves takes the room
        with it, and what was not yet written. It is off here; if it is on, an empty room is flushed and its
        log is kept.

        Args:
            settings: The limits, and which store.
            store: Where the rooms' updates go, instead of what the settings name.

        Raises:
            SettingsError: The settings require tokens and there are no keys to verify them with.
        """
        keys = ring_from_settings(settings) if keys is None and settings is not None else keys
        check_keys(settings, keys)
        super().__init__(rooms_ready, auto_clean_rooms, exception_handler, log, provider_factory)
        self.settings = settings or Settings(require_token=False)
        self.store = open_store(self.settings.store) if store is None else store
        self.keys = keys
        self.metrics = Metrics()
        self.loop: asyncio.AbstractEventLoop | None = None
        self._is_draining = False
        self._deleting = {}
        self._failed_at = {}
        self._opened = AsyncExitStack()
        self._serving_count = 0
        self._nobody_served = Event()

    async def start(
        self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED, from_context_manager: bool = False
    ) -> None:
        """Run until `stop()`: the low-level way, as in `WebsocketServer`."""
        self.loop = running_loop()
        if from_context_manager:
            await super().start(task_status=task_status, from_context_manager=True)
            return
        async with self.store:
            await super().start(task_status=task_status)

    async def __aenter__(self) -> Self:
        """Open the store, and run.

        Raises:
            StoreError: The store cannot be opened; nothing was started.
        """
        async with AsyncExitStack() as opened:
            await opened.enter_async_context(self.store)
            await super().__aenter__()
            self._opened = opened.pop_all()
        return self

    async def drain(self) -> None:
        """Flush every room and close every socket with 1012; nobody is let in any more. May be called again.

        A store that fails holds this up for `flush_timeout_s`, however many rooms there are. It comes before
        the ASGI server is told to end, which otherwise waits for its sockets and closes them with 1011.
        """
        self._is_draining = True
        async with create_task_group() as tasks:
            for room in tuple(self.rooms.values()):
                tasks.start_soon(room.stop)
        with move_on_after(2 * self.settings.close_timeout_s):
            while self._serving_count:
                await self._nobody_served.wait()

    async def stop(self) -> None:
        """Drain, and end. Code inside `async with hub:` is cancelled by it. May be called again.

        Mends the shipped one, which cancels rooms with what they still had to send and write, leaves sockets
        to the ASGI server, and raises when it is called twice.
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

        Mends the shipped one, which deletes a room that others are just opening, and lets what goes wrong
        with one connection escape to the ASGI server, or to the task group of all.
        """
        self._serving_count += 1
        try:
            room = await self.get_room(websocket.path.removeprefix("/"))
            await room.serve(websocket)
            if self.auto_clean_rooms and not (room.peers or room.is_closed):
                await self.evict(room)
        except ServerError as error:
            self.log.warning("refused a connection: %s", error)
            await _close(websocket, CloseCode.TRY_AGAIN_LATER)
        except Exception as error:
            self._handle_exception(error)
        finally:
            self._serving_count -= 1
            if not self._serving_count:
                self._nobody_served.set()
                self._nobody_served = Event()

    def open_local(self, room: str, *, session: str | None = None, timeout_s: float = 5.0) -> LocalPeer:
        """Join a room from a thread that is not the loop's; blocks until the room is loaded.

        Args:
            session: What the token of its tab names as the session, so that the two are counted as one.

        Raises:
            RoomNameRefused, TooManyRoomsError, RoomUnavailableError: As `get_room`.
            HubNotRunningError: It is not started, or stopped.
            OpenTimeoutError: It took longer than `timeout_s`.
        """
        check_room_name(room)
        opening = begin(self.loop, lambda: self.aopen_local(room, session=session))
        try:
            return opening.result(timeout_s)
        except FutureTimeoutError as error:
            if not opening.cancel() and opening.exception() is None:
                opening.result().close()
            raise OpenTimeoutError(room, timeout_s) from error

    async def aopen_local(self, room: str, *, session: str | None = None) -> LocalPeer:
        """Join a room from the loop; see `open_local`."""
        loop = self.loop
        if loop is None:
            raise HubNotRunningError()
        opened = await self.get_room(room)
        await opened.ydoc_observed.wait()
        while opened.is_closed:  # it left memory at this very moment
            opened = await self.get_room(room)
            await opened.ydoc_observed.wait()
        return opened.open_local(partial(_post, loop), session=session)

    def list_rooms(self, namespace: str = "", *, timeout_s: float = 5.0) -> list[RoomEntry]:
        """Return what `find_rooms` does, from a thread that is not the loop's.

        Raises:
            StoreError: As `find_rooms`.
            HubNotRunningError: It is not started, or stopped.
            AnswerTimeoutError: It took longer than `timeout_s`.
        """
        return wait(self.loop, lambda: self.find_rooms(namespace), timeout_s)

    def delete_room_and_wait(self, name: str, *, timeout_s: float = 10.0) -> None:
        """Do what `delete_room` does, from a thread that is not the loop's; raises as that, and as `list_rooms`.

        After an `AnswerTimeoutError` the deletion goes on, to its end.
        """
        wait(self.loop, lambda: self.delete_room(name), timeout_s, may_stop=False)


def _post(loop: asyncio.AbstractEventLoop, task: Callable[[], None]) -> None:
    loop.call_soon_threadsafe(task)


async def _close(channel: Channel, code: CloseCode) -> None:
    close = getattr(channel, "close", None)
    if close is not None:
        await close(code)
