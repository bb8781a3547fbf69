"""A room whose document lost what waits inside it, because a part of that is false: see `settling`."""

from __future__ import annotations

from anyio import to_thread
from pycrdt import merge_updates

from streamlit_crdt_server.batch import Entry
from streamlit_crdt_server.document import RoomDocument
from streamlit_crdt_server.peer import SocketPeer
from streamlit_crdt_server.protocol import CloseCode
from streamlit_crdt_server.settling import Settling
from streamlit_crdt_server.yjs.safe_apply import DocumentDamagedError, MisplacedError
from streamlit_crdt_server.yjs.structs import read_pieces

WHY = MisplacedError().reason
MAX_KEPT_BYTES = 1024 * 1024
"""So much of what was thrown out is kept aside while a room is open; of more, only that it was."""


class SettlingDocument(RoomDocument):
    """Finds out what of it is false, and throws that out: of the document, of what waits, and of the log."""

    _kept_bytes = 0

    async def _settle(self) -> bool:
        """Give the document again what waits, or a part of it: other rooms have their turn as well.

        Returns:
            Whether there was anything to be done.
        """
        if self._is_damaged or not self._holdings.is_unsettled:
            return False
        settling = self._holdings.settling
        if settling is None:
            settling = Settling(await to_thread.run_sync(read_pieces, self._holdings.waiting))
            self._holdings.settling = settling
        self._is_batching = True
        try:
            settling.go_on(self.ydoc)
        except DocumentDamagedError:
            self._recover()
        finally:
            self._is_batching = False
        if settling.is_over:
            await self._end_settling(settling)
        self._has_work.set()
        return True

    def _take_in(self, applied: list[Entry], change: bytes | None) -> tuple[list[Entry], list[bytes]]:
        """As `Holdings.take_in`; what is to be settled after that is settled soon."""
        taken_in = self._holdings.take_in(applied, change)
        if self._holdings.is_unsettled:
            self._has_work.set()
        return taken_in

    async def _end_settling(self, settling: Settling) -> None:
        """Throw out what the document did not take. Only if it took all at once is nothing more to be found."""
        self._holdings.settling = None
        if settling.is_clean:
            self._holdings.settle()
        elif settling.places:
            culprits = await to_thread.run_sync(settling.culprits)
            changed = await to_thread.run_sync(self._holdings.throw_out, settling.places)
            self._report(merge_updates(culprits, *(each.update for each in changed if each.peer is not None)))
            for peer in {each.peer for each in changed}:
                if isinstance(peer, SocketPeer):
                    peer.dismiss(CloseCode.MALFORMED, WHY)

    def _report(self, culprits: bytes) -> None:
        self.log.error(
            "room %r: %d bytes of what waited in it are thrown out: %s", self.name, len(culprits), WHY
        )
        self.metrics.set_aside.inc()
        self._kept_bytes += len(culprits)
        if self._kept_bytes <= MAX_KEPT_BYTES:
            self._saver.throw_out(culprits, WHY)
