"""Shared types of a room: text, list, records, map, set and counter, with the protocols of Python's own types.

Each object is a view of one key. Its methods edit the room at once, in a callback, the script's body, a fragment or a
thread. Such edits merge with concurrent ones.

- `shared_type`: the base class, and the protocol of write access to a room.
- `shared_text`, `shared_list`, `shared_records`, `shared_map`, `shared_set`, `shared_counter`: one type each.
- `live_values`, `three_way`: containers inside of a shared value, which write their changes through.
"""

from __future__ import annotations

from streamlit_crdt.room.shared_types.shared_counter import SharedCounter
from streamlit_crdt.room.shared_types.shared_list import SharedList
from streamlit_crdt.room.shared_types.shared_map import SharedMap
from streamlit_crdt.room.shared_types.shared_records import SharedRecords
from streamlit_crdt.room.shared_types.shared_set import SharedSet
from streamlit_crdt.room.shared_types.shared_text import SharedText
from streamlit_crdt.room.shared_types.shared_type import Writer

__all__ = ["SharedCounter", "SharedList", "SharedMap", "SharedRecords", "SharedSet", "SharedText", "Writer"]
