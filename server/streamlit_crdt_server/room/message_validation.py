"""Validation of received frames: the message, and the update in it, within limits of CPU time and memory.

A small frame is validated in the event loop. A larger one is validated in a worker thread that pauses (see `pacing`),
and an update in it is cut into slices, so that a room can apply it with pauses too. Frames wait while those in
validation exceed `max_validating_bytes`, because a decoded frame takes many times its size.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from anyio import CapacityLimiter, Event, to_thread

from streamlit_crdt_server import protocol
from streamlit_crdt_server.errors import MalformedFrameError, UpdateRefusedError
from streamlit_crdt_server.settings import Settings
from streamlit_crdt_server.yjs.integration_cost import check_cost
from streamlit_crdt_server.yjs.lib0 import EMPTY_UPDATE
from streamlit_crdt_server.yjs.nesting import MAX_NESTING
from streamlit_crdt_server.yjs.pacing import Pacer, paced, pause
from streamlit_crdt_server.yjs.safe_apply import ValidatedUpdate, validate_update
from streamlit_crdt_server.yjs.update_decoder import read_update_meta
from streamlit_crdt_server.yjs.update_slices import cut_update

VALIDATE_IN_THREAD_OVER_BYTES = 2 * 1024
"""Size of a frame above which it is validated in a worker thread, so that it does not stall other rooms.

A smaller frame has too few structs for a trial integration, see `integration_cost`.
"""

FREE_BYTES = 128
"""Size of a frame up to which its CPU time is not measured. It takes about `FREE_S`, which does not count."""

SLICE_BYTES = 32 * 1024
"""Size to which a large update is cut: up to 6000 structs, which pycrdt applies in 5 to 15 ms."""

WHOLE_BYTES = 256 * 1024
"""Size up to which the comparisons within an update are counted before it is cut. In a larger one they are counted in
each slice, and the time to apply it is charged to the sender."""

MAX_VALUE_ELEMENTS = 1_000_000
"""Elements inside one value, which cannot be cut. pycrdt takes 50 ms for this many, during which nothing else runs."""

MEDIUM_BYTES = 256 * 1024
"""Size up to which frames have a lane of their own, so that they do not wait for the large ones of others."""

THREADS_PER_LANE = 4
"""Frames of one lane in validation. Their threads take turns, so more would only take memory."""


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
        settings.max_nesting,
    )


@dataclass(frozen=True, slots=True)
class ReceivedUpdate:
    """The validated update of a frame, in slices that are applied in their order. None if it is empty."""

    slices: Sequence[ValidatedUpdate]


Received = protocol.Message | ReceivedUpdate
"""The content of a frame."""


class ByteLane:
    """A passage for frames with a limited number of bytes, open to the users in turn. Event loop only.

    A frame that is larger than the limit passes alone.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._waiting: dict[Hashable, deque[tuple[int, Event]]] = {}

    @asynccontextmanager
    async def holding(self, size: int, user: Hashable) -> AsyncIterator[None]:
        """Hold `size` bytes during the block, which begins when they fit."""
        size = max(size, self._max_bytes // THREADS_PER_LANE)
        admitted = Event()
        self._waiting.setdefault(user, deque()).append((size, admitted))
        self._admit()
        try:
            await admitted.wait()
            yield
        finally:
            if admitted.is_set():
                self._bytes -= size
            else:
                self._waiting[user].remove((size, admitted))
                if not self._waiting[user]:
                    del self._waiting[user]
            self._admit()

    def _admit(self) -> None:
        while self._waiting:
            user = next(iter(self._waiting))
            size, admitted = self._waiting[user][0]
            if self._bytes and self._bytes + size > self._max_bytes:
                return
            waiting = self._waiting.pop(user)
            waiting.popleft()
            if waiting:  # behind the other users
                self._waiting[user] = waiting
            self._bytes += size
            admitted.set()


class FrameValidator:
    """Validates the frames of all rooms of a server. Event loop only."""

    def __init__(self, settings: Settings) -> None:
        self._max_cpu_s = settings.max_cpu_debt_ms_per_connection / 1000
        self._medium = ByteLane(THREADS_PER_LANE * MEDIUM_BYTES)
        self._large = ByteLane(settings.max_validating_bytes)
        self._threads = CapacityLimiter(2 * THREADS_PER_LANE)
        self._turns = threading.Lock()

    async def validate(
        self,
        frame: bytes,
        limits: protocol.Limits,
        user: Hashable,
        *,
        charge: Callable[[float], object],
        is_over: Callable[[], bool],
    ) -> Received:
        """Decode and validate a frame.

        Args:
            frame: The frame.
            limits: The limits of its parts.
            user: Its sender. Users whose frames wait take turns.
            charge: Called with the CPU seconds of the validation, also if the frame is refused.
            is_over: Whether the result is no longer needed. Called in the worker thread.

        Raises:
            MalformedFrameError: The frame or its update is invalid. The connection must be closed.
            FrameTooLargeError: The frame or a part of it exceeds its limit.
            CpuLimitError: The validation took more CPU time than a connection may.
            WorkEndedError: The result is no longer needed.
        """
        if len(frame) <= VALIDATE_IN_THREAD_OVER_BYTES:
            started_s = time.thread_time()
            try:
                return decode(frame, limits)
            finally:
                charge(time.thread_time() - started_s)
        protocol.check_frame_size(len(frame), limits.max_frame_bytes)
        pacer = Pacer(self._turns, self._max_cpu_s, is_over)
        lane = self._medium if len(frame) <= MEDIUM_BYTES else self._large
        async with lane.holding(len(frame), user):
            try:
                return await to_thread.run_sync(_decode_paced, frame, limits, pacer, limiter=self._threads)
            finally:
                charge(pacer.cpu_s)


def _decode_paced(frame: bytes, limits: protocol.Limits, pacer: Pacer) -> Received:
    with paced(pacer):
        return decode(frame, limits)


def decode(frame: bytes, limits: protocol.Limits) -> Received:
    """Decode a frame, and validate the update in it. Any thread.

    Raises:
        MalformedFrameError: The frame or its update is invalid. The connection must be closed.
        FrameTooLargeError: The frame or a part of it exceeds its limit.
    """
    message = protocol.parse(frame, limits)
    if not isinstance(message, protocol.SyncUpdate):
        return message
    if message.update == EMPTY_UPDATE:
        return ReceivedUpdate(())
    try:
        return ReceivedUpdate(validate_in_slices(message.update, limits.max_nesting))
    except UpdateRefusedError as error:
        raise MalformedFrameError(error.reason) from error


def validate_in_slices(update: bytes, max_nesting: int = MAX_NESTING) -> Sequence[ValidatedUpdate]:
    """Validate an update, a large one in slices. Any thread.

    Raises:
        UpdateRefusedError: The update must not be applied to a room.
    """
    if len(update) <= SLICE_BYTES:
        return (validate_update(update, max_nesting),)
    try:
        if len(update) <= WHOLE_BYTES:
            check_cost(read_update_meta(update))
        pieces = cut_update(update, SLICE_BYTES, MAX_VALUE_ELEMENTS)
    except (ValueError, RecursionError) as error:
        raise UpdateRefusedError(str(error) or "it is nested too deeply") from error
    slices = []
    for piece in pieces:
        slices.append(validate_update(piece, max_nesting))
        pause()
    return slices
