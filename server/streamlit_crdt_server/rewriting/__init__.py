"""Rewriting of a document that consists mostly of its past (rule N4).

- `visible_items`: the visible content of a document, in its order, with the original bytes.
- `rewrite`: a fresh document with this content.
- `room_past`: what a room keeps of the documents before.
"""

from streamlit_crdt_server.rewriting.rewrite import rewrite_off_loop, rewrite_state
from streamlit_crdt_server.rewriting.room_past import RoomPast, kept_operations, replicas_in, rewritten_reason
from streamlit_crdt_server.rewriting.visible_items import NotCopyableError

__all__ = [
    "NotCopyableError",
    "RoomPast",
    "kept_operations",
    "replicas_in",
    "rewrite_off_loop",
    "rewrite_state",
    "rewritten_reason",
]
