"""A session's way to a room: its replica, straight into the room where that is in this process, and through the tab.

Both ways may be open at once, and each may lose or repeat what it carries: merging is idempotent.
"""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Callable

from streamlit_crdt import _compat
from streamlit_crdt.access.participant import Participant
from streamlit_crdt.assets import build_id
from streamlit_crdt.backend.backend import Peer, RoomBackend
from streamlit_crdt.channel import TabLink
from streamlit_crdt.document.replica import LOCAL, ROOM, Replica
from streamlit_crdt.door import Door
from streamlit_crdt.errors import UpdateRefusedError
from streamlit_crdt.room import Status
from streamlit_crdt.saving import Saving

_log = logging.getLogger("streamlit_crdt")


class Way:
    """What brings a session's edits into a room, and others' edits to the session.

    Attributes:
        replica: the session's; another one from when it comes back into a room that was deleted and begun anew.
        link: the session's end of the channel to its tab.
        door: the way into a room in this process.
        history: tells the room's histories apart that this session was in, "" for the first: the page shows widgets and
            tab of another one as others, so that nothing of a deleted room comes from there either.
    """

    def __init__(self, room: str, place: RoomBackend, part: Callable[[], Participant]) -> None:
        self.room = room
        self.door = Door(room, place)
        self.history = ""
        self._histories = itertools.count(2)
        self._part = part
        self._was_synced = False
        self._take_replica(Replica())

    def attach(self) -> None:
        """Join the room and take over what it holds, where no other thread is about."""
        self.arrive(self.reach())

    def reach(self) -> Peer | None:
        """Join the room where it lives in this process; return what `arrive` needs.

        This may wait for the room's loop, and so is not done under the session's lock.
        """
        return self.door.open()

    def arrive(self, peer: Peer | None) -> None:
        """Bring the room what the session has, and take over what it holds. Under the session's lock."""
        version = self.replica.version
        if peer is not None and version and not self._part().is_viewer:
            self.door.push(peer, self.replica.diff(), range(version + 1))
        self.drain()

    def detach(self, *, for_good: bool = False) -> None:
        """Leave the room; for good if the session does, and not only its page."""
        self.door.close(for_good=for_good)

    def begin_anew(self) -> None:
        """Forget a room that was deleted: histories of two rooms are never merged. Under the session's lock."""
        self.door.begin_anew()
        self.history = f"#{next(self._histories)}"
        self._was_synced = False
        self._take_replica(Replica())

    @property
    def is_deleted(self) -> bool:
        """Whether the room was deleted while the session was in it, which goes on alone until it leaves."""
        return self.door.is_deleted

    def drain(self) -> None:
        """Apply what others wrote into the room in this process. Under the session's lock."""
        peer, replica = self.door.peer, self.replica
        if peer is None:
            return
        if update := peer.drain():
            try:
                replica.apply(update, origin=ROOM)
            except UpdateRefusedError:
                _log.exception("room %r sent an update that cannot be applied", self.room)

    @property
    def synced(self) -> bool:
        """Whether the room's content has been here; before that nothing is written (rule R4).

        It stays so when a tab that reloads, or is mounted anew, has yet to find the room again.
        """
        self._was_synced = self._was_synced or self.door.peer is not None or self.link.synced
        return self._was_synced

    @property
    def status(self) -> Status:
        """Whether edits reach the others now. Without a browser there is no other way than through the door."""
        if self.is_deleted:
            return "offline"
        if self.door.peer is not None:
            return "connected"
        return "offline" if _compat.is_app_test() else self.link.status

    @property
    def tab_is_behind(self) -> bool:
        """Whether only the tab can bring the replica's edits to the room, and the last frame did not hold all."""
        is_only_way = self.door.peer is None and not self.is_deleted
        return is_only_way and self.replica.version > self._mounted_version

    def mounted(self) -> None:
        """Note that a frame to the tab is made of the replica as it is."""
        self._mounted_version = self.replica.version

    def _take_replica(self, replica: Replica) -> None:
        self.replica = replica
        self.link = TabLink(replica, build=build_id())
        self.door.saving = Saving()
        self._mounted_version = 0
        replica.subscribe(functools.partial(self._write_through, replica))

    def _write_through(self, replica: Replica, update: bytes, origin: str) -> None:
        peer, saving, version = self.door.peer, self.door.saving, replica.version
        if replica is not self.replica or origin == ROOM:
            return
        if origin == LOCAL:
            saving.edited(version, replica.take_edited())
        if peer is not None and not (peer.was_deleted or self._part().is_viewer):
            self.door.push(peer, update, range(version, version + 1) if origin == LOCAL else range(0))
