"""Guard around calls into pycrdt that may panic, and the content of a document that has panicked.

A panic is a BaseException; `except Exception` does not catch it.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Iterator
from contextlib import contextmanager

from pycrdt import merge_updates

from streamlit_crdt.errors import UpdateRefusedError


@contextmanager
def refuse_panics() -> Iterator[None]:
    """Convert every exception of the block, panics included, to UpdateRefusedError.

    KeyboardInterrupt, SystemExit, GeneratorExit and CancelledError pass.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, CancelledError):
        raise
    except BaseException as error:
        raise UpdateRefusedError(f"{type(error).__name__}: {error}") from error


MIN_TAIL_BYTES = 64 * 1024
"""Size of the updates in bytes that an `IntactCopy` always keeps beside its state."""

MERGE_AFTER = 256
"""Updates that are merged into one, because each takes memory beside its bytes."""


class IntactCopy:
    """The content of a document, as a state and the later updates. A document that panicked cannot be read any more.

    Encoding the state before each update would take time in proportion to the document. Here an update costs no more
    than its own bytes, on average. The memory is at most twice the encoded state,
    or twice the largest update.
    """

    def __init__(self, state: bytes | None) -> None:
        self._parts = [] if state is None else [state]
        self._single: list[bytes] = []
        self._tail_bytes = 0
        self._max_tail_bytes = max(MIN_TAIL_BYTES, len(state or b""))

    def add(self, update: bytes) -> bool:
        """Add an update that the document applied. Return whether a new copy of its state takes less memory."""
        self._single.append(update)
        self._tail_bytes += len(update)
        self._max_tail_bytes = max(self._max_tail_bytes, 2 * len(update))  # the first one is the whole room
        if len(self._single) >= MERGE_AFTER:
            self._parts.append(merge_updates(*self._single))
            self._single.clear()
        return self._tail_bytes > self._max_tail_bytes

    def content(self) -> bytes | None:
        """Return the content as one update, None if it is empty."""
        parts = [*self._parts, *self._single]
        return merge_updates(*parts) if len(parts) > 1 else next(iter(parts), None)
