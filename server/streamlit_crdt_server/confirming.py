"""What peers are told about saving: that it was done, that it takes long, that the store fails."""

from __future__ import annotations

from collections.abc import Iterable

from streamlit_crdt_server.peer import Peer, SocketPeer
from streamlit_crdt_server.protocol import SaveStatus, sync_update
from streamlit_crdt_server.storage.store import RoomLog
from streamlit_crdt_server.unsaved import Unsaved


class Confirmer:
    """Speaks to those peers of a room that are still in it."""

    def __init__(self, peers: set[Peer], room_log: RoomLog) -> None:
        self._peers = peers
        self._room_log = room_log

    def confirm(self, batch: Unsaved) -> None:
        """Tell those who wait for a batch that it is saved."""
        if batch.update is not None:
            frame = sync_update(batch.update)
            for peer in batch.echo_to & self._peers:
                peer.deliver(frame, batch.update)
        for entry in batch.entries:
            entry.accept()
        for peer, version in batch.questions.items():
            if isinstance(peer, SocketPeer):
                peer.answer_saved(version, self._room_log.level, self._room_log.epoch)

    def share(self, batch: Unsaved) -> None:
        """Give the senders of a batch each other's updates; their own come back when they are saved."""
        for peer, update in batch.shares().items():
            if peer in self._peers:
                peer.deliver(sync_update(update), update)

    def tell_failing(self, batches: Iterable[Unsaved]) -> None:
        """Tell those who asked that it is not saved yet; they are answered again once it is."""
        for batch in batches:
            for peer in batch.questions:
                if isinstance(peer, SocketPeer):
                    peer.answer_unsaved(SaveStatus.FAILING, self._room_log.level, self._room_log.epoch)
