"""A session's own way into a room in this process: write-through, so that others need not wait for a browser.

Idempotent like every other way: what a room did not take, or took before it failed, is offered once more, whole.

The built frontend that ships with the package.

A session's way to a room: its replica, straight into the room where that is in this process, and through the tab.

Both ways may be open at once, and each may lose or repeat what it carries: merging is idempotent.
"""

from __future__ import annotations

import functools
import itertools
import json
import logging
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Final

from streamlit_crdt import _compat
from streamlit_crdt.access.participant import Participant
from streamlit_crdt.backend.backend import Peer, RoomBackend
from streamlit_crdt.document.replica import LOCAL, ROOM, Replica
from streamlit_crdt.errors import UpdateRefusedError
from streamlit_crdt.transport.channel import Channel
from streamlit_crdt.transport.frame import Status
from streamlit_crdt.transport.unsaved_edits import UnsavedEdits
from streamlit_crdt_server import RoomFullError, ServerError

STATIC: Final = Path(__file__).parents[1] / "static"
SCRIPT_GLOB: Final = "streamlit-crdt-*.js"


@functools.cache
def frontend_build_id() -> str:
    """Return the id of the built frontend, by which a tab that still runs an older one is told apart.

    Raises:
        FileNotFoundError: the frontend was not built; a checkout needs `pip install -e .` (with Node) once.
    """
    path = STATIC / "build.json"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: build the frontend with  npm ci && npm run build")
    build = json.loads(path.read_text(encoding="utf-8"))["build"]
    return str(build)


_log = logging.getLogger("streamlit_crdt")

REOPEN_AFTER_S: Final = 5.0
"""How long a room that could not be joined is left alone; an attempt may take seconds."""


class LocalConnection:
    """Opens and closes a room for one session. Thread-safe.

    Attributes:
        saving: what of the session's edits is not saved yet.
        epoch: of the room as it was when it was last joined or heard of; None before.
        session: what the room server knows this session by, here and at the socket of its tab.
    """

    def __init__(self, room: str, place: RoomBackend) -> None:
        self.saving = UnsavedEdits()
        self.epoch: str | None = None
        self.session = secrets.token_hex(8)
        self._room = room
        self._place = place
        self._joining = threading.Lock()
        """Held for as long as joining takes, and so by threads only that may wait for the loop."""
        self._lock = threading.Lock()
        """Held for moments, and by the loop's thread too: nobody waits for the loop while holding it."""
        self._closings = 0
        self._peer: Peer | None = None
        self._open_not_before = 0.0
        self._told_full = False
        self._is_deleted = False
        self._told_deleted = False

    @property
    def peer(self) -> Peer | None:
        return self._peer

    @property
    def is_deleted(self) -> bool:
        """Whether the room that was joined was deleted; its session goes on alone until `begin_anew`."""
        peer = self._peer
        return self._is_deleted or (peer is not None and peer.was_deleted)

    def note_deleted(self) -> None:
        """Stay away from now on: what is in the session must not come into a new room of that name."""
        with self._lock:
            self._is_deleted, self._peer = True, None
            if not self._told_deleted:
                self._told_deleted = True
                unsaved = ", ".join(map(repr, self.saving.unsaved_keys()))
                _log.warning(
                    "room %r was deleted; this session goes on alone with what it has%s",
                    self._room,
                    f", its unsaved edits of {unsaved} included" if unsaved else "",
                )

    def deleted_here(self) -> None:
        """Note that this very session has deleted the room, so that nobody has to be told."""
        with self._lock:
            self._is_deleted = self._told_deleted = True

    def begin_anew(self) -> None:
        """Join whatever room has the name, with a session that has forgotten the deleted one."""
        with self._lock:
            self._is_deleted = self._told_deleted = False
            self.epoch = None
            self._open_not_before = 0.0

    def open(self) -> Peer | None:
        """Join the room; return the peer if this call has joined it.

        A room that is not the one that was left is not joined: that one was deleted (`is_deleted`).
        """
        with self._joining:
            if self.is_deleted:
                self.note_deleted()
                return None
            with self._lock:
                if self._peer is not None and not self._peer.is_closed:
                    return None
                self._peer, closings = None, self._closings  # the room ended, as when its server stopped
            if (peer := self._join()) is None:
                return None
            if self.epoch not in (None, peer.epoch):
                peer.close(for_good=True)
                self.note_deleted()
                return None
            self.epoch = peer.epoch
            with self._lock:
                if closings == self._closings:
                    self._peer = peer
                    return peer
        peer.close()  # the session has left meanwhile
        return None

    def _join(self) -> Peer | None:
        """A room that cannot be joined does not keep the app from running; it is tried again."""
        if time.monotonic() < self._open_not_before:
            return None
        try:
            return self._place.open(self._room, self.session)
        except ServerError as error:
            self._open_not_before = time.monotonic() + REOPEN_AFTER_S
            _log.warning("room %r cannot be joined, the app goes on with local values: %s", self._room, error)
            return None

    def close(self, *, for_good: bool = False) -> None:
        """Leave the room, also if another thread is just joining it. Does not wait for that.

        Args:
            for_good: the session leaves, and its tab with it.
        """
        with self._lock:
            self._closings += 1
            peer, self._peer = self._peer, None
            self._is_deleted = self._is_deleted or (peer is not None and peer.was_deleted)
        if peer is not None:
            peer.close(for_good=for_good)

    def _leave(self, peer: Peer) -> None:
        """Leave a room by the peer with which it was joined; whoever joined it anew meanwhile stays."""
        with self._lock:
            if self._peer is peer and not peer.was_deleted:
                self._peer = None
        peer.close()

    def push(self, peer: Peer, update: bytes, versions: range) -> None:
        """Give the room an update that holds these versions of the session's replica."""
        pushed = peer.push(update)
        self.saving.pushed(versions, pushed)
        pushed.add_done_callback(functools.partial(self._check_pushed, peer))

    def _check_pushed(self, peer: Peer, pushed: Future[None]) -> None:
        """Leave a room that did not take an update; the next run joins it again and brings everything along.

        Called in the loop's thread, which another one may be waiting for to join the room (rule N2).
        A room that is full is not left: it would refuse everything again at each run.
        """
        error = None if pushed.cancelled() else pushed.exception()
        if isinstance(error, RoomFullError):
            if not self._told_full:
                self._told_full = True
                _log.warning("an edit is not shared: %s", error)
        elif error is not None and self._peer is peer and not peer.was_deleted:
            _log.warning(
                "room %r did not take an edit (%s); it is offered again with the next run", self._room, error
            )
            self._leave(peer)


_log = logging.getLogger("streamlit_crdt")


class RoomConnection:
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
        self.door = LocalConnection(room, place)
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
        self.link = Channel(replica, build=frontend_build_id())
        self.door.saving = UnsavedEdits()
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
