"""What the browser sent: the serialized value of each widget, and which triggers are set."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

_NUMBER_ID: Final = "streamlit-crdt-request"
"""As whose value a request's number travels with the values of the page's widgets, from the request to its run."""


def first_message(ctx: Any) -> tuple[dict[str, bytes], frozenset[str]] | None:
    """Return what the browser sent with this run, read from the session's state (WStates, 1.65+).

    A tab whose app was restarted brings its values into a session of which nobody told us yet.
    """
    try:
        held = list(ctx.session_state._state._new_widget_state.states.values())
    except AttributeError:
        return None
    sent = [entry.value for entry in held if hasattr(entry.value, "WhichOneof")]
    return _read_states(sent) if sent else None


def read_message(widget_states: Any) -> tuple[dict[str, bytes], frozenset[str]]:
    return _read_states(widget_states.widgets)


def put_number(widget_states: Any, number: int) -> None:
    """Number a request. What Streamlit joins it with has the number of the newest of them (WidgetStates, 1.65+)."""
    widget_states.widgets.add(id=_NUMBER_ID, int_value=number)


def drop_triggers(widget_states: Any, triggers: frozenset[str]) -> None:
    """Leave out what was clicked."""
    for place in reversed(range(len(widget_states.widgets))):
        if widget_states.widgets[place].id in triggers:
            del widget_states.widgets[place]


def take_number(widget_states: Any) -> int | None:
    """Take the number out again, before anybody takes it for a widget's value; None if there is none."""
    for place, state in enumerate(widget_states.widgets):
        if state.id == _NUMBER_ID:
            number = int(state.int_value)
            del widget_states.widgets[place]
            return number
    return None


def without(widget_states: Any, outdated: frozenset[str]) -> Any:
    """Return the message less what it says of these elements; the session's state then keeps what it has of them."""
    if not outdated:
        return widget_states
    kept = type(widget_states)()
    kept.widgets.extend(state for state in widget_states.widgets if state.id not in outdated)
    return kept


def _read_states(sent: Iterable[Any]) -> tuple[dict[str, bytes], frozenset[str]]:
    states: dict[str, bytes] = {}
    triggers: set[str] = set()
    for state in sent:
        if "trigger" in (state.WhichOneof("value") or "") or state.WhichOneof("value") == "chat_input_value":
            triggers.add(state.id)
        else:
            states[state.id] = state.SerializeToString(deterministic=True)
    return states, frozenset(triggers)
