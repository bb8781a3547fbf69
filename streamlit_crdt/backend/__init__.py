"""Location of the room server.

- `backend`: the mounted, the embedded and the remote room server.
- `default_store`: default store of an app.
- `admin_client`: client of a remote server's admin API.
"""
