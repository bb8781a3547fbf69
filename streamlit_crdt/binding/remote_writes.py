"""Remote writes: the assignments to session state that make it show the room."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from streamlit_crdt.binding import form_drafts, in_flight
from streamlit_crdt.binding.key_state import ABSENT, REMOVED, SCALARS, KeyState, KeyStates
from streamlit_crdt.binding.widgets import REFUSED
from streamlit_crdt.codec.equality import deep_copy, equal


@dataclass(frozen=True, slots=True)
class StateWrite:
    """One assignment to session state.

    Attributes:
        shared: the shared value of `value`.
        is_deletion: the key is removed; `value` has no meaning.
        is_revert: a viewer's local change is reverted, which is not a remote edit (rule A1).
    """

    key: str
    value: Any
    shared: Any
    is_deletion: bool = False
    is_revert: bool = False


def plan(keys: KeyStates, values: Mapping[str, Any]) -> list[StateWrite]:
    """Return the writes that session state needs, to show the room. Call it after a push of the same values."""
    keys.take_changes()
    for state in keys.values():
        state.is_merged = False
    writes = []
    for key in keys.room_keys():
        state, value = keys[key], values.get(key, ABSENT)
        if _is_seen_scalar(state) and _is_settled(state, value):
            keys.park(state, value)
            continue
        write = _plan_key(keys, state, values)
        if write is not None:
            writes.append(write)
    for state in _deleted(keys):
        state.is_in_room = False
        state.held = ABSENT
        if state.widget is not None and state.is_registered:
            write = _reset(state, values)
            if write is not None:
                writes.append(write)
                state.is_in_room = True
            continue
        state.last_seen = ABSENT  # a hidden widget returns with its default, which is not an edit (R4)
        if state.widget is None:
            state.is_unshown = False
            if state.key in values:
                writes.append(StateWrite(state.key, None, None, is_deletion=True))
            keys.discard_if_empty(state)
    if keys.is_read_only:
        writes += _revert_untouched(keys, values)
    return writes


def mark_written(keys: KeyStates, write: StateWrite, values: Mapping[str, Any]) -> None:
    """Record that a planned write was made. `values` is the session state from before it."""
    if write.is_deletion:
        return
    state = keys[write.key]
    is_withheld = form_drafts.withhold_write(keys, state)
    if not is_withheld and state.widget is not None and write.key in values:
        # The browser does not send a draft that left its form before the submit again: `last_seen` was before.
        is_draft = state.is_field and form_drafts.is_draft(state, ())
        before = state.last_seen if is_draft else state.widget.shared_or_refused(values[write.key])
        in_flight.begin(keys, state, before, write.shared)
    keys.see(state, write.shared)
    state.list_seen = write.value if type(write.value) is list else None
    state.value_before_sync = ABSENT
    state.is_written_now = state.is_unread = state.is_unshown = True


def mark_unwritable(keys: KeyStates, write: StateWrite, reason: Exception) -> None:
    """Give up a write that Streamlit rejected, as for a reserved key. The room's value counts as refused."""
    state = keys[write.key]
    state.refused = deep_copy(write.shared)
    keys.warn(state, "unwritable", f"the room's value of {write.key!r} cannot be set here: {reason}")


def replace_echoes(keys: KeyStates, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value in flight of each widget whose value in session state is an echo, and mark it as written.

    Call it after the push, before fragments run. Their scripts must read the value in flight, and a widget that
    registers there must not send the browser's old value back.
    """
    written = {}
    for state in list(keys.values()):
        widget, flight = state.widget, state.in_flight
        if widget is None or flight is None or state.key not in values or not state.is_registered:
            continue
        if state.is_echo(values[state.key]):
            value = widget.to_widget_value(flight.value)
            if value is not REFUSED:
                written[state.key] = deep_copy(value)
                state.is_written_now = True
    return written


def changed_keys(keys: KeyStates) -> Iterator[str]:
    """Yield the keys whose value in the room this session has not seen and would use."""
    keys.take_changes()
    for key in keys.room_keys():
        state = keys[key]
        if not (_is_seen_scalar(state) and state.withheld is ABSENT) and _is_changed(keys, state):
            yield key
    for state in _deleted(keys):
        if state.last_seen is not ABSENT and (state.widget is None or state.is_registered):
            yield state.key


def displaced_values(keys: KeyStates, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the shared value of each widget that a viewer changed, by key. The next full run reverts it (rule A1)."""
    displaced = {}
    for state in list(keys.values()):
        widget = state.widget
        if widget is None or not state.is_registered or state.last_seen is ABSENT or state.key not in values:
            continue
        if not state.is_bindable:
            continue
        shared = widget.shared_or_refused(values[state.key])
        if not equal(shared, state.last_seen) and widget.to_widget_value(state.last_seen) is not REFUSED:
            displaced[state.key] = deep_copy(shared)
    return displaced


def _deleted(keys: KeyStates) -> list[KeyState]:
    """Return the keys that the room had at the last run and does not have now."""
    return [state for state in keys.values() if state.is_in_room and state.key not in keys.replica]


def _reset(state: KeyState, values: Mapping[str, Any]) -> StateWrite | None:
    """Return the write that shows the widget's default, after an undo or a deletion in the room."""
    widget = state.widget
    if widget is None or not state.is_bindable or state.key not in values:
        return None
    default = widget.default_value()
    shared = widget.shared_or_refused(default)
    if shared is REFUSED or state.shows(values[state.key], shared):
        return None
    return StateWrite(state.key, deep_copy(default), deep_copy(shared))


def _is_seen_scalar(state: KeyState) -> bool:
    """Return whether the room's value is a scalar, has not changed, and is `last_seen`."""
    seen = state.last_seen
    return type(seen) in SCALARS and type(seen) is type(state.room_value) and bool(seen == state.room_value)


def _is_settled(state: KeyState, value: Any) -> bool:
    """Return whether session state shows `last_seen`, and nothing is open for the key."""
    return (
        type(value) is type(state.last_seen)
        and bool(value == state.last_seen)
        and state.is_in_room
        and state.in_flight is None
        and state.withheld is state.refused is state.value_before_sync is ABSENT
    )


def _plan_key(keys: KeyStates, state: KeyState, values: Mapping[str, Any]) -> StateWrite | None:
    key, widget = state.key, state.widget
    if not state.is_bindable:
        return None
    remote = keys.read(state)
    if remote is REFUSED or state.is_refused(remote):
        return None
    state.is_in_room = True
    if _keeps_held(state, remote, values):
        return None
    is_overdue = state.withheld is not ABSENT and form_drafts.is_overdue(keys, state)
    if key in values and state.shows(values[key], remote) and not is_overdue:
        state.value_before_sync = ABSENT
        if state.in_flight is None:
            keys.see(state, remote)
            keys.park(state, values[key])
        return None
    value = remote if widget is None else widget.to_widget_value(remote)
    if value is REFUSED:
        keys.refuse(state, remote)
        return None
    is_revert = keys.is_read_only and state.last_seen is not ABSENT and equal(remote, state.last_seen)
    return StateWrite(key, deep_copy(value), remote, is_revert=is_revert)


def _keeps_held(state: KeyState, remote: Any, values: Mapping[str, Any]) -> bool:
    """Return whether session state has the held value, and the room's value has not changed since (R9)."""
    if state.held is ABSENT or state.last_seen is ABSENT or not equal(remote, state.last_seen):
        return False
    if state.held is REMOVED:
        return state.key not in values
    return state.key in values and state.shows(values[state.key], state.held)


def _revert_untouched(keys: KeyStates, values: Mapping[str, Any]) -> list[StateWrite]:
    """Return the writes that revert a viewer's changes of widgets that the room has no value for (rule A1)."""
    writes = []
    for state in list(keys.values()):
        widget = state.widget
        if widget is None or not state.is_registered or state.last_seen is ABSENT or state.key not in values:
            continue
        if not state.is_bindable or state.key in keys.replica:
            continue
        is_shown = state.shows(values[state.key], state.last_seen)
        value = REFUSED if is_shown else widget.to_widget_value(state.last_seen)
        if value is not REFUSED:
            writes.append(StateWrite(state.key, deep_copy(value), state.last_seen, is_revert=True))
    return writes


def _is_changed(keys: KeyStates, state: KeyState) -> bool:
    if not state.is_bindable or state.is_hidden:
        return False
    remote = keys.read(state)
    if remote is REFUSED or state.is_refused(remote):
        return False
    if state.last_seen is ABSENT or not equal(remote, state.last_seen):
        return True
    return state.withheld is not ABSENT and form_drafts.is_overdue(keys, state)
