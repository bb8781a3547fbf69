"""Mending what waits to be applied, so that it cuts no character in two: see `SurrogatePairs`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from anyio import to_thread
from pycrdt import Doc

from streamlit_crdt_server.batch import Entry
from streamlit_crdt_server.errors import UpdateRefusedError
from streamlit_crdt_server.yjs.safe_apply import read_vector
from streamlit_crdt_server.yjs.surrogate_pairs import SurrogatePairs
from streamlit_crdt_server.yjs.update_decoder import check_state_vector

MEND_IN_THREAD_OVER_BYTES = 64 * 1024
"""As for `decoding`: walking through a large batch must not hold up other rooms."""


async def mend(ydoc: Doc[Any], characters: SurrogatePairs, batch: Sequence[Entry]) -> Sequence[Entry]:
    """Return a batch such that it cuts no character of `ydoc`; the senders of what cannot be mended are told.

    Raises:
        DocumentDamagedError: The document panicked.
    """
    if not any(characters.concern(entry.update) for entry in batch):
        return batch
    work = partial(_mend, characters, check_state_vector(read_vector(ydoc)), batch)
    is_large = sum(len(entry.update) for entry in batch) > MEND_IN_THREAD_OVER_BYTES
    mended, refused = await to_thread.run_sync(work) if is_large else work()
    for entry, error in refused:
        entry.refuse(error)
    return mended


def _mend(
    characters: SurrogatePairs, clocks: dict[int, int], batch: Sequence[Entry]
) -> tuple[list[Entry], list[tuple[Entry, UpdateRefusedError]]]:
    mended, refused = list[Entry](), list[tuple[Entry, UpdateRefusedError]]()
    earlier = list[Mapping[int, Iterable[int]]]()
    for entry in batch:
        try:
            update, shape = characters.mend(entry.update, clocks, earlier)
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
        earlier.append(shape.halves)
        shape.advance(clocks)
    return mended, refused
