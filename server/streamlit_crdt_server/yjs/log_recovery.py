"""Telling the stored updates that a document can live with from those that would damage it.

An older version wrote what it received. The poison update of pycrdt (see `apply`) in a log would lock
everybody out of its room for ever, so a log is tried on a scratch document before it is loaded.
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
    apply_update,
    read_state,
    reraise_exit,
)
from streamlit_crdt_server.yjs.structs import merge_structs

JOIN_OVER_BYTES = 2 * 1024

BadRow = tuple[bytes, str]
"""A stored update, and what is wrong with it."""


def split_readable(updates: Sequence[bytes]) -> tuple[list[bytes], list[BadRow]]:
    """Split a log into what a document takes, in order, and what it does not. Costs one load if all is well."""
    good, bad = [_joined(update) for update in updates], list[BadRow]()
    origins = list(updates)
    while (culprit := _first_bad(good)) is not None:
        index, why = culprit
        del good[index]
        bad.append((origins.pop(index), why))
    return good, bad


def load_all(ydoc: Doc[Any], updates: Sequence[bytes]) -> bool:
    """Apply what `sort_out` found good, each in a transaction of its own as `batch.TOGETHER` says.

    Returns:
        Whether the document took all of it; else a part of it is to be given to it again, see `settling`.
    """
    is_settled = True
    for update in updates:
        try:
            is_settled &= apply_update(ydoc, update)
        except MisplacedError:
            is_settled = False
    return is_settled


def _joined(update: bytes) -> bytes:
    """Return an update that loads fast, where updates were merged before they were stored."""
    if len(update) < JOIN_OVER_BYTES:
        return update
    try:
        return merge_structs(update)
    except (ValueError, RecursionError):
        return update  # whoever applies it says what is wrong


def _first_bad(updates: Sequence[bytes]) -> tuple[int, str] | None:
    """Return the place of the first update that spoils everything before it, and how; None if there is none."""
    ydoc: Doc[Any] = Doc()
    index = -1
    try:
        for index in range(len(updates)):
            with suppress(MisplacedError):  # it is only a part of it: see `settling`
                apply_update(ydoc, updates[index])
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
    """Halve the log until the update after which the document cannot be read is found."""
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
                apply_update(ydoc, update)
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
