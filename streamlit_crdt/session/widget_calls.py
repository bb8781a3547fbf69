"""Calls of widget functions in one run, and the forms of a session."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import streamlit as st

from streamlit_crdt import _compat
from streamlit_crdt.access.room_context import CHANNEL_KEY_PREFIX
from streamlit_crdt.binding import form_drafts, widget_registration
from streamlit_crdt.binding.widgets import (
    SETTABLE,
    SUBMIT_BUTTON,
    VALIDATION_ARGUMENTS,
    FormInfo,
    Widget,
    unkeyed_key,
)
from streamlit_crdt.session.script_run import ScriptRun

if TYPE_CHECKING:
    from streamlit_crdt.session.room_session import RoomSession


class WidgetCall:
    """One call of a widget function. The wrapped functions of Streamlit share it; it resolves the room once.

    Attributes:
        key: key of the widget.
        room: the room of the widget; None if it is in no room.
        scope: part of the widget's identity that differs between rooms; None if the widget is not shared.
        kind: Streamlit's element type; "" before the identity is computed.
    """

    def __init__(self, run: ScriptRun, key: str, room: RoomSession | None) -> None:
        self.key = key
        self.room = room
        self.scope: str | None = None
        self.kind = ""
        self._run = run
        self._arguments: Mapping[str, Any] = {}
        self._form_id = ""
        self._is_settable = False
        self._widget: Widget | None = None

    def identify(self, kind: str, arguments: Mapping[str, Any], form_id: str, *, is_settable: bool) -> None:
        """Take the arguments of the widget's identity."""
        self.kind = kind
        self._arguments = {name: arguments[name] for name in VALIDATION_ARGUMENTS if name in arguments}
        self._form_id = form_id
        self._is_settable = is_settable
        if self.room is not None and is_settable and self.room.key_filter.shares(self.key):
            self.scope = self.room.scope

    def before_rules(self, *, writes_allowed: bool) -> bool:
        """Return whether this library wrote the value in session state. Remove it if the widget refuses values."""
        if self.room is None:
            return False
        with self.room.binding.locked() as keys:
            if not widget_registration.is_written_by_binding(keys, self.key):
                return False
            if not writes_allowed:
                widget_registration.forget(keys, self.key)
        if not writes_allowed and self.key in st.session_state:
            del st.session_state[self.key]
        return True

    def before_register(self, state: _compat.RawState, metadata: Any) -> None:
        """Validate the value in session state, or write the room's value (rules P2, P3)."""
        self._widget = self._describe(metadata)
        if self.room is None or self._widget is None or self._run.is_superseded:
            return
        self.room.binding.prepare(
            self._widget,
            state,
            is_in_browser=self._run.is_shown_by_browser(self._widget),
            is_fragment_run=bool(self._run.context.fragments),
        )

    def withholds(self, value: Any, *, assigned: bool) -> bool:
        """Return whether the browser does not get the value of the widget (rule P7)."""
        if self.room is None or self._widget is None or self._widget.form is None or self._run.is_superseded:
            return False
        with self.room.binding.locked() as keys:
            return form_drafts.withholds(keys, self._widget, value, is_assigned=assigned)

    def after_register(self, value: Any, *, assigned: bool) -> None:
        """Record the value that the widget shows. A widget belongs to one room, or to none."""
        if self._widget is not None and not self._run.is_superseded:
            self._run.session.widget_registered(self._run, self.room, self._widget, value, assigned=assigned)

    def _describe(self, metadata: Any) -> Widget | None:
        """Return the widget; None for the library's own, and for one whose identity is unknown."""
        if not self.kind or self.key.startswith(CHANNEL_KEY_PREFIX):
            return None
        forms = self._run.session.forms
        if self.kind == SUBMIT_BUTTON:
            forms.add_button(metadata.id, self._form_id)
        return Widget(
            self.key,
            metadata.id,
            self.kind,
            self._is_settable,
            metadata.serializer,
            metadata.deserializer,
            self._arguments,
            forms.get(self._form_id),
        )


class WidgetCalls:
    """The calls of widget functions in one run, by key.

    A widget with a key passes three wrapped functions: the rules for session state, its identity, its registration. A
    widget without a key skips the first.
    """

    def __init__(self, run: ScriptRun) -> None:
        self.run = run
        self._calls: dict[str, WidgetCall] = {}

    def before_rules(self, key: str, *, writes_allowed: bool) -> bool:
        """Begin a call; see `WidgetCall.before_rules`."""
        if self.run.is_superseded:
            return False
        call = self._calls[key] = WidgetCall(self.run, key, self.run.session.room_of_widget(self.run))
        return call.before_rules(writes_allowed=writes_allowed)

    def identify(
        self,
        kind: str,
        key: str | None,
        arguments: Mapping[str, Any],
        form_id: Callable[[], str],
        native_hash: Callable[[], str],
    ) -> WidgetCall | None:
        """Begin a call, or continue the one of `before_rules`; None for a widget without a key that is not shared."""
        run = self.run
        is_settable = kind in SETTABLE and not is_password(kind)
        if key is None:
            room = None if run.is_superseded else run.session.room_of_widget(run)
            if room is None or not is_settable:
                return None
            key = unkeyed_key(kind, native_hash())
            if not room.key_filter.shares(key):
                return None
            call = WidgetCall(run, key, room)
        elif (begun := self._calls.get(key)) is not None and not begun.kind:
            call = begun
        else:
            call = WidgetCall(run, key, None if run.is_superseded else run.session.room_of_widget(run))
        self._calls[key] = call
        call.identify(kind, arguments, form_id(), is_settable=is_settable)
        return call

    def take(self, key: str) -> WidgetCall | None:
        """Return the call of a widget that is being registered, which ends it."""
        return self._calls.pop(key, None)


def is_password(kind: str) -> bool:
    """Return whether the widget that is being called hides its text. It is private by default (rule P8)."""
    return kind == "text_input" and _compat.caller_argument("_text_input", "type") == "password"


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
        """Return a form by its id; None for "", outside of all forms."""
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
