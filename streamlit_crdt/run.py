"""One run of a session's script."""

from __future__ import annotations

from typing import Any

from streamlit_crdt.binding import Binding
from streamlit_crdt.message import Message


class Run:
    """One run of a session's script, full or of fragments.

    Attributes:
        identity: what tells runs apart, see `_compat.run_identity`.
        message: what the browser sent with it, None if code alone caused it.
        open: the rooms whose block the script is in, innermost last, with the fragment that opened them; None is the
            block of no room.
        calls: the rooms that `crdt_sync` has been called for, call by call, in each fragment and (None) outside of all;
            None for no room.
        entered: the rooms that `crdt_sync` has been called for.
        leaving: those of them that are left when the run is over.
        is_remote: whether a remote edit caused it (rule P4).
        in_callbacks: whether the callbacks of what the browser sent run, before any script.
        is_over: whether it has ended; a thread that it started may go on.
        rewritten: keys of which the browser still sent an old value, and that hold the one on its way again.
    """

    def __init__(self, identity: Any) -> None:
        self.identity = identity
        self.message: Message | None = None
        self.open: list[tuple[Binding | None, str | None]] = []
        self.calls: dict[str | None, list[Binding | None]] = {}
        self.entered: list[Binding] = []
        self.leaving: list[Binding] = []
        self.is_remote = False
        self.in_callbacks = False
        self.is_over = False
        self.rewritten: set[str] = set()

    def close(self, binding: Binding | None) -> None:
        """Leave the innermost block of this room, or of no room."""
        rooms = [opened for opened, _fragment in self.open]
        if binding in rooms:
            del self.open[len(rooms) - 1 - rooms[::-1].index(binding)]

    def innermost(self, fragment: str | None) -> Binding | None:
        """Return the room of the innermost open block; one that a fragment has opened is over with it."""
        for binding, opened_in in reversed(self.open):
            if opened_in is None or fragment is not None:
                return binding
        return None

    def is_outside(self, fragment: str | None) -> bool:
        """Say whether the innermost open block is that of no room."""
        opened = [one for one, opened_in in self.open if opened_in is None or fragment is not None]
        return bool(opened) and opened[-1] is None
