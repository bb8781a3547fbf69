"""The limit of open files of the process, and the shares of it that connections get.

Each connection is an open file. A process at its limit can neither accept a connection nor open the files of its store.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass

if sys.platform != "win32":
    import resource

_log = logging.getLogger(__name__)

MAX_CONNECTIONS = 10_000
"""Connections that are allowed by default if the limit of open files allows more. They take about 1 GB of memory."""

MIN_RESERVE = 64
RESERVE_DIVISOR = 4
"""Open files that are kept for the store, the logs and the rest of the process: a quarter of the limit, at least 64."""

PENDING_DIVISOR = 4
"""A quarter of the connections is kept for those without an accepted WebSocket: handshakes and HTTP requests."""


@dataclass(frozen=True, slots=True)
class ConnectionShares:
    """Numbers of connections that a server may have.

    Attributes:
        accepted: Accepted WebSockets. Their tokens were verified.
        pending: Connections without an accepted WebSocket, if there are as many accepted ones as possible.
    """

    accepted: int
    pending: int

    @property
    def total(self) -> int:
        return self.accepted + self.pending


def open_file_limit() -> int | None:
    """Return the soft limit of open files of the process, None if there is none."""
    if sys.platform == "win32":
        return None
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if soft == resource.RLIM_INFINITY else soft


def raise_open_file_limit() -> None:
    """Raise the soft limit of open files to the hard limit."""
    if sys.platform == "win32":
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as error:  # macOS refuses an unlimited number
            _log.info("the limit of open files stays at %d: %s", soft, error)


def share_connections(max_connections: int | None, max_files: int | None) -> ConnectionShares:
    """Return the shares of a server.

    Args:
        max_connections: The setting. None allows what the limit of open files allows, and at most `MAX_CONNECTIONS`.
        max_files: The limit of open files. None if there is none.
    """
    total = MAX_CONNECTIONS if max_connections is None else max_connections
    if max_files is not None:
        total = min(total, max_files - max(MIN_RESERVE, max_files // RESERVE_DIVISOR))
    pending = max(1, total // PENDING_DIVISOR)
    return ConnectionShares(accepted=max(1, total - pending), pending=pending)
