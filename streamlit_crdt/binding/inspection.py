"""Values that a session shows of a room, in its widgets and to its script. Used by `streamlit_crdt.testing`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from streamlit_crdt.binding.key_state import ABSENT, KeyState, KeyStates
from streamlit_crdt.binding.widgets import REFUSED
from streamlit_crdt.codec import values as codec
from streamlit_crdt.codec.equality import deep_copy
from streamlit_crdt.errors import ValueNotShareableError


@dataclass(frozen=True, slots=True)
class VisibleValue:
    """The value that a session shows for one key.

    Attributes:
        value: the shared value.
        in_room: the value in the session's replica, in the order of the widget's options; `ABSENT` if there is none.
        why: the rule by which the two may differ. The widget cannot show the room's value (P2), each run makes another
            value (P4), or code made the value in a run that no person caused (R9).
    """

    value: Any
    in_room: Any
    why: Literal["P2", "P4", "R9"] | None


def visible_values(keys: KeyStates, values: Mapping[str, Any]) -> dict[str, VisibleValue]:
    """Return the values of the registered widgets, and the plain values in session state, by shared key."""
    keys.take_changes()
    visible = {}
    for key in values:
        state = keys[key]
        value = _visible_value(state, values[key]) if state.is_shared else REFUSED
        in_room = keys.read(state) if key in keys.replica else ABSENT
        if value is not REFUSED and in_room is not REFUSED:
            visible[key] = VisibleValue(deep_copy(value), in_room, _reason(state, in_room))
    return visible


def _visible_value(state: KeyState, value: Any) -> Any:
    if state.widget is not None:
        is_visible = state.widget.is_settable and state.is_registered
        return state.widget.shared_or_refused(value) if is_visible else REFUSED
    if state.is_unkeyed:
        return REFUSED
    try:
        codec.encode(value, key=state.key)
    except ValueNotShareableError:
        return REFUSED
    return value


def _reason(state: KeyState, in_room: Any) -> Literal["P2", "P4", "R9"] | None:
    if in_room is not ABSENT and state.is_refused(in_room):
        return "P2"
    if state.held is ABSENT:
        return None
    return "P4" if state.overwritten_runs else "R9"
