"""The CRDT document of one room, without Streamlit and without I/O.

- `replica`: `Replica`, the thread-safe entry to this package. `update_log`: what the tab has not acknowledged.
- `keyed_values`: values by key.
- `document`, `root_types`, `panic_guard`: the pycrdt document, its root types, and protection against panics.
- `struct_places`: the entries and root types that updates have changed.
- `shared_content`: reading of shared types, whatever another program has written.
- `undo`: groups of local edits.
- `events`: broadcast events.
- `stored_snapshots`, `snapshots`, `json_state`: snapshots of a room, and its values as JSON.
"""
