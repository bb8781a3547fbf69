"""Bytes on disk of each room and of each user's rooms. Event loop only.

The rooms of a user are those that the user created. A room without a known creator counts for nobody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from streamlit_crdt_server.storage.room_owners import OwnerFile


@runtime_checkable
class SizedStore(Protocol):
    """A `Store` that knows the sizes of its rooms. The sizes of other stores are known for loaded rooms only."""

    async def sizes(self) -> Mapping[str, int]:
        """Return the bytes of each room, with its updates that were set aside."""
        ...


class DiskUsage:
    """The rooms of one store: names, creators and sizes.

    Attributes:
        names: The names of the rooms that exist.
        rooms_of: The number of rooms of each owner.
    """

    def __init__(self, owner_file: OwnerFile | None, *, max_room_bytes: int, max_user_bytes: int) -> None:
        """Create an empty record.

        Args:
            owner_file: The file of the creators. None keeps them in memory.
            max_room_bytes: The limit of one room.
            max_user_bytes: The limit of all rooms of one user.
        """
        self.names: set[str] = set()
        self.rooms_of: Counter[str] = Counter()
        self._owner_file = owner_file
        self._owners: dict[str, str] = {}
        self._sizes: Counter[str] = Counter()
        self._bytes_of: Counter[str] = Counter()
        self._max_room_bytes = max_room_bytes
        self._max_user_bytes = max_user_bytes

    def load(self, names: set[str], sizes: Mapping[str, int]) -> None:
        """Add the rooms of a store that was opened, and the creators in the file."""
        self.names |= names
        owners = {} if self._owner_file is None else self._owner_file.load()
        for room, owner in owners.items():
            if room in names:
                self._set_owner(room, owner)
        for room, size_bytes in sizes.items():
            self.resize(room, size_bytes - self._sizes[room])

    def create(self, room: str, owner: str | None) -> None:
        """Record a new room."""
        self.names.add(room)
        if owner is not None:
            self._set_owner(room, owner)
            if self._owner_file is not None:
                self._owner_file.append(room, owner)

    def delete(self, room: str) -> None:
        """Forget a room that was deleted."""
        self.names.discard(room)
        size_bytes = self._sizes.pop(room, 0)
        owner = self._owners.pop(room, None)
        if owner is not None:
            self.rooms_of[owner] -= 1
            self._bytes_of[owner] -= size_bytes
            if not self.rooms_of[owner]:
                del self.rooms_of[owner], self._bytes_of[owner]
            if self._owner_file is not None:
                self._owner_file.append(room, None)

    def resize(self, room: str, growth_bytes: int) -> None:
        """Add to the size of a room."""
        self._sizes[room] += growth_bytes
        owner = self._owners.get(room)
        if owner is not None:
            self._bytes_of[owner] += growth_bytes

    def note_loaded(self, room: str, log_bytes: int) -> None:
        """Record the size of a room that was loaded, if its store does not know sizes. Updates set aside are kept."""
        self.names.add(room)
        if not self._sizes[room]:
            self.resize(room, log_bytes)

    def find_excess(self, room: str) -> tuple[str, int] | None:
        """Return the name and the value of the limit that a room exceeds, None if it may grow."""
        if self._sizes[room] > self._max_room_bytes:
            return "max_disk_bytes_per_room", self._max_room_bytes
        owner = self._owners.get(room)
        if owner is not None and self._bytes_of[owner] > self._max_user_bytes:
            return "max_disk_bytes_per_user", self._max_user_bytes
        return None

    def _set_owner(self, room: str, owner: str) -> None:
        self._owners[room] = owner
        self.rooms_of[owner] += 1
        self._bytes_of[owner] += self._sizes[room]
