"""Streamlit's AppTest outside of its runs: key and state of its session, and reruns for remote edits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from streamlit_crdt._compat.run_context import app_test_key


def key_of_app_test(app: Any) -> str:
    """Return the key of the session in which `app` runs its script (AppTest._session_state, 1.65+)."""
    return app_test_key(app._session_state)


def state_of_app_test(app: Any) -> dict[str, Any]:
    """Return the value of `st.session_state.to_dict()` in the script (SafeSessionState.filtered_state, 1.65+)."""
    return dict(app._session_state.filtered_state)


def rerun_app_test(app: Any) -> dict[str, str]:
    """Run the script as a tab does for a remote edit. Values that the test set since the last run stay drafts.

    AppTest's own `run` sends these values as commits. It also loses the drafts in a form that is not submitted, because
    each run creates the widgets anew.

    Returns:
        The committed text of each text widget with a draft, by the widget's id.
    """
    with _without_drafts(app) as committed:
        app.run()
    return committed


@contextmanager
def _without_drafts(app: Any) -> Iterator[dict[str, str]]:
    """Remove the drafts from the widgets during the block (_has_pending_value, _unset_value_marker, 1.65+).

    Without these names, a remote rerun of an AppTest commits the drafts.
    """
    try:
        from streamlit.testing.v1.element_tree import Widget, _has_pending_value, _unset_value_marker
    except ImportError:
        yield {}
        return
    drafts: dict[str, tuple[str, Any]] = {}
    committed = {}
    for node in app:
        if isinstance(node, Widget) and _has_pending_value(node):
            attribute, unset = _unset_value_marker(node)
            drafts[node.id] = (attribute, getattr(node, attribute))
            setattr(node, attribute, unset)
            if isinstance(node.value, str):
                committed[node.id] = node.value
    try:
        yield committed
    finally:
        for node in app:
            if isinstance(node, Widget) and node.id in drafts:
                setattr(node, *drafts[node.id])
