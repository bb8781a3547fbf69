"""All rooms of one server.

- `hub`: the `Hub`, a `WebsocketServer` that serves sockets and threads of this process
- `registry`: opening, eviction, deletion and listing of rooms
"""
