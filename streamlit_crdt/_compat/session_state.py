"""A session's state beneath `st.session_state`: the keys of widgets, and their values while they are made.

What the browser sent: the serialized value of each widget, and which triggers are set.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, Final

from streamlit_crdt._compat.run_context import state_lock

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


def read_client_state(widget_states: Any) -> tuple[dict[str, bytes], frozenset[str]]:
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


class RawState:
    """The one write that public API refuses: to a widget's value while that widget is being made."""

    def __init__(self, session_state: Any) -> None:
        self._session_state = session_state

    def is_new(self, key: str) -> bool:
        """Say whether `key` was assigned by code since the last browser message (SessionState, 1.65+)."""
        return key in self._session_state._new_session_state

    def value(self, key: str) -> Any:
        return self._session_state[key]

    def __contains__(self, key: str) -> bool:
        return key in self._session_state

    def replace(self, key: str, value: Any) -> None:
        self._session_state._new_session_state[key] = value

    def discard(self, key: str) -> None:
        """Forget `key` wholly, so that the widget starts from its own default."""
        if key in self._session_state:
            del self._session_state[key]


def widget_keys(ctx: Any) -> frozenset[str]:
    """Return the keys that belong to widgets drawn so far (SessionState's key mapping, 1.65+)."""
    try:
        return frozenset(ctx.session_state._state._key_id_mapper._key_id_mapping)
    except AttributeError:
        return frozenset()


def drop_values(ctx: Any, keys: Iterable[str]) -> None:
    """Take values out of a session's state, all of them or none: a run cannot be interrupted meanwhile (1.65+).

    `del st.session_state[key]` is a point at which Streamlit may end the run.
    """
    with state_lock(ctx):
        state = ctx.session_state._state
        for key in keys:
            if key in state:
                del state[key]


def unseen_widgets(ctx: Any) -> dict[str, str | None]:
    """Return the ids of widgets of which the browser sent a value that no script has seen, with their keys.

    That is Streamlit's own test for calling `on_change` (SessionState._widget_changed, 1.65+), for widgets that the
    present run has not drawn (SharedScriptRunState.widget_ids_this_run, 1.65+).
    """
    try:
        state = ctx.session_state._state
        keys = state._key_id_mapper.id_key_mapping
        drawn = ctx.shared.widget_ids_this_run
        return {
            known: keys.get(known)
            for known in list(state._new_widget_state)
            if known not in drawn and state._widget_changed(known)
        }
    except AttributeError:
        return {}


def caller_argument(function: str, name: str) -> Any:
    """Return the local variable `name` of the nearest calling function called `function`, or None.

    Needed for `st.text_input(type="password")`: a keyed widget's type is in no argument that the wrapped functions see.
    """
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == function:
            return frame.f_locals.get(name)
        frame = frame.f_back  # type: ignore[assignment]
    return None
