"""From a frame to a message that is safe to act on: the form of the frame, and the update in it."""

from __future__ import annotations

from dataclasses import replace

from anyio import to_thread

from streamlit_crdt_server import protocol
from streamlit_crdt_server.errors import MalformedFrameError, UpdateRefusedError
from streamlit_crdt_server.settings import Settings
from streamlit_crdt_server.yjs.lib0 import EMPTY_UPDATE
from streamlit_crdt_server.yjs.safe_apply import validate_update

CHECK_IN_THREAD_OVER_BYTES = 2 * 1024
"""A larger frame is checked in a worker thread, so that it does not hold up other rooms: a smaller one has too few
structs to be rehearsed, see `conflicts`."""


async def decode_off_loop(frame: bytes, settings: Settings) -> protocol.Message:
    """As `decode`; a large frame costs the loop nothing but its turn."""
    limits = protocol.Limits(
        settings.max_frame_bytes, settings.max_awareness_bytes, settings.max_state_vector_bytes
    )
    if len(frame) > CHECK_IN_THREAD_OVER_BYTES:
        return await to_thread.run_sync(decode, frame, limits)
    return decode(frame, limits)


def decode(frame: bytes, limits: protocol.Limits) -> protocol.Message:
    """Parse a frame and try the update that it may carry. Any thread.

    Raises:
        MalformedFrameError: The connection that sent it is to be closed.
    """
    message = protocol.parse(frame, limits)
    if isinstance(message, protocol.SyncUpdate) and message.update != EMPTY_UPDATE:
        try:
            update, reach = validate_update(message.update)
            return replace(message, update=update, reach=reach)
        except UpdateRefusedError as error:
            raise MalformedFrameError(error.reason) from error
    return message
