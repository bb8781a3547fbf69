"""Connection of a session to a room in this process."""

from __future__ import annotations

import functools
import logging
import threading
import time
from concurrent.futures import Future
from typing import Final

from streamlit_crdt.backend.backend import RoomBackend, RoomPeer
from streamlit_crdt.transport.unsaved_edits import UnsavedEdits
from streamlit_crdt_server import RoomFullError, ServerError

REOPEN_AFTER_S: Final = 5.0
"""Delay in seconds before a failed open is retried. One attempt may block for seconds."""

_log = logging.getLogger("streamlit_crdt")


class LocalConnection:
    """Connection to a room in this process. Thread-safe.

    A rejected update closes the connection. The next script run opens it again and pushes the whole replica.

    Attributes:
        peer: the session's peer in the room. None while the connection is closed.
        epoch: epoch of the room when it was last opened, or as the tab reported it. None before either.
        rewritten: the peer in the room that was rewritten, until `adopt`. The session's replica must not be pushed.
    """

    def __init__(self, room: str, backend: RoomBackend, session_id: str) -> None:
        self.epoch: str | None = None
        self.rewritten: RoomPeer | None = None
        self._room = room
        self._backend = backend
        self._session_id = session_id
        self._opening = threading.Lock()
        """Held during an open, which waits for the room's event loop. The loop's thread never takes this lock."""
        self._lock = threading.Lock()
        """Held briefly, also by the loop's thread. No holder of this lock waits for the loop."""
        self._close_count = 0
        self.peer: RoomPeer | None = None
        self._open_not_before = 0.0
        self._is_full_reported = False
        self._is_deleted = False

    @property
    def is_deleted(self) -> bool:
        """True if the opened room was deleted. No room is opened then until `reset`."""
        peer = self.peer
        return self._is_deleted or (peer is not None and peer.was_deleted)

    def mark_deleted(self) -> None:
        """Open no room until `reset`: values of a deleted room must not enter a new room of the same name."""
        with self._lock:
            self._is_deleted, self.peer = True, None

    def reset(self) -> None:
        """Allow any room of this name again. The caller has replaced the replica of the deleted room."""
        with self._lock:
            self._is_deleted = False
            self.epoch = None
            self._open_not_before = 0.0

    def open(self) -> RoomPeer | None:
        """Open the room. Return the peer if this call opened it.

        A room with another epoch is not opened if the room of the known epoch was deleted (`is_deleted`). If it was
        rewritten, the peer is `rewritten`.
        """
        with self._opening:
            if self.is_deleted:
                self.mark_deleted()
                return None
            with self._lock:
                if self.peer is not None and not self.peer.is_closed:
                    return None
                self.peer, close_count = None, self._close_count  # a closed room: its server stopped
            if (peer := self._open_peer()) is None:
                return None
            if self.epoch in peer.past.epochs:
                with self._lock:
                    if close_count == self._close_count:
                        self.rewritten = peer
                        return peer
                peer.close()
                return None
            if self.epoch not in (None, peer.epoch):
                peer.close(for_good=True)
                self.mark_deleted()
                return None
            self.epoch = peer.epoch
            with self._lock:
                if close_count == self._close_count:
                    self.peer = peer
                    return peer
        peer.close()  # `close` was called during the open
        return None

    def adopt(self, peer: RoomPeer) -> None:
        """Connect to the rewritten room. The session's replica has the new document."""
        with self._lock:
            self.epoch, self.peer, self.rewritten = peer.epoch, peer, None

    def _open_peer(self) -> RoomPeer | None:
        """Open the room unless the last failure is recent. A failure does not stop the app; it is retried."""
        if time.monotonic() < self._open_not_before:
            return None
        try:
            return self._backend.open(self._room, self._session_id)
        except ServerError as error:
            self._open_not_before = time.monotonic() + REOPEN_AFTER_S
            _log.warning(
                "room %r cannot be opened, the app continues with local values: %s", self._room, error
            )
            return None

    def close(self, *, for_good: bool = False) -> None:
        """Close the connection. Does not wait for an open in another thread, and discards its result.

        Args:
            for_good: the session leaves the room, and its tab leaves with it.
        """
        with self._lock:
            self._close_count += 1
            peer, self.peer = self.peer or self.rewritten, None
            self.rewritten = None
            self._is_deleted = self._is_deleted or (peer is not None and peer.was_deleted)
        if peer is not None:
            peer.close(for_good=for_good)

    def _drop(self, peer: RoomPeer) -> None:
        """Close `peer`. A peer that was opened after it stays open."""
        with self._lock:
            if self.peer is peer and not peer.was_deleted:
                self.peer = None
        peer.close()

    def push(self, peer: RoomPeer, update: bytes, versions: range, unsaved: UnsavedEdits) -> None:
        """Push an update that contains these versions of the replica, and record the push in `unsaved`."""
        future = peer.push(update)
        unsaved.mark_pushed(versions, future)  # first: after a failure, a new push must find these edits
        future.add_done_callback(functools.partial(self._check_push, peer))

    def _check_push(self, peer: RoomPeer, future: Future[None]) -> None:
        """Drop the peer if its room did not accept an update.

        Runs in the loop's thread, for which an open in another thread may be waiting (rule N2). A full room is not
        dropped: it would reject the whole replica again in each run.
        """
        error = None if future.cancelled() else future.exception()
        if isinstance(error, RoomFullError):
            if not self._is_full_reported:
                self._is_full_reported = True
                _log.warning("an edit is not shared: %s", error)
        elif error is not None and self.peer is peer and not peer.was_deleted:
            _log.warning(
                "room %r did not accept an update (%s); retrying in the next script run", self._room, error
            )
            self._drop(peer)
