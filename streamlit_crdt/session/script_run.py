"""One script run of a session: its cause, its client state, and the rooms that it enters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamlit_crdt import _compat
from streamlit_crdt.binding.widgets import ClientState, Widget

if TYPE_CHECKING:
    from streamlit_crdt.session.room_session import RoomSession
    from streamlit_crdt.session.session import Session


class ScriptRun:
    """One run of a session's script, full or of fragments.

    Attributes:
        session: the session whose script runs.
        context: Streamlit's side of the run, and its identity.
        client_state: what the browser sent with the run; None if code alone caused it.
        open_blocks: the open `with` blocks, innermost last, each with the fragment that opened it. The block of
            `crdt_sync(None)` has no room.
        calls: the rooms of the calls of `crdt_sync`, in order, by fragment; None is the key of the rest of the
            script. A call of `crdt_sync(None)` has no room.
        entered: the rooms that the run called `crdt_sync` for.
        leaving: those of them that the session leaves when the run is over.
        is_remote: whether a remote edit caused the run (rule P4).
        is_superseded: whether a newer run replaces this one. Then this run reads and writes nothing any more.
        is_in_callbacks: whether the callbacks of the client state run, before the script.
        is_over: whether the run has ended. A thread that it started may go on.
        rewritten: keys for which the browser sent an echo, and whose value in flight was written again.
    """

    def __init__(self, session: Session, context: _compat.RunContext) -> None:
        self.session = session
        self.context = context
        self.client_state: ClientState | None = None
        self.open_blocks: list[tuple[RoomSession | None, str | None]] = []
        self.calls: dict[str | None, list[RoomSession | None]] = {}
        self.entered: list[RoomSession] = []
        self.leaving: list[RoomSession] = []
        self.is_remote = False
        self.is_superseded = False
        self.is_in_callbacks = False
        self.is_over = False
        self.rewritten: set[str] = set()

    @property
    def has_changes(self) -> bool:
        """Whether the client state contains an edit or a click."""
        return self.client_state is not None and self.client_state.has_changes

    @property
    def is_by_timer(self) -> bool:
        """Whether a fragment's timer caused the run, and no person."""
        return self.client_state is not None and self.client_state.is_timers

    def is_shown_by_browser(self, widget: Widget) -> bool:
        """Return whether the browser has a value of `widget`, so that it does not need one."""
        return self.client_state is not None and self.client_state.contains(widget)

    def close_block(self, room_session: RoomSession | None) -> None:
        """Close the innermost open block of this room, or of no room."""
        rooms = [room for room, _fragment in self.open_blocks]
        if room_session in rooms:
            del self.open_blocks[len(rooms) - 1 - rooms[::-1].index(room_session)]

    def innermost_block(self, fragment: str | None) -> tuple[RoomSession | None, str | None] | None:
        """Return the innermost open block of a fragment (None: of the rest of the script), with its fragment.

        A block that a fragment opened ends with the fragment.
        """
        for block in reversed(self.open_blocks):
            if block[1] is None or fragment is not None:
                return block
        return None
