"""Pytest plugin that replaces the classes of pycrdt-websocket by ours before its tests import them.

Its deadlines of one second and pauses of a tenth fail on a machine that does other work, and are extended.
"""

from contextlib import AbstractContextManager

import anyio
import pycrdt.websocket
import pycrdt.websocket.websocket_server
import pycrdt.websocket.yroom

from streamlit_crdt_server import Hub, Room

DEADLINE_S = 30.0
PAUSE_FACTOR = 3.0

pycrdt.websocket.WebsocketServer = Hub
pycrdt.websocket.websocket_server.WebsocketServer = Hub
pycrdt.websocket.YRoom = Room
pycrdt.websocket.yroom.YRoom = Room

_fail_after, _sleep = anyio.fail_after, anyio.sleep


def fail_late(delay: float | None, shield: bool = False) -> AbstractContextManager[anyio.CancelScope]:
    return _fail_after(None if delay is None else max(delay, DEADLINE_S), shield)


async def sleep_longer(delay: float) -> None:
    await _sleep(delay * PAUSE_FACTOR)


anyio.fail_after = fail_late
anyio.sleep = sleep_longer
