"""Streamlit's AppTest from outside of its runs: which session it is, and a run that nobody in it has asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def app_test_key(state: Any) -> str:
    """Return what tells an AppTest's session apart: the identity of its state (SafeSessionState, 1.65+)."""
    return f"AppTest {id(state._state)}"


def key_of_app_test(app: Any) -> str:
    """Return the key of the session that `app` runs its script in (AppTest._session_state, 1.65+)."""
    return app_test_key(app._session_state)


def state_of_app_test(app: Any) -> dict[str, Any]:
    """Return what the script's `st.session_state.to_dict()` would (SafeSessionState.filtered_state, 1.65+)."""
    return dict(app._session_state.filtered_state)


def rerun_app_test(app: Any) -> dict[str, str]:
    """Run the script as a tab does for a remote edit: what the test has set in widgets since the last run stays so.

    AppTest's own `run` sends that, as if it had been committed at this moment; and of a form's fields that are not
    submitted it is lost, because each run makes the widgets anew.

    Returns:
        The committed text of each field in which another one was set, by the field's id.
    """
    with _holding_back(app) as begun_on:
        app.run()
    return begun_on


@contextmanager
def _holding_back(app: Any) -> Iterator[dict[str, str]]:
    """Take out of the widgets what was set, and put it back (_has_pending_value, _unset_value_marker, 1.65+)."""
    try:
        from streamlit.testing.v1.element_tree import Widget, _has_pending_value, _unset_value_marker
    except ImportError:
        yield {}
        return
    held: dict[str, tuple[str, Any]] = {}
    begun_on = {}
    for node in app:
        if isinstance(node, Widget) and _has_pending_value(node):
            attribute, unset = _unset_value_marker(node)
            held[node.id] = (attribute, getattr(node, attribute))
            setattr(node, attribute, unset)
            if isinstance(node.value, str):
                begun_on[node.id] = node.value
    try:
        yield begun_on
    finally:
        for node in app:
            if isinstance(node, Widget) and node.id in held:
                setattr(node, *held[node.id])
