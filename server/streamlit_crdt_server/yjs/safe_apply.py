"""Putting an update into a document without letting a bad one damage it.

A panic in Rust arrives as `PanicException`, which is a *BaseException*, and the document that it hit is lost:
from then on it panics whenever it is read, so that nobody can join the room again. So an update passes two
checks first: its form, in Python, and an empty scratch document.
"""

from __future__ import annotations

import asyncio
from typing import Any

from pycrdt import Doc, get_state, get_update, merge_updates

from streamlit_crdt_server.errors import UpdateRefusedError
from streamlit_crdt_server.yjs.integration_cost import check_cost
from streamlit_crdt_server.yjs.lib0 import EMPTY_UPDATE
from streamlit_crdt_server.yjs.structs import MANY, merge_structs
from streamlit_crdt_server.yjs.update_decoder import check_state_vector, read_update_meta


class DocumentDamagedError(Exception):
    """The document panicked and must be replaced. Never leaves the room."""


class MisplacedError(UpdateRefusedError):
    """A struct of an update lies in what is no shared type; the document took what comes before it."""

    def __init__(self) -> None:
        super().__init__("a part of it lies in what is no shared type")

    def __str__(self) -> str:
        return f"the update was refused: {self.reason}"


def validate_update(update: bytes) -> tuple[bytes, dict[int, int]]:
    """Check an update's form and cost, then apply it to an empty document. Any thread; 20 us for a small one.

    Returns:
        The update to apply, which does the same in fewer structs if it has many; and how far it reaches: the
        clock up to which it inserts or deletes, per replica id.

    Raises:
        UpdateRefusedError: It must not reach a room.
    """
    try:
        shape = read_update_meta(update)
        if shape.structs - shape.loose_count > MANY:
            update = merge_structs(update)
            shape = read_update_meta(update)
        check_cost(shape)
    except (ValueError, RecursionError) as error:
        raise UpdateRefusedError(str(error) or "it is nested too deeply") from error
    try:
        Doc[Any]().apply_update(update)
    except BaseException as error:
        reraise_exit(error)
        raise UpdateRefusedError(f"an empty document does not take it ({type(error).__name__})") from error
    return update, shape.reach


def apply_update(ydoc: Doc[Any], update: bytes) -> bool:
    """Apply an update within the transaction that is open, if one is.

    pycrdt 0.14.13 raises RuntimeError at a struct that lies in what is no shared type. The document stays sound, and
    keeps, and shows to its observers, what it took before that struct. If the struct is of another update, one which
    waited for what this one brings, then all that waited is dropped, and this one passes when it is tried again.

    Returns:
        Whether the document still has what waits inside it; else that is to be given to it again, see `settling`.

    Raises:
        UpdateRefusedError: It does not decode; the document is as it was.
        MisplacedError: One of its own structs is misplaced.
        DocumentDamagedError: The document panicked.
    """
    try:
        _apply(ydoc, update)
    except RuntimeError:
        try:
            _apply(ydoc, update)
        except RuntimeError as error:
            read_vector(ydoc)  # raises if it was not for the update
            raise MisplacedError from error
        return False
    return True


def _apply(ydoc: Doc[Any], update: bytes) -> None:
    try:
        ydoc.apply_update(update)
    except RuntimeError:
        raise
    except (ValueError, TypeError) as error:
        raise UpdateRefusedError(str(error)) from error
    except BaseException as error:
        reraise_exit(error)
        raise DocumentDamagedError("apply") from error


def read_state(ydoc: Doc[Any], state_vector: bytes | None = None) -> bytes:
    """Encode what `ydoc` has beyond a state vector, which must have been checked; everything if it is None.

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


def loads_alike(ydoc: Doc[Any], state: bytes) -> bool:
    """Whether `state`, which was read from `ydoc`, reaches as far as `ydoc` itself. Costs less than reading it.

    It does, unless the document is faulty in a way that no check has foreseen. Then its log still is what its
    clients wrote, and must not be replaced by the state.

    Raises:
        DocumentDamagedError: The document panicked.
    """
    reached = check_state_vector(get_state(state))
    return all(
        reached.get(replica, 0) >= clock for replica, clock in check_state_vector(read_vector(ydoc)).items()
    )


def has_changes(ydoc: Doc[Any], update: bytes) -> bool:
    """Whether a checked update would change `ydoc`, without applying it. Costs as much as `ydoc` has deletions.

    A client that only looks on sends updates as well: its answer to the server's state vector repeats every
    deletion that it knows.

    Raises:
        DocumentDamagedError: The document panicked.
    """
    vector = read_vector(ydoc)
    deletions = read_state(ydoc, vector)
    beyond = get_update(update, vector)
    if beyond[0]:  # holds structs
        return True
    return merge_updates(deletions, beyond) != merge_updates(deletions, EMPTY_UPDATE)


def reraise_exit(error: BaseException) -> None:
    """Raise cancellation and exit again, where everything else, panics included, is caught."""
    endings = (asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit)
    found = error.subgroup(endings) if isinstance(error, BaseExceptionGroup) else isinstance(error, endings)
    if found:
        raise error
