"""An update on its way into a room."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass

from streamlit_crdt_server.errors import ServerError, UpdateRefusedError
from streamlit_crdt_server.peer import Peer
from streamlit_crdt_server.protocol import CloseCode


@dataclass(frozen=True, slots=True)
class Entry:
    """An update that waits to be applied, checked already, and who sent it. `done` is for peers in this
    process."""

    peer: Peer
    update: bytes
    done: Future[None] | None = None

    def accept(self) -> None:
        if self.done is not None and self.done.set_running_or_notify_cancel():
            self.done.set_result(None)

    def refuse(self, error: ServerError) -> None:
        if self.done is not None and self.done.set_running_or_notify_cancel():
            self.done.set_exception(error)
        elif isinstance(error, UpdateRefusedError):
            self.peer.dismiss(CloseCode.MALFORMED, error.reason)
