"""The public API of a room in a Streamlit script.

- `sync`: `crdt_sync`, which enters a room.
- `room`: `Room` and `SharedState`.
- `shared_types`: text, list, records, map, set and counter, and live values inside of them.
- `snapshots`, `snapshot_menu`, `room_file`: named copies of a room, their menu, and files.
- `membership`: the interface to the participant. `session_membership` implements it for a Streamlit session.
"""
