"""One script run of a session, and the forms of the session."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from streamlit_crdt import _compat
from streamlit_crdt.access.room_context import CHANNEL_KEY_PREFIX
from streamlit_crdt.binding.widgets import ClientState, FormInfo

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
        is_by_person: whether a person caused the run, and not a remote edit or a timer (rule R9). None until the run
            needs to know.
        is_requested_by_person: whether a person caused the request of the browser that has the client state.
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
        self.is_by_person: bool | None = None
        self.is_requested_by_person = True
        self.is_superseded = False
        self.is_in_callbacks = False
        self.is_over = False
        self.rewritten: set[str] = set()

    @property
    def has_changes(self) -> bool:
        """True if the client state contains an edit or a click."""
        return self.client_state is not None and self.client_state.has_changes

    @property
    def has_trigger(self) -> bool:
        """True if the client state has a click, a submit or a chat input of the app."""
        triggers = () if self.client_state is None else self.client_state.triggers
        return any(CHANNEL_KEY_PREFIX not in trigger for trigger in triggers)

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

    def room_of_widget(self, fragment: str | None) -> RoomSession | None:
        """Return the room of the widget that this thread's script calls next; None for no room.

        In a rerun of a fragment that opens no block, it is the room in which the last full run called the fragment.

        Args:
            fragment: id of the fragment that this thread runs.
        """
        is_rerun = bool(self.context.fragments)
        fragment_rooms = self.session.fragment_rooms
        block = self.innermost_block(fragment)
        if block is not None or not is_rerun:
            room_session = None if block is None else block[0]
            if fragment is not None and (room_session is not None or not is_rerun):
                fragment_rooms[fragment] = room_session
            return room_session
        former = fragment_rooms.get(fragment or "")
        return None if former is None or former.is_away else former


class FormRegistry:
    """The forms of one session, from the runs that rendered them.

    A client state names the submit button of a form, also if a person pressed Enter in a widget of the form.
    """

    def __init__(self) -> None:
        self._forms: dict[str, FormInfo] = {}
        self._buttons: dict[str, str] = {}
        self._rendered: set[str] = set()

    def add(self, form_id: str, *, clears: bool) -> None:
        """Record a form of the present run.

        Args:
            clears: whether the browser clears it on submit.
        """
        self._forms[form_id] = FormInfo(form_id, clears)
        self._rendered.add(form_id)

    def get(self, form_id: str) -> FormInfo | None:
        """Return a form by its id; None for "", outside of all forms.

        A form that the library missed counts as one that is not cleared on submit.
        """
        return self._forms.get(form_id, FormInfo(form_id)) if form_id else None

    def add_button(self, element_id: str, form_id: str) -> None:
        """Record that the button with this element id submits the form."""
        self._buttons[element_id] = form_id

    def submitted(self, triggers: Iterable[str]) -> frozenset[str]:
        """Return the ids of the forms that these triggers submit."""
        return frozenset(self._buttons[trigger] for trigger in triggers if trigger in self._buttons)

    def end_run(self) -> None:
        """Drop the forms that a complete full run did not render. Otherwise their number may grow without bound."""
        self._forms = {form_id: form for form_id, form in self._forms.items() if form_id in self._rendered}
        self._buttons = {
            button: form_id for button, form_id in self._buttons.items() if form_id in self._forms
        }
        self._rendered = set()
