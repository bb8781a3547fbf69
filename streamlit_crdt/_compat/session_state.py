"""Session state below `st.session_state`: client states from the browser, keys and values of widgets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from streamlit_crdt._compat.run_context import RunContext

_NUMBER_ID: Final = "streamlit-crdt-request"
"""Id of the pseudo widget whose value is the number of a request. It travels from the request to its run."""


def first_client_state(run: RunContext) -> tuple[dict[str, bytes], frozenset[str]] | None:
    """Return the client state of this run, read from session state (WStates, 1.65+).

    After a restart of the app, a tab sends its values to a session that the library does not know yet. Without WStates,
    the values count as unknown, and the run as caused by code.
    """
    try:
        values = list(run.streamlit_context.session_state._state._new_widget_state.states.values())
    except AttributeError:
        return None
    sent = [entry.value for entry in values if hasattr(entry.value, "WhichOneof")]
    return _read_states(sent) if sent else None


def read_client_state(widget_states: Any) -> tuple[dict[str, bytes], frozenset[str]]:
    """Return the serialized values by widget id, and the ids of the triggers that are set (WidgetStates, 1.65+)."""
    return _read_states(widget_states.widgets)


def put_number(widget_states: Any, number: int) -> None:
    """Add the number of a request. Streamlit joins requests; the result has the newest number (WidgetStates, 1.65+)."""
    widget_states.widgets.add(id=_NUMBER_ID, int_value=number)


def drop_triggers(widget_states: Any, triggers: frozenset[str]) -> None:
    """Remove these triggers from a client state (WidgetStates, 1.65+)."""
    for index in reversed(range(len(widget_states.widgets))):
        if widget_states.widgets[index].id in triggers:
            del widget_states.widgets[index]


def take_number(widget_states: Any) -> int | None:
    """Remove the number of the request, which is no widget's value, and return it; None without a number."""
    for index, state in enumerate(widget_states.widgets):
        if state.id == _NUMBER_ID:
            number = int(state.int_value)
            del widget_states.widgets[index]
            return number
    return None


def without(widget_states: Any, stale: frozenset[str]) -> Any:
    """Return a client state without these widgets. Session state then keeps their values (WidgetStates, 1.65+)."""
    kept = type(widget_states)()
    kept.widgets.extend(state for state in widget_states.widgets if state.id not in stale)
    return kept


def _read_states(sent: Iterable[Any]) -> tuple[dict[str, bytes], frozenset[str]]:
    states: dict[str, bytes] = {}
    triggers: set[str] = set()
    for state in sent:
        kind = state.WhichOneof("value") or ""
        if "trigger" in kind or kind == "chat_input_value":
            is_unpressed = (
                kind == "trigger_value" and not state.trigger_value
            )  # only an AppTest sends such buttons
            if not is_unpressed:
                triggers.add(state.id)
        else:
            states[state.id] = state.SerializeToString(deterministic=True)
    return states, frozenset(triggers)


class RawState:
    """Write access to the value of a widget during its registration, which public API refuses (SessionState, 1.65+)."""

    def __init__(self, session_state: Any) -> None:
        self._session_state = session_state

    def is_new(self, key: str) -> bool:
        """Return whether code assigned `key` since the last client state."""
        return key in self._session_state._new_session_state

    def value(self, key: str) -> Any:
        return self._session_state[key]

    def __contains__(self, key: str) -> bool:
        return key in self._session_state

    def replace(self, key: str, value: Any) -> None:
        """Assign a value. The widget then shows it and sends it to the browser."""
        self._session_state._new_session_state[key] = value

    def discard(self, key: str) -> None:
        """Remove `key`. The widget then starts from its own default."""
        if key in self._session_state:
            del self._session_state[key]


def widget_keys(run: RunContext) -> frozenset[str]:
    """Return the keys of all widgets that the session registered (SessionState's key mapping, 1.65+).

    Without the mapping, a widget whose registration the library missed counts as a plain value.
    """
    try:
        return frozenset(run.streamlit_context.session_state._state._key_id_mapper._key_id_mapping)
    except AttributeError:
        return frozenset()


def assigned_keys(run: RunContext, state: Mapping[str, Any]) -> set[str]:
    """Return the keys of `state` that code assigned since the last client state (SessionState, 1.65+).

    Without the dict of assigned values, each key is looked up by itself: 9 ms for 10 000 keys.
    """
    session_state = run.streamlit_context.session_state
    with run.state_lock:
        try:
            return set(session_state._state._new_session_state) & state.keys()
        except AttributeError:
            return {key for key in state if session_state.is_new_state_value(key)}


def drop_values(run: RunContext, keys: Iterable[str]) -> None:
    """Remove values from session state, all or none (SessionState, 1.65+).

    `del st.session_state[key]` is a yield point: Streamlit may end the run there.
    """
    with run.state_lock:
        state = run.streamlit_context.session_state._state
        for key in keys:
            if key in state:
                del state[key]


def unread_widgets(run: RunContext) -> dict[str, str | None]:
    """Return the widgets with a value from the browser that no script read: their keys by id.

    That is Streamlit's own condition for `on_change` (SessionState._widget_changed, 1.65+), for widgets that the run
    did not register (SharedScriptRunState.widget_ids_this_run, 1.65+). Without these names, no edit counts as unread;
    a script may then miss an edit that arrived together with a fragment's edit until its next full run.
    """
    try:
        ctx = run.streamlit_context
        state = ctx.session_state._state
        keys = state._key_id_mapper.id_key_mapping
        registered = ctx.shared.widget_ids_this_run
        return {
            known: keys.get(known)
            for known in list(state._new_widget_state)
            if known not in registered and state._widget_changed(known)
        }
    except AttributeError:
        return {}
