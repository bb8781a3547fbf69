"""Updates on their way into a document: what waits is an entry, what is applied together is a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from logging import Logger
from typing import Any

from pycrdt import Doc

from streamlit_crdt_server.errors import RoomFullError, ServerError, UpdateRefusedError
from streamlit_crdt_server.peer import Peer
from streamlit_crdt_server.protocol import CloseCode
from streamlit_crdt_server.yjs.safe_apply import DocumentDamagedError, apply_update, reraise_exit


@dataclass(frozen=True, slots=True)
class Entry:
    """A checked update that waits to be applied, and who sent it.

    Attributes:
        done: For peers in this process.
        reach: The clock per replica id up to which it inserts or deletes, as `check_update` says.
    """

    peer: Peer
    update: bytes
    done: Future[None] | None = None
    reach: Mapping[int, int] = field(default_factory=dict)

    def accept(self) -> None:
        if self.done is not None:
            settle(self.done)

    def refuse(self, error: ServerError) -> None:
        if self.done is not None:
            settle(self.done, error)
        elif isinstance(error, UpdateRefusedError):
            self.peer.dismiss(CloseCode.MALFORMED, error.reason)
        elif isinstance(error, RoomFullError):
            self.peer.dismiss(CloseCode.ROOM_FULL, str(error))
        else:
            self.peer.dismiss(CloseCode.SERVICE_RESTART, "the room ends: an update was not taken in")


def settle(done: Future[None], error: Exception | None = None) -> None:
    """Answer somebody who waits, unless that was done already, or nobody waits any more."""
    if done.done() or not done.set_running_or_notify_cancel():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)


TOGETHER = 64
"""So many updates share a transaction. Each one by itself takes twice as long; and what ten thousand append to one
list in one transaction takes seconds to be joined, see `runs`."""


def apply_batch(ydoc: Doc[Any], batch: Sequence[Entry], log: Logger) -> tuple[list[Entry], bool]:
    """Apply a batch in few transactions, each update with its own guard.

    Returns:
        What was accepted, the senders of the others have been told; and whether the document still has what waits
        inside it, as `apply_update` says.

    Raises:
        DocumentDamagedError: The document panicked and must be replaced; nothing of the batch was accepted.
    """
    applied, keeps_waiting = list[Entry](), True
    for start in range(0, len(batch), TOGETHER):
        more, keeps = _apply_together(ydoc, batch[start : start + TOGETHER], log)
        applied += more
        keeps_waiting &= keeps
    return applied, keeps_waiting


def _apply_together(ydoc: Doc[Any], batch: Sequence[Entry], log: Logger) -> tuple[list[Entry], bool]:
    applied, keeps_waiting = list[Entry](), True
    try:
        with ydoc.transaction():
            for entry in batch:
                try:
                    keeps_waiting &= apply_update(ydoc, entry.update)
                    applied.append(entry)
                except UpdateRefusedError as error:
                    entry.refuse(error)
    except ExceptionGroup:
        log.exception("an observer of a room's document failed")
    except BaseException as error:
        reraise_exit(error)
        raise DocumentDamagedError("commit") from error
    return applied, keeps_waiting
