"""Validation of received frames: the message, and the update in it."""

from __future__ import annotations

from anyio import to_thread

from streamlit_crdt_server import protocol
from streamlit_crdt_server.errors import MalformedFrameError, UpdateRefusedError
from streamlit_crdt_server.settings import Settings
from streamlit_crdt_server.yjs.lib0 import EMPTY_UPDATE
from streamlit_crdt_server.yjs.safe_apply import ValidatedUpdate, validate_update

VALIDATE_IN_THREAD_OVER_BYTES = 2 * 1024
"""Size of a frame above which it is validated in a worker thread, so that it does not stall other rooms.

A smaller frame has too few structs for a trial integration, see `integration_cost`.
"""


MAX_VECTOR_ENTRY_BYTES = 13
"""Size in bytes of one entry of a state vector: a replica id of 53 bits and a clock of 32 bits."""


def limits_of(settings: Settings, replicas: int) -> protocol.Limits:
    """Return the limits of a room's frames. A client that has the whole document sends its whole state vector.

    Args:
        replicas: The number of replica ids in the room's document.
    """
    return protocol.Limits(
        settings.max_frame_bytes,
        settings.max_awareness_bytes,
        settings.max_state_vector_bytes + replicas * MAX_VECTOR_ENTRY_BYTES,
    )


async def decode_off_loop(frame: bytes, limits: protocol.Limits) -> protocol.Message | ValidatedUpdate:
    """Call `decode`, for a large frame in a worker thread.

    Raises:
        MalformedFrameError, FrameTooLargeError: See `decode`.
    """
    if len(frame) > VALIDATE_IN_THREAD_OVER_BYTES:
        return await to_thread.run_sync(decode, frame, limits)
    return decode(frame, limits)


def decode(frame: bytes, limits: protocol.Limits) -> protocol.Message | ValidatedUpdate:
    """Decode a frame. A `SyncUpdate` is returned as the validated update. Any thread.

    Raises:
        MalformedFrameError: The frame or its update is invalid. The connection must be closed.
        FrameTooLargeError: The frame or a part of it exceeds its limit.
    """
    message = protocol.parse(frame, limits)
    if not isinstance(message, protocol.SyncUpdate):
        return message
    if message.update == EMPTY_UPDATE:
        return ValidatedUpdate(EMPTY_UPDATE)
    try:
        return validate_update(message.update)
    except UpdateRefusedError as error:
        raise MalformedFrameError(error.reason) from error
