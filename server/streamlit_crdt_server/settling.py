"""Giving a document again what waited inside it, after one of those updates proved to be false.

Whether a struct lies in a shared type is known only when what it lies in is there. One that waits may have
claimed what is not so; then pycrdt 0.14.13 fails on the update that brings the truth, and drops all that waits. So
all of it is given again: at first together, and what fails in halves, down to the struct that no document takes.
"""

from __future__ import annotations

from typing import Any

from pycrdt import Doc

from streamlit_crdt_server.yjs.safe_apply import MisplacedError, apply_update
from streamlit_crdt_server.yjs.structs import Place, StructSlices

TRIES = 64
PIECES = 4096
"""So many tries at a time, or so many pieces: whoever has made much wait that is false keeps one room busy, and no
other."""

Part = tuple[int, int]
"""The first of some pieces, and one past the last."""


class Settling:
    """One pass through what waits.

    Attributes:
        places: Where the structs are that the document does not take.
        is_clean: Whether all was taken at once, so that the document holds it as if nothing had happened.
    """

    def __init__(self, pieces: StructSlices) -> None:
        """Begin a pass."""
        self.places: set[Place] = set()
        self.is_clean = True
        self._pieces = pieces
        self._left: list[Part] = [(0, len(pieces))]
        self._inside: list[Part] = []

    @property
    def is_over(self) -> bool:
        """Whether everything was given."""
        return not self._left

    def culprits(self) -> bytes:
        """Return the structs that the document does not take, as one update."""
        return self._pieces.only(self.places)

    def go_on(self, ydoc: Doc[Any]) -> None:
        """Give the next parts to the document.

        Raises:
            DocumentDamagedError: The document panicked.
        """
        tries = pieces = 0
        while self._left and tries < TRIES and pieces < PIECES:
            first, end = self._left.pop()
            self._give(ydoc, (first, end))
            tries, pieces = tries + 1, pieces + end - first

    def _give(self, ydoc: Doc[Any], part: Part) -> None:
        first, end = part
        try:
            keeps_others = apply_update(ydoc, self._pieces.encode(first, end))
        except MisplacedError:
            self.is_clean = False
            if end - first == 1:
                self._throw_out(first)
            else:
                middle = (first + end) // 2
                self._left += ((middle, end), (first, middle))
            return
        if not keeps_others:
            self.is_clean = False
            self._left += reversed(self._inside)
            self._inside.clear()
        self._inside.append(part)

    def _throw_out(self, culprit: int) -> None:
        """Leave a piece out, and in this pass what the same replica wrote later: nobody sees what is beyond a gap."""
        self.places.add(self._pieces.place(culprit))
        end = self._pieces.end_of_replica(culprit)
        parts = [
            part
            for first, last in self._left
            for part in ((max(first, end), last), (first, min(last, culprit)))
        ]
        self._left = [(first, last) for first, last in parts if first < last]
