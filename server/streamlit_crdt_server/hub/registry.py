"""The rooms of a hub: which are in memory, how one is opened, and how it leaves.

Whoever asks for a room that is just ending waits until its last updates are in the log, and whoever asks for
one that is just being deleted gets the new one. So there is never more than one of a name.

Which rooms there are, and how many are in each.

People are counted and not connections: a Streamlit session takes part as a peer in this process, and its tab as a
socket; both name the session, the socket by its token. What names no session counts as one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from anyio import CancelScope, Event
from pycrdt.websocket import WebsocketServer, YRoom

from streamlit_crdt_server.errors import HubNotRunningError, RoomUnavailableError, TooManyRoomsError
from streamlit_crdt_server.metrics import Metrics
from streamlit_crdt_server.names import NAMESPACE_SEPARATOR, check_room_name, qualified
from streamlit_crdt_server.room.peers import Peer
from streamlit_crdt_server.room.room import Room
from streamlit_crdt_server.settings import Settings
from streamlit_crdt_server.storage.store import Store
from streamlit_crdt_server.yjs.safe_apply import reraise_exit

RETRY_LOAD_S = 1.0
"""A room that could not be loaded is not tried again sooner: a store that fails would be asked ten times a
second by every tab, and meanwhile sockets are refused before they are accepted."""


class RoomRegistry(WebsocketServer):
    """What a hub knows of its rooms."""

    settings: Settings
    store: Store
    metrics: Metrics
    _is_draining: bool

    _deleting: dict[str, Event]
    _failed_at: dict[str, float]

    @property
    def is_open(self) -> bool:
        """Whether it takes connections: it runs and is not about to stop."""
        return self.running and not self._is_draining

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
        if time.monotonic() - self._failed_at.get(name, -RETRY_LOAD_S) < RETRY_LOAD_S:
            raise RoomUnavailableError(name)

    async def get_room(self, name: str) -> Room:
        """Return the room called `name`, loaded and observed; open it if it is not.

        Mends the shipped one, in which two who open a room at the same time both start it, and the second
        waits for ever.

        Raises:
            RoomNameRefused, TooManyRoomsError, HubNotRunningError, RoomUnavailableError
        """
        self.check_can_open(name)
        while (room := self._room(name)) is None or room.is_closed or name in self._deleting:
            if name in self._deleting:
                await self._deleting[name].wait()
            elif room is not None:
                await room.ended.wait()  # its last updates must be in the log before it is loaded again
            elif len(self.rooms) >= self.settings.max_rooms and (blank := self._find_blank()) is not None:
                await self.evict(blank)
            else:
                room = self._add_room(name)
                break
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

    async def delete_room(self, name: str | None = None, *, room: YRoom | None = None) -> None:
        """Forget a room, in memory and in the store: it begins anew, empty, under another epoch.

        Everybody in it is closed with 4409 and does not come back by itself; nobody's history is merged into the
        new one. One of `name` and `room` is given, as in `WebsocketServer`.

        Mends the shipped one, which raises for a room that is not in memory and leaves its log where it is.

        Raises:
            RoomNameRefused: No room is called so.
            StoreError: The store failed; the room is as it was.
        """
        found = self.get_room_name(room) if name is None and room is not None else name or ""
        check_room_name(found)
        while found in self._deleting:
            await self._deleting[found].wait()
        self._deleting[found] = Event()
        try:
            await self._delete(found)
        finally:
            self._deleting.pop(found).set()

    async def _delete(self, name: str) -> None:
        room = self._room(name)
        if room is not None and room.is_scheduled:
            await room.opened.wait()
        if room is None or room.is_closed:
            if room is not None and room.is_scheduled:
                await room.ended.wait()
            await self.store.delete(name)
            return
        await room.delete()
        if room.is_scheduled:
            await room.ended.wait()

    async def evict(self, room: Room) -> bool:
        """Flush a room and take it out of memory (rule S2); whoever opens it next loads its log.

        Returns:
            Whether it left: a room whose store fails stays, because it is nowhere else.
        """
        if not await room.flush(self.settings.flush_timeout_s):
            return False
        await room.stop()
        if room.is_scheduled:
            await room.ended.wait()
        return True

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
            metrics=self.metrics,
        )
        self.rooms[name] = room
        self.metrics.rooms.set(len(self.rooms))
        return room

    async def _run_room(self, room: Room) -> None:
        """Run a room to its end. Its failure is its own: its sockets come back and find it loaded again.

        Also a panic of pycrdt ends here, which is no `Exception` and would end every other room.
        """
        try:
            await room.start()
        except BaseException as error:
            reraise_exit(error)
            self.log.exception("room %r failed and is closed", room.name)
            if not room.started.is_set():
                self._note_failure(room.name)
        finally:
            with CancelScope(shield=True):
                await room.stop()
            if self.rooms.get(room.name) is room:
                del self.rooms[room.name]
            self.metrics.rooms.set(len(self.rooms))
            room.opened.set()
            room.ended.set()

    def _note_failure(self, name: str) -> None:
        now = time.monotonic()
        self._failed_at = {n: at for n, at in self._failed_at.items() if now - at < RETRY_LOAD_S} | {
            name: now
        }


@dataclass(frozen=True, slots=True)
class RoomEntry:
    """One room of a list.

    Attributes:
        name: Its name, without the namespace.
        people: How many are in it now.
    """

    name: str
    people: int


def count_people(peers: Iterable[Peer]) -> int:
    """Return how many take part, by their sessions; whoever said goodbye and has yet to hang up is gone."""
    staying = [peer for peer in peers if not peer.is_leaving]
    named = {peer.session for peer in staying if peer.session is not None}
    return len(named) + sum(peer.session is None for peer in staying)


class RoomListing(RoomRegistry):
    """What a hub tells of its rooms."""

    async def find_rooms(self, namespace: str = "") -> list[RoomEntry]:
        """Return the rooms of a namespace, by name, that hold something or have people in them; "" is none.

        Raises:
            StoreError: The store failed; a part of the rooms is never taken for all of them (rule S4).
        """
        prefix = qualified("", namespace)
        stored = await self.store.written()
        rooms = dict.fromkeys(stored, 0) | {
            name: count_people(room.peers)
            for name, room in self.rooms.items()
            if isinstance(room, Room) and not room.is_closed
        }
        unwritten = {name for name in rooms.keys() - set(stored) if not self._holds_something(name)}
        return sorted(
            (
                RoomEntry(name.removeprefix(prefix), people)
                for name, people in rooms.items()
                if (people or name not in unwritten) and _is_in(namespace, name)
            ),
            key=lambda entry: entry.name,
        )

    def _holds_something(self, name: str) -> bool:
        room = self.rooms[name]
        return isinstance(room, Room) and room.is_written


def _is_in(namespace: str, name: str) -> bool:
    prefix = qualified("", namespace)
    return name.startswith(prefix) and NAMESPACE_SEPARATOR not in name.removeprefix(prefix)
