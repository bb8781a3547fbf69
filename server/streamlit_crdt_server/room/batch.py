"""Batches of received updates: repair of surrogate pairs, and safe application to a document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from logging import Logger
from typing import Any

from anyio import to_thread
from pycrdt import Doc

from streamlit_crdt_server.errors import RoomFullError, ServerError, UpdateRefusedError
from streamlit_crdt_server.protocol import CloseCode
from streamlit_crdt_server.room.peers import Peer, settle
from streamlit_crdt_server.yjs.room_doc import RoomDoc
from streamlit_crdt_server.yjs.safe_apply import (
    DocumentDamagedError,
    ValidatedUpdate,
    apply_update,
    read_vector,
    reraise_exit,
)
from streamlit_crdt_server.yjs.surrogate_pairs import SurrogatePairs
from streamlit_crdt_server.yjs.update_decoder import decode_state_vector

REPAIR_IN_THREAD_OVER_BYTES = 64 * 1024
"""Size of a batch above which it is repaired in a worker thread. Repair in the event loop stalls other rooms."""

MAX_UPDATES_PER_TRANSACTION = 64
"""Updates that share a transaction.

One transaction for each update takes twice as long. Ten thousand updates that append to one list in one transaction
take seconds, because their structs are joined at the commit (see `merge_structs`).
"""


@dataclass(frozen=True, slots=True)
class QueuedUpdate:
    """A validated update in the inbox of a room.

    Attributes:
        peer: The sender.
        done: The future of a local peer. None for a socket.
    """

    peer: Peer
    update: ValidatedUpdate
    done: Future[None] | None = None

    def accept(self) -> None:
        """Complete the sender's future: the update is saved."""
        if self.done is not None:
            settle(self.done)

    def reject(self, error: ServerError) -> None:
        """Fail the sender's future, or close its socket with the code of `error`."""
        if self.done is not None:
            settle(self.done, error)
        elif isinstance(error, UpdateRefusedError):
            self.peer.disconnect(CloseCode.MALFORMED, error.reason)
        elif isinstance(error, RoomFullError):
            self.peer.disconnect(CloseCode.ROOM_FULL, str(error))
        else:
            self.peer.disconnect(CloseCode.SERVICE_RESTART, "the room closed before it applied an update")


def apply_batch(
    ydoc: Doc[Any], batch: Sequence[QueuedUpdate], log: Logger
) -> tuple[list[QueuedUpdate], bool]:
    """Apply a batch in few transactions. An update that fails is rejected by itself.

    Returns:
        The accepted updates; and whether the document still has its pending structs, see `apply_update`.

    Raises:
        DocumentDamagedError: The document panicked and must be replaced; no update of the batch was accepted.
    """
    applied, keeps_pending = list[QueuedUpdate](), True
    for start in range(0, len(batch), MAX_UPDATES_PER_TRANSACTION):
        more, keeps = _apply_in_transaction(ydoc, batch[start : start + MAX_UPDATES_PER_TRANSACTION], log)
        applied += more
        keeps_pending &= keeps
    return applied, keeps_pending


def _apply_in_transaction(
    ydoc: Doc[Any], batch: Sequence[QueuedUpdate], log: Logger
) -> tuple[list[QueuedUpdate], bool]:
    applied, keeps_pending = list[QueuedUpdate](), True
    try:
        with ydoc.applying() if isinstance(ydoc, RoomDoc) else ydoc.transaction():
            for entry in batch:
                try:
                    keeps_pending &= apply_update(ydoc, entry.update.data)
                    applied.append(entry)
                except UpdateRefusedError as error:
                    entry.reject(error)
    except ExceptionGroup:
        log.exception("an observer of a room's document failed")
    except BaseException as error:
        reraise_exit(error)
        raise DocumentDamagedError("commit") from error
    return applied, keeps_pending


async def repair_surrogate_pairs(
    ydoc: Doc[Any], pairs: SurrogatePairs, batch: Sequence[QueuedUpdate]
) -> Sequence[QueuedUpdate]:
    """Return a batch that splits no surrogate pair of `ydoc`. An update beyond repair is rejected.

    Raises:
        DocumentDamagedError: The document panicked.
    """
    if not any(pairs.may_split(entry.update.data) for entry in batch):
        return batch
    work = partial(_repair, pairs, decode_state_vector(read_vector(ydoc)), batch)
    is_large = sum(len(entry.update.data) for entry in batch) > REPAIR_IN_THREAD_OVER_BYTES
    repaired, rejected = await to_thread.run_sync(work) if is_large else work()
    for entry, error in rejected:
        entry.reject(error)
    return repaired


def _repair(
    pairs: SurrogatePairs, clocks: dict[int, int], batch: Sequence[QueuedUpdate]
) -> tuple[list[QueuedUpdate], list[tuple[QueuedUpdate, UpdateRefusedError]]]:
    repaired, rejected = list[QueuedUpdate](), list[tuple[QueuedUpdate, UpdateRefusedError]]()
    earlier = list[Mapping[int, Iterable[int]]]()
    for entry in batch:
        try:
            update, meta = pairs.repair(entry.update.data, clocks, earlier)
        except UpdateRefusedError as error:
            rejected.append((entry, error))
            continue
        except ValueError:  # `apply_update` rejects it too, and only its sender is closed
            repaired.append(entry)
            continue
        is_same = update is entry.update.data
        repaired.append(entry if is_same else replace(entry, update=ValidatedUpdate.from_meta(update, meta)))
        earlier.append(meta.surrogates)
        meta.advance(clocks)
    return repaired, rejected
