"""Throttled logging of asyncio's accept errors, for an event loop whose ASGI server is not ours.

If the process has no free file, asyncio's accept loop reports one error for each place in its backlog, each with a
traceback: megabytes per second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from streamlit_crdt_server.throttled_log import ThrottledLog

ACCEPT_MESSAGE = "socket.accept() out of system resource"
"""The message of `asyncio.selector_events` for an accept error."""

_log = logging.getLogger(__name__)


@contextmanager
def throttled_accept_errors(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Log one line per second for the accept errors of a loop during the block. Other errors are handled as before."""
    previous = loop.get_exception_handler()
    throttled = ThrottledLog(_log)

    def handle(running: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if context.get("message") == ACCEPT_MESSAGE:
            throttled.warning("accept", "no connection can be accepted: %s", context.get("exception"))
        elif previous is None:
            running.default_exception_handler(context)
        else:
            previous(running, context)

    loop.set_exception_handler(handle)
    try:
        yield
    finally:
        if loop.get_exception_handler() is handle:
            loop.set_exception_handler(previous)
