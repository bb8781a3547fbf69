"""One room: document, update pipeline, connections, presence, permissions, persister.

- `room`: the `Room`, a `YRoom` that is composed of the parts below
- `document`: the Yjs document, and updates whose dependencies are missing
- `pipeline`, `batch`: the path of updates from peers to the other peers
- `connections`, `peers`, `message_validation`: sockets, replicas in this process, received frames
- `cpu_budget`: CPU time of a connection (rule N3)
- `presence`: client ids and the connections that announced them
- `permissions`: the decision who may write (rule A1)
- `persister`, `write_queue`: loading, saving and acks
"""
