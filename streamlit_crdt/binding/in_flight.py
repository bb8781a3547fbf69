"""Values that were written here and that the browser has not confirmed (P1).

Until the browser confirms a value, it may send an older one together with another widget's change. That is an echo, not
a local edit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from streamlit_crdt.binding.key_state import InFlightValue, KeyState, KeyStates
from streamlit_crdt.binding.widgets import ClientState
from streamlit_crdt.codec.equality import deep_copy, equal

CONFIRM_TRIES: Final = 3
"""After this number of confirmations without the value, the browser's own value counts as a local edit (P1)."""

_MAX_FORMER_VALUES: Final = 8
"""Number of former values that are recognized as echoes, for each value in flight. An older one counts as an edit."""


def begin(keys: KeyStates, state: KeyState, before: Any, value: Any) -> None:
    """Put `value` in flight, in place of `before`. A second write of the same value keeps the number of tries."""
    flight = state.in_flight
    former = [] if flight is None else [*flight.before, flight.value]
    tries = flight.tries if flight is not None and equal(flight.value, value) else 0
    former = [*former, deep_copy(before)][-_MAX_FORMER_VALUES:]
    state.in_flight = InFlightValue(former, value, tries)
    keys.delivery += 1


def supersede(keys: KeyStates, flight: InFlightValue, edited: Any) -> None:
    """Put a local edit in the place of the value in flight, which the browser may still show over the edit (P1)."""
    flight.before = [*flight.before, flight.value][-_MAX_FORMER_VALUES:]
    flight.value = deep_copy(edited)
    flight.tries = 0
    keys.delivery += 1


def close_all(keys: KeyStates) -> None:
    """Confirm all values in flight."""
    for state in keys.values():
        state.in_flight = None


def close_received(keys: KeyStates, values: Mapping[str, Any], client_state: ClientState) -> None:
    """Confirm the values that the client state contains."""
    for state in list(keys.values()):
        flight = state.in_flight
        if flight is not None and _is_received(state, flight, values, client_state):
            state.in_flight = None


def confirm(
    keys: KeyStates, delivery: int | None, client_state: ClientState | None, values: Mapping[str, Any]
) -> bool:
    """Confirm the values that the browser has, and those of widgets that left the page (P1).

    A value can miss its widget: the browser drops the output of a run that a newer run superseded. A widget that still
    has the old value needs a run that writes it again.

    Args:
        delivery: the number that the tab confirms. An older number than `KeyStates.delivery` has no effect.
        values: the session state.

    Returns:
        Whether a run is needed.
    """
    if delivery != keys.delivery or client_state is None:
        return False
    is_missed = False
    for state in list(keys.values()):
        flight = state.in_flight
        if flight is None:
            continue
        flight.tries += 1
        is_received = _is_received(state, flight, values, client_state)
        if is_received or flight.tries >= CONFIRM_TRIES or not state.is_registered:
            state.in_flight = None
        elif client_state.contains(state.widget) and state.key in values:
            is_missed = True
    if keys.pending_delivery is not None:
        keys.delivery += 1  # the next frame asks for a confirmation again
    return is_missed


def _is_received(
    state: KeyState, flight: InFlightValue, values: Mapping[str, Any], client_state: ClientState
) -> bool:
    if not client_state.contains(state.widget) or state.key not in values:
        return False
    return state.shows(values[state.key], flight.value)
