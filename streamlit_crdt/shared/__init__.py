"""A room's shared types, with Python's own protocols: what is changed through them merges with others' changes.

Each is a view of one key. Reading gives copies; what is changed in a copy stays there, and what is changed by the
view's own methods is in the room at once, whether in a callback, the body, a fragment or a thread of the script.
"""

from __future__ import annotations

from streamlit_crdt.shared.counter import SharedCounter
from streamlit_crdt.shared.list_view import SharedList
from streamlit_crdt.shared.map_view import SharedMap
from streamlit_crdt.shared.set_view import SharedSet
from streamlit_crdt.shared.text import SharedText
from streamlit_crdt.shared.view import Writer

__all__ = ["SharedCounter", "SharedList", "SharedMap", "SharedSet", "SharedText", "Writer"]
