"""Keep a session's state and its replica the same, in both directions, and mistake nothing for an edit.

A mirror is pure: it reads a snapshot of `st.session_state`, tells the replica what changed in it (`push`) and says what
must be written into it (`plan`, then `wrote` for each write that was made). It never calls Streamlit, so that each rule
can be tested by itself. Values are compared and remembered in their shared form (see `Widget.to_shared_value`).

Why it is not simply "what differs is an edit": a browser sends the old value of a widget along with another widget's
change (P1), a widget may bend a value that it was given (P2), a hidden widget's value comes and goes (P3), a script may
assign something new on each run (P4), and a default is nobody's edit (R4).

One file for each of these: `edits` says what is one (R4, P3), `delivery` what the browser has not confirmed (P1),
`volatility` what changes on each run (P4), `fields` what a form keeps to its page (P7), `plan` what must be written,
`drawing` what widgets make of it (P2), `showing` what they show. `memory` is what they all know of the keys. Only
`StateBinding` holds a lock; its parts rely on it.
"""

from __future__ import annotations

from streamlit_crdt.binding.binding import StateBinding
from streamlit_crdt.binding.in_flight import CONFIRM_TRIES
from streamlit_crdt.binding.inspection import ABSENT, VisibleValue
from streamlit_crdt.binding.key_state import VOLATILE_AFTER_ROUNDS
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
