"""Registration of widgets: the values that they start with, and the values that they reject or coerce (R4, P2, P3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from streamlit_crdt.binding import in_flight
from streamlit_crdt.binding.key_state import ABSENT, KeyState, KeyStates
from streamlit_crdt.binding.widgets import REFUSED, Widget
from streamlit_crdt.codec.equality import deep_copy, equal


class RawValues(Protocol):
    """Session state below Streamlit's checks. It can be written while a widget registers."""

    def __contains__(self, key: str) -> bool: ...

    def is_new(self, key: str) -> bool:
        """Return whether code or the binding assigned the key since the client state."""
        ...

    def value(self, key: str) -> Any: ...

    def replace(self, key: str, value: Any) -> None: ...

    def discard(self, key: str) -> None: ...


def begin_run(keys: KeyStates) -> None:
    """Begin a run. The widgets of a run that a newer run superseded count as registered."""
    for state in keys.values():
        state.is_registered_now = state.is_written_now = state.is_from_callback = False
        state.unchecked = ABSENT


def end_run(keys: KeyStates, *, is_complete: bool, is_by_person: bool) -> None:
    """End a run. Only a complete run shows which widgets have left the page (P3)."""
    for state in list(keys.values()):
        if state.is_written_now and state.held is ABSENT and not is_by_person:
            state.overwritten_runs = 0
        if is_complete:
            state.is_registered = state.is_registered_now
            state.is_unread = False
        state.is_registered_now = False
        # Each new set of options makes another unkeyed key. Without this they accumulate.
        is_gone = is_complete and state.is_unkeyed and state.widget is not None and not state.is_registered
        if is_gone and state.key not in keys.replica:
            keys.forget_widget(state)


def leave_page(keys: KeyStates) -> None:
    """Unregister the widgets of the former page. Their keys may return with values from before it (P3)."""
    for state in keys.values():
        state.is_registered = state.is_registered_now


def prepare(
    keys: KeyStates, widget: Widget, values: RawValues, *, is_in_browser: bool, is_fragment_run: bool
) -> None:
    """Write the value that `widget` must start with into session state, before it registers.

    Args:
        is_in_browser: the client state has a value of the widget, so that the browser shows it already.
    """
    state = keys[widget.key]
    is_new = values.is_new(widget.key)
    must_deliver = is_new or (not is_in_browser and state.needs_delivery)
    initial = REFUSED if is_new else _initial_value(keys, state, widget)
    if initial is not REFUSED:
        values.replace(widget.key, initial)
    elif is_fragment_run and widget.key not in values:
        forgotten = _forgotten_value(keys, state, widget)
        if forgotten is not REFUSED:
            values.replace(widget.key, forgotten)
    elif must_deliver and widget.key in values:
        value = values.value(widget.key)
        shown = value_to_show(keys, widget, value)
        if not is_new:
            _expect_delivery(keys, state, widget)
        if shown is REFUSED:
            values.discard(widget.key)
        elif shown is not value or not is_new:
            values.replace(widget.key, shown)  # Streamlit sends an assigned value to the browser


def value_to_show(keys: KeyStates, widget: Widget, value: Any) -> Any:
    """Return what `widget` shows for its value in session state, or `REFUSED` (P2).

    A value that code assigned is returned unchanged: the app is responsible for it.
    """
    state = keys[widget.key]
    seen = state.last_seen
    if seen is ABSENT or not (equal(value, seen) or equal(widget.shared_or_refused(value), seen)):
        return value
    shown = widget.to_widget_value(seen)
    if shown is REFUSED:
        keys.refuse(state, seen)
        state.last_seen, state.in_flight = ABSENT, None
    return shown


def register(keys: KeyStates, widget: Widget, value: Any, *, is_assigned: bool, is_in_browser: bool) -> None:
    """Record that `widget` registered with `value`. Its first value is a default, which is not an edit (R4).

    Args:
        is_assigned: code assigned the value, which makes it an edit.
        is_in_browser: the browser sent the value, from an earlier session or with this very edit. It is an edit if it
            differs from the default, and the room's value overrides it.
    """
    state = keys[widget.key]
    _set_widget(keys, state, widget)
    state.is_registered = state.is_registered_now = True
    state.is_unshown = False
    if not (state.is_shared and widget.is_settable):
        return
    if not (keys.is_read_only or state.last_seen is ABSENT or state.is_written_now):
        return
    shared = widget.shared_or_refused(value)
    if shared is REFUSED:
        return
    if keys.is_read_only and state.key not in keys.replica and widget.is_default(value):
        keys.see(state, shared)
    elif state.last_seen is not ABSENT:
        if state.is_written_now:
            state.unchecked = deep_copy(shared)
    elif is_assigned or (is_in_browser and not widget.is_default(value)):
        state.is_assigned = True
    else:
        keys.see(state, shared)


def check_registered(keys: KeyStates, values: Mapping[str, Any]) -> None:
    """Refuse the room's values that widgets coerced after they registered (P2)."""
    for state in list(keys.values()):
        shown, state.unchecked = state.unchecked, ABSENT
        if shown is ABSENT or state.widget is None or state.key not in values:
            continue
        if not equal(shown, state.last_seen):
            continue  # code assigned another value, which is an edit
        current = state.widget.shared_or_refused(values[state.key])
        if current is not REFUSED and not equal(current, shown):
            keys.refuse(state, state.last_seen)
            keys.see(state, current)
            state.in_flight = None


def is_written_by_binding(keys: KeyStates, key: str) -> bool:
    """Return whether the binding wrote the key's value in session state."""
    state = keys[key]
    # Written in this run, in flight, or written in a run that ended before the widget registered.
    if state.is_written_now or state.in_flight is not None or state.is_unshown:
        return True
    return state.last_seen is not ABSENT and state.widget is None and state.is_in_room


def exclude(keys: KeyStates, widget: Widget) -> None:
    """Exclude a widget that registered outside of the room's block."""
    state = keys[widget.key]
    if not state.is_registered_now:
        _set_widget(keys, state, replace(widget, is_settable=False))


def exclude_unknown(keys: KeyStates, widget_keys: Iterable[str]) -> None:
    """Exclude keys that belong to widgets that the binding has not seen register."""
    for key in widget_keys:
        state = keys[key]
        if state.widget is None and not state.is_unkeyed:
            state.widget = Widget(key, "", "", False, _identity, _identity)


def forget(keys: KeyStates, key: str) -> None:
    """Forget the value of a key that cannot be set here (P6)."""
    state = keys[key]
    state.last_seen, state.in_flight = ABSENT, None


def _set_widget(keys: KeyStates, state: KeyState, widget: Widget) -> None:
    if state.widget is None or not state.widget.is_settable:
        state.room_value = ABSENT  # the next plan sees the room's value again, now as the value of a widget
    state.widget = widget
    keys.has_fields = keys.has_fields or widget.form is not None


def _initial_value(keys: KeyStates, state: KeyState, widget: Widget) -> Any:
    """Return the room's value for a widget that was excluded until now; `REFUSED` if there is none.

    At the top of the run its key belonged to the excluded widget, so that no remote value was written.
    """
    is_first = state.widget is not None and not state.widget.is_settable and state.last_seen is ABSENT
    if not (is_first and widget.is_settable and state.is_shared and state.key in keys.replica):
        return REFUSED
    keys.take_changes()
    remote = keys.read(state)
    value = REFUSED if remote is REFUSED else widget.to_widget_value(remote)
    if value is REFUSED:
        return REFUSED
    in_flight.begin(keys, state, widget.shared_or_refused(widget.default_value()), remote)
    keys.see(state, remote)
    state.is_in_room = state.is_written_now = True
    return deep_copy(value)


def _forgotten_value(keys: KeyStates, state: KeyState, widget: Widget) -> Any:
    """Return the room's value for a widget that session state has no value for; `REFUSED` if it cannot show one.

    A fragment may omit a widget in one run and register it in the next. Streamlit drops the value in between. A full
    run writes it again. A fragment's run does not, and the widget's default would count as an edit (P3).
    """
    if not widget.is_settable or not state.is_shared or state.key not in keys.replica:
        return REFUSED
    keys.take_changes()
    remote = keys.read(state)
    value = REFUSED if remote is REFUSED or state.is_refused(remote) else widget.to_widget_value(remote)
    if value is not REFUSED:
        state.is_in_room = True
        keys.see(state, remote)
        _expect_delivery(keys, state, widget)
    return value


def _expect_delivery(keys: KeyStates, state: KeyState, widget: Widget) -> None:
    """Put the value of a widget that returns in flight. Until the browser has it, its default is an echo (P1)."""
    if state.last_seen is not ABSENT and state.in_flight is None:
        default = widget.shared_or_refused(widget.default_value())
        in_flight.begin(keys, state, default, deep_copy(state.last_seen))


def _identity(value: Any) -> Any:
    return value
