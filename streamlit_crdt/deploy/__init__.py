"""Deployment: `crdt_app` for a room server inside the app, and the command `streamlit-crdt`.

- `asgi`: `crdt_app`.
- `cli`: the command line.
- `launch`: starts Streamlit for `streamlit-crdt demo` and `run`.
- `demo`: the demo app.
"""
