"""Binding between `st.session_state` and a replica, in both directions.

A binding is pure. It reads a snapshot of session state, writes its local edits into the replica (`push`), and returns
the remote writes that session state needs (`plan`, then `mark_written` for each write that was made). It never calls
Streamlit, so that each rule can be tested by itself.

A difference between session state and room is not always a local edit. The browser sends the old value of a widget
together with another widget's change (P1). A widget can coerce a value (P2). The value of a hidden widget disappears
and returns (P3). A script may assign a new value in each run (P4). A default is not an edit (R4).

- `key_state`: the record of each key; volatile keys (P4).
- `widgets`: widgets, their values, and the client state.
- `local_edits`: local edits (R4, P3).
- `remote_writes`: remote writes.
- `in_flight`: values that the browser has not confirmed (P1).
- `widget_registration`: values of widgets that register (P2, R4).
- `text_drafts`, `form_drafts`: drafts in text fields and in forms (P7).
- `inspection`: visible values, for tests of apps.
- `binding`: `StateBinding`, which holds the lock. The other modules rely on it.
"""

from __future__ import annotations

from streamlit_crdt.binding.binding import StateBinding
from streamlit_crdt.binding.in_flight import CONFIRM_TRIES
from streamlit_crdt.binding.inspection import VisibleValue
from streamlit_crdt.binding.key_state import ABSENT, VOLATILE_AFTER_ROUNDS
from streamlit_crdt.binding.remote_writes import StateWrite
from streamlit_crdt.binding.text_drafts import class_of, digest_of

__all__ = [
    "ABSENT",
    "CONFIRM_TRIES",
    "VOLATILE_AFTER_ROUNDS",
    "StateBinding",
    "StateWrite",
    "VisibleValue",
    "class_of",
    "digest_of",
]
