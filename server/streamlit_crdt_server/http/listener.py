"""Listening sockets."""

from __future__ import annotations

import errno
import socket
import sys

from streamlit_crdt_server.errors import CannotListenError, PortTakenError

BACKLOG = 1024
"""Connections that may wait to be accepted, for example after a restart. The system refuses more."""


def listen(host: str, port: int, *, setting: str = "port") -> socket.socket:
    """Open the listening socket, so that the port is known and reserved before the server starts.

    Args:
        host: The address.
        port: The port; 0 picks a free one.
        setting: The setting of the port, for errors.

    Raises:
        PortTakenError: Another program listens there.
        CannotListenError: The address does not belong to this machine, or the port needs privileges.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind)
    except OSError as error:
        raise CannotListenError(host, port, error.strerror or str(error), setting) from error
    try:
        if sys.platform != "win32":  # on Windows it would let two programs share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTakenError(host, port, setting) from error
        raise CannotListenError(host, port, error.strerror or str(error), setting) from error
    return listener


def address_of(listener: socket.socket) -> tuple[str, int]:
    """Return the actual host and port of a listening socket."""
    host, port = listener.getsockname()[:2]
    return str(host), int(port)
