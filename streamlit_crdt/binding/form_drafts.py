"""Drafts in form fields: a field's value is a draft until its form is submitted (P7).

The browser keeps the drafts of a form until the submit. Each client state repeats the value of each field from the last
submit or the last write. So a field is edited by a submit and by code only.

A value that is written into a field with a draft would be shown, but the submit would send the draft: that is how
Streamlit's frontend works. Such a value is *withheld* from the browser: the script reads it, and the field goes on to
show what its submit would send. In a form with `clear_on_submit` all remote values are withheld. Its fields are there
for input, not for the last submitted values.
"""

from __future__ import annotations

from collections.abc import Collection, Container
from typing import Any

from streamlit_crdt.binding.key_state import ABSENT, KeyState, KeyStates
from streamlit_crdt.binding.widgets import Widget
from streamlit_crdt.codec.equality import deep_copy, equal


def receive(keys: KeyStates, states: Container[str], submitted: Collection[str]) -> frozenset[str]:
    """Take the forms that a client state submits; return the element ids of which it has an older value.

    Args:
        states: element ids of which the client state has a value.
        submitted: ids of the submitted forms.
    """
    outdated = set()
    for state in keys.values():
        widget = state.widget
        if widget is None:
            continue
        if widget.form is not None and widget.form.id in submitted:
            state.is_submitted = True
            keys.unsubmitted_elements.discard(widget.element_id)
        if state.withheld is not ABSENT and not state.is_submitted and widget.element_id in states:
            outdated.add(widget.element_id)
    return frozenset(outdated)


def end_submit(keys: KeyStates) -> None:
    """Forget the submitted forms, once a push has read their values."""
    for state in keys.values():
        if state.is_submitted:
            state.is_submitted = False
            state.withheld = ABSENT


def is_draft(state: KeyState, assigned: Container[str]) -> bool:
    """Return whether the value of a form field is not an edit, because its form was not submitted.

    The browser sends a draft before the submit if the position of the field in the page has changed.
    """
    return state.last_seen is not ABSENT and not state.is_submitted and state.key not in assigned


def withhold_write(keys: KeyStates, state: KeyState) -> bool:
    """Return whether a write must be withheld from the browser, and record that it is."""
    if state.widget is None or not _keeps_draft(keys, state, state.widget):
        state.withheld = ABSENT
        return False
    _withhold(state, None if state.last_seen is ABSENT else state.last_seen)
    return True


def withholds(keys: KeyStates, widget: Widget, value: Any, *, is_assigned: bool) -> bool:
    """Return whether the value that a widget takes from session state must be withheld from the browser (P7).

    Args:
        is_assigned: code or the binding assigned the value since the client state.
    """
    state = keys[widget.key]
    is_from_room = state.last_seen is not ABSENT and (state.is_written_now or not is_assigned)
    is_kept = is_from_room and _keeps_draft(keys, state, widget)
    if is_kept and equal(widget.shared_or_refused(value), state.last_seen):
        _withhold(state, widget.shared_or_refused(widget.default_value()))
        return True
    state.withheld = ABSENT
    return False


def is_overdue(keys: KeyStates, state: KeyState) -> bool:
    """Return whether the withheld value must be shown: its draft has ended without a submit."""
    if state.is_submitted or state.widget is None:
        return False
    return state.is_registered and not _keeps_draft(keys, state, state.widget)


def _keeps_draft(keys: KeyStates, state: KeyState, widget: Widget) -> bool:
    if widget.form is None or widget.form.clears:
        return widget.form is not None
    # A draft ends with its field, which the tab may not have reported yet.
    return widget.element_id in keys.unsubmitted_elements and state.is_registered


def _withhold(state: KeyState, shown: Any) -> None:
    if state.withheld is ABSENT:
        state.withheld = deep_copy(shown)
    state.in_flight = None
