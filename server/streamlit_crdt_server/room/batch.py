"""Batches of received updates: repair of surrogate pairs, and safe application to a document."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from logging import Logger
from typing import Any

from anyio import to_thread
from pycrdt import Doc

from streamlit_crdt_server.errors import (
    PendingLimitError,
    RoomFullError,
    ServerError,
    UpdateRefusedError,
)
from streamlit_crdt_server.protocol import CloseCode
from streamlit_crdt_server.room.futures import settle
from streamlit_crdt_server.room.peers import Peer
from streamlit_crdt_server.yjs.lib0 import EMPTY_UPDATE
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
from streamlit_crdt_server.yjs.update_order import ReadyUpdate, UpdateOrder

REPAIR_IN_THREAD_OVER_BYTES = 64 * 1024
"""Size of a batch above which it is repaired in a worker thread. Repair in the event loop stalls other rooms."""

MAX_TRANSACTIONS = 256
"""Transactions of one flush. What is still ready then, follows in the next flush, after other rooms."""

MAX_APPLY_S = 0.05
"""CPU seconds of one flush, after which nothing more is applied before other rooms."""

MAX_UPDATES_PER_TRANSACTION = 64
"""Updates that share a transaction.

One transaction for each update takes twice as long. Ten thousand updates that append to one list in one transaction
take seconds, because their structs are joined at the commit (see `merge_structs`).
"""


@dataclass(frozen=True, slots=True, eq=False)
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
        elif isinstance(error, PendingLimitError):
            self.peer.disconnect(CloseCode.TOO_EARLY, str(error))
        elif isinstance(error, RoomFullError):
            self.peer.disconnect(CloseCode.ROOM_FULL, str(error))
        else:
            self.peer.disconnect(CloseCode.SERVICE_RESTART, "the room closed before it applied an update")


class BatchApplication:
    """Application of batches to one document, in the order of an `UpdateOrder`.

    Attributes:
        misplaced: The stored updates that were dropped because their structs are misplaced.
        stored: The applied parts of stored updates, which were pending until now.
        taken: The received updates of which something was applied.
    """

    def __init__(
        self,
        ydoc: Doc[Any],
        order: UpdateOrder[QueuedUpdate | None],
        pairs: SurrogatePairs,
        log: Logger,
        max_s: float = MAX_APPLY_S,
    ) -> None:
        """Create an application.

        Args:
            ydoc: The document.
            order: The order. Its source None is the log.
            pairs: The surrogate pairs of the document.
            log: The logger of the room.
            max_s: CPU seconds after which the rest stays in the order. One update is applied in any case.
        """
        self._max_s = max_s
        self.misplaced: list[bytes] = []
        self.stored: list[bytes] = []
        self.taken: set[QueuedUpdate] = set()
        self._ydoc = ydoc
        self._order = order
        self._pairs = pairs
        self._log = log

    def apply(self) -> list[QueuedUpdate]:
        """Apply what is ready, in few transactions and a limited time. An update that fails is rejected by itself.

        The CPU time is charged to the senders.

        Returns:
            The applied updates. A part of an update counts as an update. The last part has the future of the sender.

        Raises:
            DocumentDamagedError: The document panicked and must be replaced; no update was accepted.
        """
        applied = list[QueuedUpdate]()
        ends_at_s = time.thread_time() + self._max_s
        for _ in range(MAX_TRANSACTIONS):
            if self._order.has_ready:
                applied += self._apply_in_transaction(ends_at_s)
            if time.thread_time() >= ends_at_s or not self._order.has_ready:
                break
        return applied

    def _apply_in_transaction(self, ends_at_s: float) -> list[QueuedUpdate]:
        applied, costs = list[QueuedUpdate](), dict[Peer, float]()
        began_s = at_s = time.thread_time()
        try:
            with self._ydoc.applying() if isinstance(self._ydoc, RoomDoc) else self._ydoc.transaction():
                for _ in range(MAX_UPDATES_PER_TRANSACTION):
                    if (ready := self._order.take()) is None:
                        break
                    applied += self._apply_ready(ready)
                    since_s, at_s = at_s, time.thread_time()
                    for entry in ready.sources:
                        if entry is not None:
                            cost_s = (at_s - since_s) / len(ready.sources)
                            costs[entry.peer] = costs.get(entry.peer, 0.0) + cost_s
                    if at_s >= ends_at_s:
                        break
        except ExceptionGroup:
            self._log.exception("an observer of a room's document failed")
        except BaseException as error:
            reraise_exit(error)
            raise DocumentDamagedError("commit") from error
        finally:
            if expensive := _charge(costs, time.thread_time() - began_s):
                self._order.drop_all(lambda entry: entry is not None and entry.peer in expensive)
        return applied

    def _apply_ready(self, ready: ReadyUpdate[QueuedUpdate | None]) -> Iterator[QueuedUpdate]:
        """Apply an update, and yield it once for each peer that sent it."""
        data = ready.data
        if data == EMPTY_UPDATE and not ready.finished:
            return
        try:
            if not ready.is_whole and self._pairs.may_split(data):  # it was repaired for an earlier document
                data, _ = self._pairs.repair(data, ready.starts)
            if data != EMPTY_UPDATE:
                apply_update(self._ydoc, data)
                self._pairs.add(data)  # a deletion in the same transaction may split one
        except UpdateRefusedError as error:
            self._refuse(ready, error)
            return
        if None in ready.sources:
            self.stored.append(data)
        for entry in ready.sources:
            if entry is None:
                continue
            self.taken.add(entry)
            if ready.is_whole:
                yield entry
            else:
                done = entry.done if entry in ready.finished else None
                yield QueuedUpdate(entry.peer, ValidatedUpdate(data, ends=ready.ends), done)

    def _refuse(self, ready: ReadyUpdate[QueuedUpdate | None], error: UpdateRefusedError) -> None:
        self._order.correct(decode_state_vector(read_vector(self._ydoc)))
        self._order.drop([entry for entry in ready.sources if entry is not None])
        for entry in ready.sources:
            if entry is None:
                self.misplaced.append(ready.data)
            else:
                entry.reject(error)


def _charge(costs: Mapping[Peer, float], total_s: float) -> set[Peer]:
    """Charge the CPU time of a transaction to peers, in proportion to the time of their updates before its commit.

    Returns:
        The peers whose other updates must be dropped.
    """
    applied_s = sum(costs.values())
    return {peer for peer, cost_s in costs.items() if cost_s and peer.charge(total_s * cost_s / applied_s)}


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
