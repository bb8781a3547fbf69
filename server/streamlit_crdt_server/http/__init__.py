"""The HTTP server of a room server that runs by itself: hypercorn's HTTP/1.1 and WebSockets behind an own acceptor.

- `acceptor`: accepted and refused TCP connections
- `connection`: one connection, without HTTP/2 and without compressed frames
"""
