"""The room server as an ASGI application.

- `app`: `create_app`
- `websocket_endpoint`, `websocket`: accepted and refused connections, and the channel of one connection
- `credentials`, `origins`, `rate_limits`: checks of a connection
- `admin_api`: listing and deletion of rooms over HTTP
"""
