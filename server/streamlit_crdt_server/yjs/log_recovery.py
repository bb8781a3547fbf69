"""Loading of a stored log: in an order that the document can integrate, and without the updates that would damage it.

Earlier versions stored updates without a check, and pending updates between others. One update that makes pycrdt
panic (see `safe_apply`) would make its room unusable for good.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pycrdt import Doc

from streamlit_crdt_server.errors import UpdateRefusedError
from streamlit_crdt_server.yjs.integration_order import is_circular
from streamlit_crdt_server.yjs.room_doc import RoomDoc
from streamlit_crdt_server.yjs.safe_apply import (
    DocumentDamagedError,
    MisplacedError,
    ValidatedUpdate,
    load_update,
    read_state,
    read_vector,
)
from streamlit_crdt_server.yjs.structs import MERGE_OVER_STRUCTS, merge_structs
from streamlit_crdt_server.yjs.surrogate_pairs import SurrogatePairs
from streamlit_crdt_server.yjs.update_decoder import decode_state_vector, read_update_meta
from streamlit_crdt_server.yjs.update_order import ReadyUpdate, UpdateOrder

MAX_SKIPPED_PARTS = 16
"""Parts of rows that are left out because they damage the document. Each costs one attempt to load the log. A row with
more is left out as a whole."""

BadRow = tuple[bytes, str]
"""A stored update and the reason why it cannot be applied."""


@dataclass(frozen=True, slots=True)
class LoadedLog:
    """A document with the content of a log.

    Attributes:
        ydoc: The document.
        updates: Updates that give another document the same content, in an order that it can integrate.
        pending: What the document cannot integrate yet, as one update. Empty if there is nothing.
        misplaced: The parts of updates that contain a misplaced struct, or damage the document. It lacks them.
        bad_rows: The updates that the document lacks as a whole.
    """

    ydoc: RoomDoc
    updates: Sequence[bytes]
    pending: bytes
    misplaced: Sequence[bytes]
    bad_rows: Sequence[BadRow]


def load_log(rows: Sequence[bytes], pairs: SurrogatePairs) -> LoadedLog:
    """Apply a log to a new document. A log without damaged updates is applied once.

    Args:
        rows: The updates.
        pairs: Restarted with the surrogate pairs of the log.
    """
    readable, bad_rows = list[_Row](), list[BadRow]()
    for row in rows:
        try:
            readable.append(_read(row))
        except (ValueError, RecursionError) as error:
            bad_rows.append((row, str(error) or "it is nested too deeply"))
    for index, data in enumerate(pairs.reset([row.update.data for row in readable])):
        if data is not readable[index].update.data:
            update = ValidatedUpdate.from_meta(data, read_update_meta(data))
            readable[index] = replace(readable[index], update=update)
    skipped = set[bytes]()
    while True:
        filling = _Filling(skipped)
        culprit = _find_bad(filling, readable)
        if culprit is None:
            pending = filling.order.encode_pending()
            return LoadedLog(filling.ydoc, filling.applied, pending, filling.misplaced, bad_rows)
        index, why = culprit
        part = filling.damaging_part
        if part is None and not readable[index].is_divided and readable[index].update.runs > 1:
            readable[index] = replace(readable[index], is_divided=True)
        elif part is not None and len(skipped) < MAX_SKIPPED_PARTS:
            skipped.add(part)
        else:
            bad_rows.append((readable.pop(index).stored, why))


@dataclass(frozen=True, slots=True)
class _Row:
    """A readable row of a log.

    Attributes:
        stored: The row.
        update: An equivalent update that loads fast, also if many updates were merged before they were stored.
        is_divided: Whether it is applied in parts, because structs depend on each other in a circle or damage the
            document. The others are applied: the row may be a whole room, merged with the pending updates of several
            participants.
    """

    stored: bytes
    update: ValidatedUpdate
    is_divided: bool


def _read(row: bytes) -> _Row:
    """Decode a row.

    Raises:
        ValueError, RecursionError: It is not an update.
    """
    meta, data = read_update_meta(row), row
    if meta.structs - meta.run_count > MERGE_OVER_STRUCTS:
        data = merge_structs(row)
        meta = read_update_meta(data)
    return _Row(row, ValidatedUpdate.from_meta(data, meta), is_circular(meta))


class _Filling:
    """One attempt to apply a log to a new document.

    Each update has a transaction of its own: one for all would let pycrdt join the structs of all updates at once,
    which takes seconds.

    Attributes:
        damaging_part: The part of a divided row that damaged the document.
    """

    def __init__(self, skipped: Container[bytes] = ()) -> None:
        self.ydoc = RoomDoc()
        self.damaging_part: bytes | None = None
        self._skipped = skipped
        self.order: UpdateOrder[int] = UpdateOrder()
        self.applied: list[bytes] = []
        self.misplaced: list[bytes] = []

    def apply(self, rows: Sequence[_Row]) -> tuple[int, str] | None:
        """Apply rows. Return the index of the first one that fails, and the reason."""
        for index, row in enumerate(rows):
            if row.is_divided:
                self.order.put_divided(row.update.data, index)
            else:
                self.order.put(row.update, index)
            while (ready := self.order.take()) is not None:
                try:
                    self._apply_ready(ready)
                except UpdateRefusedError as error:
                    return ready.sources[0], error.reason
                except DocumentDamagedError:
                    self.damaging_part = None if ready.is_whole else ready.data
                    return ready.sources[0], "it damages the document"
        return None

    def _apply_ready(self, ready: ReadyUpdate[int]) -> None:
        if ready.data in self._skipped:
            self.order.correct(decode_state_vector(read_vector(self.ydoc)))
            self.misplaced.append(ready.data)
            return
        try:
            load_update(self.ydoc, ready.data)
            self.applied.append(ready.data)
        except MisplacedError:
            self.order.correct(decode_state_vector(read_vector(self.ydoc)))
            if ready.is_whole:  # it may be merged from the updates of several participants
                self.order.put_divided(ready.data, ready.sources[0])
            else:
                self.misplaced.append(ready.data)


def _find_bad(filling: _Filling, rows: Sequence[_Row]) -> tuple[int, str] | None:
    """Apply rows. Return the index of the first one that damages the document, and the reason."""
    culprit = filling.apply(rows)
    if culprit is not None or _is_readable(filling.ydoc):
        return culprit
    return _first_unreadable(rows), "it makes the document unreadable"


def _first_unreadable(rows: Sequence[_Row]) -> int:
    """Find the row after which the document cannot be read, by bisection."""
    low, high = 0, len(rows) - 1
    while low < high:
        middle = (low + high) // 2
        filling = _Filling()
        if filling.apply(rows[: middle + 1]) is None and _is_readable(filling.ydoc):
            low = middle + 1
        else:
            high = middle
    return low


def _is_readable(ydoc: Doc[Any]) -> bool:
    try:
        read_state(ydoc)
    except DocumentDamagedError:
        return False
    return True
