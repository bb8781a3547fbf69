"""A client that joins a room and then never reads."""

from __future__ import annotations

import socket

from streamlit_crdt_server import protocol

_HANDSHAKE = (
    b"GET /room HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_MASKED_SYNC_STEP1 = b"\x82\x84\0\0\0\0" + protocol.sync_step1(b"\0")
"""A WebSocket frame with SyncStep1 for an empty document. The masking key is zero."""


def unread_socket(port: int) -> socket.socket:
    """Return a socket that joined `room` on a server at `port`, and whose receive buffer is small."""
    unread = socket.socket()
    unread.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    unread.connect(("127.0.0.1", port))
    unread.sendall(_HANDSHAKE)
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += unread.recv(1)
    unread.sendall(_MASKED_SYNC_STEP1)
    return unread
