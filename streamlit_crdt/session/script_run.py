"""One run of a session's script.

What a session's widgets are called with: their kind and arguments, between the two places where they are made.

The forms of one session's page: which are cleared when they are submitted, and which button submits which.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from streamlit_crdt import _compat
from streamlit_crdt.access.room_context import CHANNEL_KEY_PREFIX
from streamlit_crdt.binding.widgets import (
    SETTABLE,
    SUBMIT_BUTTON,
    VALIDATION_ARGUMENTS,
    ClientState,
    FormInfo,
    Widget,
)
from streamlit_crdt.session.room_session import RoomSession


class WidgetCalls:
    """The calls of one session's widgets, by key. A widget's identity is computed first, then it is registered.

    Attributes:
        forms: the forms that its widgets stand in.
    """

    def __init__(self) -> None:
        self.forms = FormRegistry()
        self._calls: dict[str, tuple[str, Mapping[str, Any], str]] = {}

    def note(self, key: str, kind: str, arguments: Mapping[str, Any], form_id: str = "") -> None:
        self._calls[key] = (
            kind,
            {name: arguments[name] for name in VALIDATION_ARGUMENTS if name in arguments},
            form_id,
        )

    def forget(self, key: str) -> None:
        """Drop what is known of a widget's call once the widget is made; its next call comes with its own."""
        self._calls.pop(key, None)

    def widget(self, metadata: Any, key: str) -> Widget | None:
        """Describe the widget that is being registered, or None for the library's own."""
        kind, arguments, form_id = self._calls.get(key, ("", {}, ""))
        if not kind or key.startswith(CHANNEL_KEY_PREFIX):
            return None
        is_settable = kind in SETTABLE and not is_password(kind)
        if kind == SUBMIT_BUTTON:
            self.forms.has_button(metadata.id, form_id)
        return Widget(
            key,
            metadata.id,
            kind,
            is_settable,
            metadata.serializer,
            metadata.deserializer,
            arguments,
            self.forms.get(form_id),
        )


def is_password(kind: str) -> bool:
    """Say whether the widget that is being made hides what is typed; it is private by default (rule P8)."""
    return kind == "text_input" and _compat.caller_argument("_text_input", "type") == "password"


class FormRegistry:
    """What a session knows of its forms, from the runs that drew them.

    A message of the browser names the button that submitted a form, also where somebody pressed Enter in a field.
    """

    def __init__(self) -> None:
        self._forms: dict[str, FormInfo] = {}
        self._buttons: dict[str, str] = {}
        self._drawn: set[str] = set()

    def opened(self, form_id: str, *, clears: bool) -> None:
        """Note that a script has made a form."""
        self._forms[form_id] = FormInfo(form_id, clears)
        self._drawn.add(form_id)

    def get(self, form_id: str) -> FormInfo | None:
        """Return a form by its id; None for "", which is outside of all forms."""
        return self._forms.get(form_id, FormInfo(form_id)) if form_id else None

    def has_button(self, element_id: str, form_id: str) -> None:
        """Note that the button of this element id submits the form."""
        self._buttons[element_id] = form_id

    def submitted(self, triggers: Iterable[str]) -> frozenset[str]:
        """Return the ids of the forms that were submitted, of all that was clicked."""
        return frozenset(self._buttons[trigger] for trigger in triggers if trigger in self._buttons)

    def end_run(self) -> None:
        """Forget the forms that a complete run of the whole script has not drawn: their names may never end."""
        self._forms = {form_id: form for form_id, form in self._forms.items() if form_id in self._drawn}
        self._buttons = {
            button: form_id for button, form_id in self._buttons.items() if form_id in self._forms
        }
        self._drawn = set()


class ScriptRun:
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
        self.message: ClientState | None = None
        self.open: list[tuple[RoomSession | None, str | None]] = []
        self.calls: dict[str | None, list[RoomSession | None]] = {}
        self.entered: list[RoomSession] = []
        self.leaving: list[RoomSession] = []
        self.is_remote = False
        self.in_callbacks = False
        self.is_over = False
        self.rewritten: set[str] = set()

    def close(self, room_session: RoomSession | None) -> None:
        """Leave the innermost block of this room, or of no room."""
        rooms = [opened for opened, _fragment in self.open]
        if room_session in rooms:
            del self.open[len(rooms) - 1 - rooms[::-1].index(room_session)]

    def innermost(self, fragment: str | None) -> RoomSession | None:
        """Return the room of the innermost open block; one that a fragment has opened is over with it."""
        for room_session, opened_in in reversed(self.open):
            if opened_in is None or fragment is not None:
                return room_session
        return None

    def is_outside(self, fragment: str | None) -> bool:
        """Say whether the innermost open block is that of no room."""
        opened = [one for one, opened_in in self.open if opened_in is None or fragment is not None]
        return bool(opened) and opened[-1] is None
