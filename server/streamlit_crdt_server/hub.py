"""All rooms of one server, and the way into them from sockets and from threads of this process.

It is a `WebsocketServer` of pycrdt-websocket: `rooms`, `serve(channel)`, `get_room(name)`, `start()`,
`stop()` and `async with hub:` are what people who know that library expect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import partial
from logging import Logger
from types import TracebackType

from anyio import TASK_STATUS_IGNORED, Event, move_on_after
from anyio.abc import TaskStatus
from pycrdt import Channel
from pycrdt.websocket import WebsocketServer, YRoom
from pycrdt.websocket.yroom import ProviderFactory

from streamlit_crdt_server.errors import (
    HubNotRunningError,
    OpenTimeoutError,
    RoomUnavailableError,
    ServerError,
    TooManyRoomsError,
    WrongThreadError,
)
from streamlit_crdt_server.keys import check_keys
from streamlit_crdt_server.local import LocalPeer
from streamlit_crdt_server.metrics import Metrics
from streamlit_crdt_server.names import check_room_name
from streamlit_crdt_server.protocol import CloseCode
from streamlit_crdt_server.rooms import Room
from streamlit_crdt_server.settings import Settings
from streamlit_crdt_server.store import MemoryStore, Store
from streamlit_crdt_server.token import KeyRing


class Hub(WebsocketServer):
    """Serves rooms for as long as it runs; use it as `async with hub:`. A hub runs once.

    Attributes:
        settings: The limits.
        store: Where the rooms' updates go.
        keys: What tokens are verified with; None where none are required.
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

        Raises:
            SettingsError: The settings require tokens and there are no keys to verify them with.
        """
        check_keys(settings, keys)
        super().__init__(rooms_ready, auto_clean_rooms, exception_handler, log, provider_factory)
        self.settings = settings or Settings(require_token=False)
        self.store: Store = store or MemoryStore()
        self.keys = keys
        self.metrics = Metrics()
        self.loop: asyncio.AbstractEventLoop | None = None
        self._is_draining = False
        self._serving_count = 0
        self._nobody_served = Event()

    @property
    def is_open(self) -> bool:
        """Whether it takes connections: it runs and is not about to stop."""
        return self.running and not self._is_draining

    async def start(
        self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED, from_context_manager: bool = False
    ) -> None:
        """Run until `stop()`: the low-level way, as in `WebsocketServer`."""
        self.loop = _running_loop()
        await super().start(task_status=task_status, from_context_manager=from_context_manager)

    async def drain(self) -> None:
        """Flush every room and close every socket with 1012; nobody is let in any more. May be called again.

        It comes before the ASGI server is told to end, which otherwise waits for its sockets and closes them
        with 1011.
        """
        self._is_draining = True
        for room in tuple(self.rooms.values()):
            await room.stop()
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
        await self.stop()
        result: bool | None = await self._exit_stack.__aexit__(exc_type, exc_value, exc_tb)
        return result

    def check_can_open(self, name: str) -> None:
        """Raise a ServerError unless somebody could be let into room `name` now. Opens nothing."""
        check_room_name(name)
        if not self.is_open:
            raise HubNotRunningError()
        if (
            name not in self.rooms
            and len(self.rooms) >= self.settings.max_rooms
            and self._find_blank() is None
        ):
            raise TooManyRoomsError(name, self.settings.max_rooms)

    async def get_room(self, name: str) -> Room:
        """Return the room called `name`, loaded and observed; open it if it is not.

        Mends the shipped one, in which two who open a room at the same time both start it, and the second
        waits for ever.

        Raises:
            RoomNameRefused, TooManyRoomsError, HubNotRunningError, RoomUnavailableError
        """
        self.check_can_open(name)
        while (room := self._room(name)) is not None and room.is_closed:
            await room.ended.wait()  # its last updates must be in the log before it is loaded again
        if room is None:
            while len(self.rooms) >= self.settings.max_rooms and (blank := self._find_blank()) is not None:
                await self.delete_room(room=blank)
            room = self._room(name) or self._add_room(name)
        await self.start_room(room)
        return room

    async def start_room(self, room: YRoom) -> None:
        """Start a room unless it is started, and wait until it is.

        Mends two faults of the shipped one. The room ran in the task of whoever asked first, whose leaving
        at once stopped it for everybody; and a room that failed took the whole server down with it.
        """
        if self._task_group is None:
            raise HubNotRunningError()
        if not isinstance(room, Room):
            await super().start_room(room)
            return
        if not (room.is_scheduled or room.started.is_set()):
            room.is_scheduled = True
            self._task_group.start_soon(self._run_room, room)
        await room.opened.wait()
        if room.is_closed:
            raise RoomUnavailableError(room.name)

    async def delete_room(self, *, name: str | None = None, room: YRoom | None = None) -> None:
        """Close a room and forget its content; one of `name` and `room` is given, as in `WebsocketServer`."""
        found = room if name is None else self.rooms.get(name)
        if isinstance(found, Room):
            await self.evict(found)
            await self.store.delete(found.name)

    async def evict(self, room: Room) -> None:
        """Flush a room and take it out of memory (rule S2); whoever opens it next loads its log."""
        await room.stop()
        if room.is_scheduled:
            await room.ended.wait()

    async def serve(self, websocket: Channel) -> None:
        """Serve one connection to the room that its path names, until either ends.

        Mends the shipped one, which deletes a room that others are just opening, and lets what goes wrong
        with one connection escape to the ASGI server, or to the task group of all.
        """
        self._serving_count += 1
        try:
            room = await self.get_room(websocket.path.removeprefix("/"))
            await room.serve(websocket)
            if self.auto_clean_rooms and not room.peers and not room.is_closed:
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

    def open_local(self, room: str, *, timeout_s: float = 5.0) -> LocalPeer:
        """Join a room from a thread that is not the loop's; blocks until the room is loaded.

        Raises:
            RoomNameRefused, TooManyRoomsError, RoomUnavailableError: As `get_room`.
            HubNotRunningError: It is not started, or stopped.
            OpenTimeoutError: It took longer than `timeout_s`.
        """
        check_room_name(room)
        loop = self.loop
        if loop is None or loop.is_closed():
            raise HubNotRunningError()
        if _running_loop() is loop:
            raise WrongThreadError()
        opening = asyncio.run_coroutine_threadsafe(self.aopen_local(room), loop)
        try:
            return opening.result(timeout_s)
        except FutureTimeoutError as error:
            if not opening.cancel() and opening.exception() is None:
                opening.result().close()
            raise OpenTimeoutError(room, timeout_s) from error

    async def aopen_local(self, room: str) -> LocalPeer:
        """Join a room from the loop; see `open_local`."""
        loop = self.loop
        if loop is None:
            raise HubNotRunningError()
        opened = await self.get_room(room)
        await opened.ydoc_observed.wait()
        if opened.is_closed:
            raise RoomUnavailableError(room)
        return opened.open_local(partial(_post, loop))

    def _room(self, name: str) -> Room | None:
        room = self.rooms.get(name)
        return room if isinstance(room, Room) else None

    def _find_blank(self) -> Room | None:
        """A room that can go without anything being lost: nobody is in it and nothing was ever written."""
        rooms = (room for room in self.rooms.values() if isinstance(room, Room))
        return next((room for room in rooms if room.is_blank and not room.is_closed), None)

    def _add_room(self, name: str) -> Room:
        if len(self.rooms) >= self.settings.max_rooms:
            raise TooManyRoomsError(name, self.settings.max_rooms)
        factory = None if self.provider_factory is None else partial(self.provider_factory, path=name)
        room = Room(
            self.rooms_ready,
            self.exception_handler,
            self.log,
            provider_factory=factory,
            name=name,
            settings=self.settings,
            store=self.store,
        )
        self.rooms[name] = room
        return room

    async def _run_room(self, room: Room) -> None:
        """Run a room to its end. Its failure is its own: its sockets come back and find it loaded again."""
        try:
            await room.start()
        except Exception:
            self.log.exception("room %r failed and is closed", room.name)
        finally:
            room.close()
            if self.rooms.get(room.name) is room:
                del self.rooms[room.name]
            room.opened.set()
            room.ended.set()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    """The loop of this thread; None in a thread without one, and under trio."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _post(loop: asyncio.AbstractEventLoop, task: Callable[[], None]) -> None:
    loop.call_soon_threadsafe(task)


async def _close(channel: Channel, code: CloseCode) -> None:
    close = getattr(channel, "close", None)
    if close is not None:
        await close(code)
