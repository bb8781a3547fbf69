"""All rooms of one server.

- `hub`: the `Hub`, a `WebsocketServer` that serves sockets and threads of this process
- `replica_ids`: replica ids that their sessions have left
- `registry`: opening, eviction, deletion and listing of rooms
"""
