"""Which rooms there are, and how many are in each.

People are counted and not connections: a Streamlit session takes part as a peer in this process, and its tab as a
socket; both name the session, the socket by its token. What names no session counts as one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from streamlit_crdt_server.names import NAMESPACE_SEPARATOR, qualified
from streamlit_crdt_server.registry import RoomRegistry
from streamlit_crdt_server.room.peers import Peer
from streamlit_crdt_server.room.room import Room


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
