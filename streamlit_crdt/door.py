"""A session's own way into a room in this process: write-through, so that others need not wait for a browser.

Idempotent like every other way: what a room did not take, or took before it failed, is offered once more, whole.
"""

from __future__ import annotations

import functools
import logging
import secrets
import threading
import time
from concurrent.futures import Future
from typing import Final

from streamlit_crdt.backend.backend import Peer, RoomBackend
from streamlit_crdt.saving import Saving
from streamlit_crdt_server import RoomFullError, ServerError

_log = logging.getLogger("streamlit_crdt")

REOPEN_AFTER_S: Final = 5.0
"""How long a room that could not be joined is left alone; an attempt may take seconds."""


class Door:
    """Opens and closes a room for one session. Thread-safe.

    Attributes:
        saving: what of the session's edits is not saved yet.
        epoch: of the room as it was when it was last joined or heard of; None before.
        session: what the room server knows this session by, here and at the socket of its tab.
    """

    def __init__(self, room: str, place: RoomBackend) -> None:
        self.saving = Saving()
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
