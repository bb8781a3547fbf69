"""Separation of the updates of a stored log that a document can apply from those that would damage it.

Earlier versions stored updates without a check. One update that makes pycrdt panic (see `safe_apply`) would make its
room unusable for good. A log is therefore applied to a scratch document before it is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from pycrdt import Doc

from streamlit_crdt_server.errors import UpdateRefusedError
from streamlit_crdt_server.yjs.safe_apply import (
    DocumentDamagedError,
    MisplacedError,
    load_update,
    read_state,
    reraise_exit,
)
from streamlit_crdt_server.yjs.structs import merge_structs

MERGE_OVER_BYTES = 2 * 1024
"""Bytes. The structs of a larger stored update are merged before it is applied, see `merge_structs`."""

BadRow = tuple[bytes, str]
"""A stored update and the reason why it cannot be applied."""


def split_readable(updates: Sequence[bytes]) -> tuple[list[bytes], list[BadRow]]:
    """Split a log into the updates that a document can apply, in order, and the others.

    A log without damaged updates is applied once.
    """
    good, bad = [_merged(update) for update in updates], list[BadRow]()
    origins = list(updates)
    while (culprit := _first_bad(good)) is not None:
        index, why = culprit
        del good[index]
        bad.append((origins.pop(index), why))
    return good, bad


def load_all(ydoc: Doc[Any], updates: Sequence[bytes]) -> bool:
    """Apply the updates that `split_readable` returned, each in its own transaction.

    One transaction for all would let pycrdt join the structs of all updates at once, which takes seconds.

    Returns:
        Whether the document applied all structs. If not, the pending updates must be applied again.
    """
    is_complete = True
    for update in updates:
        try:
            is_complete &= load_update(ydoc, update)
        except MisplacedError:
            is_complete = False
    return is_complete


def _merged(update: bytes) -> bytes:
    """Return an equivalent update that loads fast, also if many updates were merged before they were stored."""
    if len(update) < MERGE_OVER_BYTES:
        return update
    try:
        return merge_structs(update)
    except (ValueError, RecursionError):
        return update  # applying it raises the error


def _first_bad(updates: Sequence[bytes]) -> tuple[int, str] | None:
    """Return the index of the first update that damages the document, and the reason. None if there is none."""
    ydoc: Doc[Any] = Doc()
    index = -1
    try:
        for index in range(len(updates)):
            with suppress(MisplacedError):  # the other structs of the update are applied
                load_update(ydoc, updates[index])
    except UpdateRefusedError as error:
        return index, error.reason
    except DocumentDamagedError:
        return index, "it damages the document"
    except BaseException as error:
        reraise_exit(error)
        return _first_unreadable(updates), "it makes the document unreadable"
    if _is_readable(ydoc):
        return None
    return _first_unreadable(updates), "it makes the document unreadable"


def _first_unreadable(updates: Sequence[bytes]) -> int:
    """Find the update after which the document cannot be read, by bisection."""
    low, high = 0, len(updates) - 1
    while low < high:
        middle = (low + high) // 2
        if _can_load(updates[: middle + 1]):
            low = middle + 1
        else:
            high = middle
    return low


def _can_load(updates: Sequence[bytes]) -> bool:
    ydoc: Doc[Any] = Doc()
    try:
        for update in updates:
            with suppress(MisplacedError):
                load_update(ydoc, update)
    except BaseException as error:
        reraise_exit(error)
        return False
    return _is_readable(ydoc)


def _is_readable(ydoc: Doc[Any]) -> bool:
    try:
        read_state(ydoc)
    except DocumentDamagedError:
        return False
    return True
