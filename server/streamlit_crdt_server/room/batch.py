"""Updates on their way into a document: what waits is an entry, what is applied together is a batch.

Mending what waits to be applied, so that it cuts no character in two: see `SurrogatePairs`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from logging import Logger
from typing import Any

from anyio import to_thread
from pycrdt import Doc

from streamlit_crdt_server.errors import RoomFullError, ServerError, UpdateRefusedError
from streamlit_crdt_server.protocol import CloseCode
from streamlit_crdt_server.room.peers import Peer, settle
from streamlit_crdt_server.yjs.safe_apply import DocumentDamagedError, apply_update, read_vector, reraise_exit
from streamlit_crdt_server.yjs.surrogate_pairs import SurrogatePairs
from streamlit_crdt_server.yjs.update_decoder import decode_state_vector

MEND_IN_THREAD_OVER_BYTES = 64 * 1024
"""As for `decoding`: walking through a large batch must not hold up other rooms."""


async def repair_surrogate_pairs(
    ydoc: Doc[Any], characters: SurrogatePairs, batch: Sequence[QueuedUpdate]
) -> Sequence[QueuedUpdate]:
    """Return a batch such that it cuts no character of `ydoc`; the senders of what cannot be mended are told.

    Raises:
        DocumentDamagedError: The document panicked.
    """
    if not any(characters.may_split(entry.update) for entry in batch):
        return batch
    work = partial(_mend, characters, decode_state_vector(read_vector(ydoc)), batch)
    is_large = sum(len(entry.update) for entry in batch) > MEND_IN_THREAD_OVER_BYTES
    mended, refused = await to_thread.run_sync(work) if is_large else work()
    for entry, error in refused:
        entry.refuse(error)
    return mended


def _mend(
    characters: SurrogatePairs, clocks: dict[int, int], batch: Sequence[QueuedUpdate]
) -> tuple[list[QueuedUpdate], list[tuple[QueuedUpdate, UpdateRefusedError]]]:
    mended, refused = list[QueuedUpdate](), list[tuple[QueuedUpdate, UpdateRefusedError]]()
    earlier = list[Mapping[int, Iterable[int]]]()
    for entry in batch:
        try:
            update, shape = characters.repair(entry.update, clocks, earlier)
        except UpdateRefusedError as error:
            refused.append((entry, error))
            continue
        except ValueError:
            mended.append(
                entry
            )  # it came past the checks: applying it finds that out, and ends nobody but its sender
            continue
        is_same = update is entry.update
        mended.append(entry if is_same else replace(entry, update=update, reach=shape.reach))
        earlier.append(shape.surrogates)
        shape.advance(clocks)
    return mended, refused


@dataclass(frozen=True, slots=True)
class QueuedUpdate:
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


TOGETHER = 64
"""So many updates share a transaction. Each one by itself takes twice as long; and what ten thousand append to one
list in one transaction takes seconds to be joined, see `runs`."""


def apply_batch(
    ydoc: Doc[Any], batch: Sequence[QueuedUpdate], log: Logger
) -> tuple[list[QueuedUpdate], bool]:
    """Apply a batch in few transactions, each update with its own guard.

    Returns:
        What was accepted, the senders of the others have been told; and whether the document still has what waits
        inside it, as `apply_update` says.

    Raises:
        DocumentDamagedError: The document panicked and must be replaced; nothing of the batch was accepted.
    """
    applied, keeps_waiting = list[QueuedUpdate](), True
    for start in range(0, len(batch), TOGETHER):
        more, keeps = _apply_together(ydoc, batch[start : start + TOGETHER], log)
        applied += more
        keeps_waiting &= keeps
    return applied, keeps_waiting


def _apply_together(
    ydoc: Doc[Any], batch: Sequence[QueuedUpdate], log: Logger
) -> tuple[list[QueuedUpdate], bool]:
    applied, keeps_waiting = list[QueuedUpdate](), True
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
