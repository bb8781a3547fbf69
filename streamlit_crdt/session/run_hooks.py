"""Hooks of one script run, and of each call of a widget function in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import streamlit as st

from streamlit_crdt import _compat
from streamlit_crdt.access.room_context import CHANNEL_KEY_PREFIX
from streamlit_crdt.binding import form_drafts, widget_registration
from streamlit_crdt.binding.widgets import (
    SETTABLE,
    SUBMIT_BUTTON,
    Widget,
    unkeyed_key,
    validation_arguments,
)
from streamlit_crdt.session.script_run import ScriptRun

if TYPE_CHECKING:
    from streamlit_crdt.session.room_session import RoomSession
    from streamlit_crdt.session.session import Session


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
        self._is_in_browser = False
        self._widget: Widget | None = None

    def identify(self, kind: str, arguments: Mapping[str, Any], form_id: str, *, is_settable: bool) -> None:
        """Take the arguments of the widget's identity."""
        self.kind = kind
        self._arguments = validation_arguments(arguments)
        self._form_id = form_id
        self._is_settable = is_settable
        if self.room is not None and is_settable:
            binding = self.room.binding
            with binding.lock:
                is_shared = binding.keys[self.key].is_shared
            self.scope = self.room.scope if is_shared else None

    def before_rules(self, *, writes_allowed: bool) -> bool:
        """Return whether this library wrote the value in session state. Remove it if the widget refuses values."""
        if self.room is None:
            return False
        binding = self.room.binding
        with binding.lock:
            if not widget_registration.is_written_by_binding(binding.keys, self.key):
                return False
            if not writes_allowed:
                widget_registration.forget(binding.keys, self.key)
        if not writes_allowed and self.key in st.session_state:
            del st.session_state[self.key]
        return True

    def before_register(self, state: _compat.RawState, metadata: Any) -> None:
        """Validate the value in session state, or write the room's value (rules P2, P3)."""
        self._widget = self._describe(metadata)
        client_state = self._run.client_state
        self._is_in_browser = (
            self._widget is not None
            and client_state is not None
            and self._widget.element_id in client_state.states
        )
        if self.room is None or self._widget is None or self._run.is_superseded:
            return
        self.room.binding.prepare(
            self._widget,
            state,
            is_in_browser=self._is_in_browser,
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
            self._run.session.widget_registered(
                self._run,
                self.room,
                self._widget,
                value,
                is_assigned=assigned,
                is_in_browser=self._is_in_browser,
            )

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
            forms.get(self._form_id) if self._form_id else None,
        )


class ScriptRunHooks:
    """Hooks of one script run of a session.

    A widget with a key passes three of them: the rules for session state, its identity, its registration. A widget
    without a key skips the first.
    """

    def __init__(self, session: Session, context: _compat.RunContext) -> None:
        self.session = session
        self._context = context
        self._run: ScriptRun | None = None
        self._calls: dict[str, WidgetCall] = {}

    @property
    def run(self) -> ScriptRun:
        """The run. The first access makes it the session's present run, unless it is superseded."""
        if self._run is None:
            self._run = self.session.run_of(self._context)
        return self._run

    def take_turn(self, turn: ExitStack) -> bool:
        turn.enter_context(self.session.lock)
        return not self.run.is_superseded

    def client_state_received(
        self, states: Mapping[str, bytes], triggers: frozenset[str], number: int | None
    ) -> frozenset[str]:
        run = self.run
        stale = self.session.receive_client_state(run, states, triggers, number)
        run.is_in_callbacks = True
        return stale

    def run_begins(self) -> None:
        run = self.run
        if run.is_superseded:
            return
        run.is_in_callbacks = False
        run.open_blocks.clear()
        if run.context.fragments:
            self.session.begin_fragments(run)
        else:
            self.session.note_callbacks(run)

    def form_opened(self, form_id: str, *, clears: bool) -> None:
        self.session.forms.add(form_id, clears=clears)

    def before_rules(self, key: str, fragment: str | None, *, writes_allowed: bool) -> bool:
        run = self.run
        if run.is_superseded:
            return False
        call = self._calls[key] = WidgetCall(run, key, run.room_of_widget(fragment))
        return call.before_rules(writes_allowed=writes_allowed)

    def identify_widget(
        self,
        element_type: str,
        key: str | None,
        arguments: Mapping[str, Any],
        form_id: str,
        native_hash: Callable[[], str],
    ) -> WidgetCall | None:
        run = self.run
        is_settable = element_type in SETTABLE and not is_password(element_type)
        if key is None:
            room = None if run.is_superseded else run.room_of_widget(_compat.fragment_id())
            if room is None or not is_settable:
                return None
            key = unkeyed_key(element_type, native_hash())
            if not room.context.key_filter.shares(key):
                return None
            call = WidgetCall(run, key, room)
        elif (begun := self._calls.get(key)) is not None and not begun.kind:
            call = begun
        else:
            room = None if run.is_superseded else run.room_of_widget(_compat.fragment_id())
            call = WidgetCall(run, key, room)
        self._calls[key] = call
        call.identify(element_type, arguments, form_id, is_settable=is_settable)
        return call

    def widget(self, key: str) -> WidgetCall | None:
        return self._calls.pop(key, None)


def is_password(kind: str) -> bool:
    """Return whether the widget that is being called hides its text. It is private by default (rule P8)."""
    return kind == "text_input" and _compat.caller_argument("_text_input", "type") == "password"
