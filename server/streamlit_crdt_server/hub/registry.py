"""The rooms of a hub: opening, eviction, deletion and listing.

There is at most one room of a name. A caller that opens a closing room waits until its last updates are in the log. A
caller that opens a room during its deletion receives the new room.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from logging import Logger

from anyio import CancelScope, Event
from anyio.abc import TaskGroup
from pycrdt.websocket import YRoom
from pycrdt.websocket.yroom import ProviderFactory

from streamlit_crdt_server.errors import RoomUnavailableError, StoreError, TooManyRoomsError
from streamlit_crdt_server.hub.creation_limits import CreationLimits, Creator
from streamlit_crdt_server.metrics import Metrics
from streamlit_crdt_server.names import split_namespace
from streamlit_crdt_server.room.message_validation import FrameValidator
from streamlit_crdt_server.room.peers import Peer
from streamlit_crdt_server.room.room import Room
from streamlit_crdt_server.settings import Settings
from streamlit_crdt_server.storage.disk_usage import DiskUsage, SizedStore
from streamlit_crdt_server.storage.store import Store
from streamlit_crdt_server.yjs.safe_apply import reraise_exit

RETRY_LOAD_S = 1.0
"""Delay in seconds before a failed load of a room is retried. Connections to the room are refused meanwhile.

Without it, every tab would make a failing store load the room ten times a second.
"""


@dataclass(frozen=True, slots=True)
class RoomEntry:
    """One room of a listing.

    Attributes:
        name: The room's name without its namespace.
        people: The number of participants in it.
    """

    name: str
    people: int


class RoomRegistry:
    """The rooms of one hub. Event loop only."""

    def __init__(
        self,
        rooms: dict[str, YRoom],
        *,
        settings: Settings,
        store: Store,
        metrics: Metrics,
        usage: DiskUsage,
        log: Logger,
        rooms_ready: bool,
        exception_handler: Callable[[Exception, Logger], bool] | None,
        provider_factory: ProviderFactory | None,
    ) -> None:
        """Create a registry without rooms.

        Args:
            rooms: The rooms in memory by name, `WebsocketServer.rooms`. Rooms that are no `Room` are left alone.
            settings: The limits of the hub and its rooms.
            store: The store of the rooms' updates.
            metrics: The counters of the hub and its rooms.
            usage: The names, creators and sizes of the store's rooms.
            log: The logger of the hub and its rooms.
            rooms_ready, exception_handler, provider_factory: See `WebsocketServer`.
        """
        self._rooms = rooms
        self._settings = settings
        self._store = store
        self._metrics = metrics
        self._usage = usage
        self._is_usage_loaded = False
        self._creation_limits = CreationLimits(settings, usage)
        self._log = log
        self._validator = FrameValidator(settings)
        self._rooms_ready = rooms_ready
        self._exception_handler = exception_handler
        self._provider_factory = provider_factory
        self._deleting: dict[str, Event] = {}
        self._failed_at: dict[str, float] = {}

    def check_can_open(self, name: str) -> None:
        """Raise unless room `name` could be opened now. Opens nothing.

        Raises:
            TooManyRoomsError: The hub has `max_rooms` rooms with peers or content.
            RoomUnavailableError: The room's log could not be loaded a moment ago.
        """
        if name not in self._rooms and self._is_at_limit and self._find_blank() is None:
            raise TooManyRoomsError(name, self._settings.max_rooms)
        if time.monotonic() - self._failed_at.get(name, -RETRY_LOAD_S) < RETRY_LOAD_S:
            raise RoomUnavailableError(name)

    async def load_usage(self) -> None:
        """Load the names and sizes of the store's rooms, unless they are loaded.

        Raises:
            StoreError: The store failed. Retry.
        """
        if not self._is_usage_loaded:
            names = set(await self._store.rooms())
            sizes = await self._store.sizes() if isinstance(self._store, SizedStore) else {}
            self._is_usage_loaded = True
            self._usage.load(names, sizes)

    async def check_creation(self, name: str, creator: Creator) -> None:
        """Record `creator` as the creator of room `name`, unless the room exists.

        Raises:
            TooManyNewRoomsError: The room does not exist, and its creator has created too many.
            RoomUnavailableError: The store cannot tell whether the room exists.
        """
        if name in self._rooms or name in self._usage.names:
            return
        try:
            await self.load_usage()
        except StoreError as error:
            raise RoomUnavailableError(name) from error
        if name not in self._usage.names:
            self._creation_limits.create(name, creator)

    async def obtain(self, name: str) -> Room:
        """Return the open room `name`. Creates it unless it is in memory; the caller starts it.

        Raises:
            TooManyRoomsError: The hub has `max_rooms` rooms with peers or content.
        """
        while (room := self._find(name)) is None or room.is_closed or name in self._deleting:
            if name in self._deleting:
                await self._deleting[name].wait()
            elif room is not None:
                await room.ended.wait()  # its last updates must be in the log before the log is loaded
            elif self._is_at_limit and (blank := self._find_blank()) is not None:
                await self.evict(blank)
            else:
                return self._create(name)
        return room

    async def start(self, room: Room, tasks: TaskGroup) -> None:
        """Start a room unless it is started, and wait until it can be joined.

        Raises:
            RoomUnavailableError: The room's log could not be loaded.
        """
        if not (room.is_scheduled or room.started.is_set()):
            room.is_scheduled = True
            tasks.start_soon(self._run, room)
        await room.opened.wait()
        if room.is_closed:
            raise RoomUnavailableError(room.name)

    async def delete(self, name: str) -> None:
        """Delete a room from memory and store. Concurrent deletions of one room follow each other.

        Raises:
            StoreError: The store failed. The room is unchanged.
        """
        while name in self._deleting:
            await self._deleting[name].wait()
        self._deleting[name] = Event()
        try:
            await self._delete(name)
        finally:
            self._deleting.pop(name).set()

    async def evict(self, room: Room) -> bool:
        """Flush a room and remove it from memory (rule S2). The next open loads its log.

        Returns:
            Whether it was removed. A room whose store fails stays, because its edits are in memory only.
        """
        if not await room.flush(self._settings.flush_timeout_s):
            return False
        await room.stop()
        if room.is_scheduled:
            await room.ended.wait()
        return True

    async def list_entries(self, namespace: str = "") -> list[RoomEntry]:
        """Return the rooms of a namespace that have content or participants, sorted by name.

        Args:
            namespace: The namespace. "" lists the rooms without one.

        Raises:
            StoreError: The store failed. A partial list is never returned (rule S4).
        """
        stored = await self._store.written()
        counts = dict.fromkeys(stored, 0)
        for name, room in self._rooms.items():
            if isinstance(room, Room) and not room.is_closed:
                people = count_people(room.peers)
                if people or room.is_written or name in counts:
                    counts[name] = people
        found = ((*split_namespace(name), people) for name, people in counts.items())
        entries = (RoomEntry(room, people) for owner, room, people in found if owner == namespace)
        return sorted(entries, key=lambda entry: entry.name)

    @property
    def _is_at_limit(self) -> bool:
        return len(self._rooms) >= self._settings.max_rooms

    def _find(self, name: str) -> Room | None:
        room = self._rooms.get(name)
        return room if isinstance(room, Room) else None

    def _find_blank(self) -> Room | None:
        """Return a room without peers and content, which can be evicted without loss."""
        rooms = (room for room in self._rooms.values() if isinstance(room, Room))
        return next((room for room in rooms if room.is_blank and not room.is_closed), None)

    def _create(self, name: str) -> Room:
        if self._is_at_limit:
            raise TooManyRoomsError(name, self._settings.max_rooms)
        factory = None if self._provider_factory is None else partial(self._provider_factory, path=name)
        room = Room(
            self._rooms_ready,
            self._exception_handler,
            self._log,
            provider_factory=factory,
            name=name,
            settings=self._settings,
            store=self._store,
            metrics=self._metrics,
            validator=self._validator,
            usage=self._usage,
        )
        self._rooms[name] = room
        self._metrics.rooms.set(len(self._rooms))
        return room

    async def _run(self, room: Room) -> None:
        """Run a room to its end. A failure ends this room only; its clients reconnect and find it loaded again.

        A panic of pycrdt is caught here too. It is no `Exception` and would end every other room.
        """
        try:
            await room.start()
        except BaseException as error:
            reraise_exit(error)
            self._log.exception("room %r failed and is closed", room.name)
            if not room.started.is_set():
                self._record_failure(room.name)
        finally:
            with CancelScope(shield=True):
                await room.stop()
            if self._rooms.get(room.name) is room:
                del self._rooms[room.name]
            self._metrics.rooms.set(len(self._rooms))
            room.opened.set()
            room.ended.set()

    def _record_failure(self, name: str) -> None:
        now = time.monotonic()
        recent = {n: at for n, at in self._failed_at.items() if now - at < RETRY_LOAD_S}
        self._failed_at = recent | {name: now}

    async def _delete(self, name: str) -> None:
        room = self._find(name)
        if room is not None and room.is_scheduled:
            await room.opened.wait()
        if room is None or room.is_closed:
            if room is not None and room.is_scheduled:
                await room.ended.wait()
            await self._store.delete(name)
            self._creation_limits.delete(name)
            return
        await room.delete()
        self._creation_limits.delete(name)
        if room.is_scheduled:
            await room.ended.wait()


def count_people(peers: Iterable[Peer]) -> int:
    """Return the number of participants. Peers that are leaving do not count.

    A Streamlit session has a peer in this process and the socket of its tab. Both have the same `session`, the socket
    through its token, and count once. A peer without a session counts by itself.
    """
    present = [peer for peer in peers if not peer.is_leaving]
    sessions = {peer.session for peer in present if peer.session is not None}
    return len(sessions) + sum(peer.session is None for peer in present)
