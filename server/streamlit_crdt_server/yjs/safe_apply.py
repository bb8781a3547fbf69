"""Validation and safe application of untrusted updates.

A panic in Rust arrives as `PanicException`, which is a *BaseException*. The document is lost afterwards: it panics at
each later read, so that no peer can join the room again. An update therefore passes two checks first: its form, in
Python, and its application to an empty scratch document.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pycrdt import Doc, get_state, get_update, merge_updates

from streamlit_crdt_server.errors import UpdateRefusedError
from streamlit_crdt_server.yjs.integration_cost import check_cost
from streamlit_crdt_server.yjs.integration_order import is_circular
from streamlit_crdt_server.yjs.lib0 import EMPTY_UPDATE
from streamlit_crdt_server.yjs.nesting import (
    MAX_NESTING,
    BetweenTypesError,
    NestingError,
    SplitEntryError,
    check_nesting,
    depths_of,
)
from streamlit_crdt_server.yjs.structs import MERGE_OVER_STRUCTS, merge_structs
from streamlit_crdt_server.yjs.update_decoder import UpdateMeta, decode_state_vector, read_update_meta


class DocumentDamagedError(Exception):
    """Raised when the document panicked and must be replaced. It does not leave the room."""


class MisplacedError(UpdateRefusedError):
    """Raised when the parent of a struct is not a shared type. The document applied the structs before it."""

    def __init__(self) -> None:
        super().__init__("the parent of one of its structs is not a shared type")

    def __str__(self) -> str:
        return f"the update was refused: {self.reason}"


@dataclass(frozen=True, slots=True)
class ValidatedUpdate:
    """An update that passed `validate_update`.

    It keeps two clocks per replica and three counts instead of the whole `UpdateMeta`, which may take many times the
    memory of the update.

    Attributes:
        data: The bytes to apply.
        dependencies: `UpdateMeta.needed_clocks()`.
        ends: `UpdateMeta.ends()`.
        runs: `UpdateMeta.run_count`.
        insertions: `UpdateMeta.count_insertions()`.
        deletions: Number of deleted ranges.
    """

    data: bytes
    dependencies: Mapping[int, int] = field(default_factory=dict)
    ends: Mapping[int, int] = field(default_factory=dict)
    runs: int = 0
    insertions: int = 0
    deletions: int = 0

    @classmethod
    def from_meta(cls, data: bytes, meta: UpdateMeta) -> ValidatedUpdate:
        insertions, deletions = meta.count_insertions(), len(meta.deletions) // 3
        return cls(data, meta.needed_clocks(), meta.ends(), meta.run_count, insertions, deletions)


def validate_update(update: bytes, max_nesting: int = MAX_NESTING) -> ValidatedUpdate:
    """Check the form, the nesting and the cost of an update, and apply it to an empty document.

    Any thread. A small update takes 20 us. The nesting in the document is checked later, see `NestingDepths`.

    Returns:
        An equivalent update, with fewer structs if it had many.

    Raises:
        UpdateRefusedError: The update must not be applied to a room.
    """
    try:
        meta = read_update_meta(update)
        if meta.structs - meta.run_count > MERGE_OVER_STRUCTS:
            update = merge_structs(update)
            meta = read_update_meta(update)
        check_nesting(meta, max_nesting)
        check_cost(meta)
    except UpdateRefusedError:
        raise
    except (ValueError, RecursionError) as error:
        raise UpdateRefusedError(str(error) or "it is nested too deeply") from error
    try:
        _try_in_empty_document(update, meta)
    except BaseException as error:
        reraise_exit(error)
        raise UpdateRefusedError(f"an empty document rejects it ({type(error).__name__})") from error
    if is_circular(meta):
        raise UpdateRefusedError("its structs depend on each other in a circle")
    return ValidatedUpdate.from_meta(update, meta)


def _try_in_empty_document(update: bytes, meta: UpdateMeta) -> None:
    """Apply an update to an empty document. One without a first struct is only decoded: it stays pending there."""
    if any(not block.start for block in meta.blocks.values()):
        Doc().apply_update(update)
    else:
        get_state(update)


def apply_update(ydoc: Doc[Any], update: bytes) -> None:
    """Apply an update that the document can integrate, within the open transaction if there is one.

    pycrdt 0.14.13 raises RuntimeError at a struct whose parent is not a shared type. The document stays usable. It
    keeps the structs that it applied before, and its observers see them.

    Raises:
        UpdateRefusedError: The update does not decode. The document is unchanged.
        NestingError: Its shared types would be nested too deeply in the document, which is unchanged.
        MisplacedError: The parent of one of its structs is not a shared type.
        DocumentDamagedError: The document panicked.
    """
    depths = depths_of(ydoc)
    if depths.is_flat_after(update):
        _apply_admitted(ydoc, update)
        return
    with depths.admit(update, lambda: decode_state_vector(read_vector(ydoc))):
        _apply_admitted(ydoc, update)


def load_update(ydoc: Doc[Any], update: bytes) -> None:
    """Call `apply_update` for an update of a log. Types that are nested too deeply are left out."""
    try:
        apply_update(ydoc, update)
    except (NestingError, BetweenTypesError, SplitEntryError):
        apply_update(ydoc, depths_of(ydoc).without_deep_structs(update))


def _apply_admitted(ydoc: Doc[Any], update: bytes) -> None:
    try:
        ydoc.apply_update(update)
    except RuntimeError as error:
        read_vector(ydoc)  # raises if the document is the cause
        raise MisplacedError from error
    except (ValueError, TypeError) as error:
        raise UpdateRefusedError(str(error)) from error
    except BaseException as error:
        reraise_exit(error)
        raise DocumentDamagedError("apply") from error


def read_state(ydoc: Doc[Any], state_vector: bytes | None = None) -> bytes:
    """Encode the difference between `ydoc` and a checked state vector, or the whole state if it is None.

    Raises:
        DocumentDamagedError: The document panicked.
    """
    try:
        return ydoc.get_update(state_vector)
    except BaseException as error:
        reraise_exit(error)
        raise DocumentDamagedError("read") from error


def read_vector(ydoc: Doc[Any]) -> bytes:
    """Encode the state vector of `ydoc`.

    Raises:
        DocumentDamagedError: The document panicked.
    """
    try:
        return ydoc.get_state()
    except BaseException as error:
        reraise_exit(error)
        raise DocumentDamagedError("read") from error


def is_complete_state(ydoc: Doc[Any], state: bytes) -> bool:
    """Return whether `state`, which was read from `ydoc`, covers its state vector. Costs less than reading the state.

    It does not if the document has a fault that no check detects. The log still holds the updates of the clients
    then, and must not be replaced by the state.

    Raises:
        DocumentDamagedError: The document panicked.
    """
    covered = decode_state_vector(get_state(state))
    return all(
        covered.get(replica, 0) >= clock for replica, clock in decode_state_vector(read_vector(ydoc)).items()
    )


def has_changes(ydoc: Doc[Any], update: bytes) -> bool:
    """Return whether a checked update would change `ydoc`, without applying it. The cost grows with its deletions.

    A client that only reads sends updates as well: its SyncStep2 repeats every deletion in its document.

    Raises:
        DocumentDamagedError: The document panicked.
    """
    vector = read_vector(ydoc)
    deletions = read_state(ydoc, vector)
    beyond = get_update(update, vector)
    if beyond[0]:  # the number of replicas with structs
        return True
    return merge_updates(deletions, beyond) != merge_updates(deletions, EMPTY_UPDATE)


def reraise_exit(error: BaseException) -> None:
    """Raise `error` again if it is a cancellation or an exit. Callers catch everything else, including panics."""
    endings = (asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit)
    found = error.subgroup(endings) if isinstance(error, BaseExceptionGroup) else isinstance(error, endings)
    if found:
        raise error
