"""One Streamlit session: its script runs, its rooms, and the hooks through which Streamlit calls the library.

- `session`: the session, and the order of its reads and writes.
- `script_run`: one run, and the forms of the session.
- `run_hooks`, `streamlit_hooks`: hooks of a run and of its widgets; hooks of the process, and the session registry.
- `room_session`, `room_memberships`, `room_writer`: one room of the session, the rooms that it is in, writes by code.
- `rerun_requests`: requests of the browser, and their causes.
- `component`: the component that carries frames between tab and session.
"""
