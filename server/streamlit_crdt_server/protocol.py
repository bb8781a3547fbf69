"""The y-websocket protocol: decoding and encoding of frames, in both directions. No I/O, no documents.

One frame carries one message. Each length and count is checked against the remaining bytes before memory is
allocated. The decoders of pycrdt (Python) and yrs (Rust) trust their input: a state vector of 18 bytes made them
allocate 1 GB. The layout is that of https://github.com/yjs/y-protocols (`sync.js`, `awareness.js`, `PROTOCOL.md`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from streamlit_crdt_server.errors import FrameTooLargeError, MalformedFrameError
from streamlit_crdt_server.yjs.lib0 import DecodeError, Decoder, encode_bytes, encode_varuint
from streamlit_crdt_server.yjs.nesting import MAX_NESTING
from streamlit_crdt_server.yjs.update_decoder import decode_state_vector

MAX_CLOCK = 2**32 - 1
"""Largest clock of a replica. yrs stores clocks in 32 bits."""

_EPOCH = re.compile("[0-9a-f]{32}")

RENEWAL_PREFIX = b"\x68"
"""First byte of a frame with a new token: message type 104."""


FRAGMENT_PREFIX = b"\x69"
"""First byte of a fragment message: message type 105."""


class MessageType(IntEnum):
    """First number of a frame."""

    SYNC = 0
    AWARENESS = 1
    AUTH = 2
    QUERY_AWARENESS = 3
    SAVED = 102
    RENEWAL = 104
    FRAGMENT = 105


class SyncType(IntEnum):
    """Second number of a sync frame."""

    STEP1 = 0
    STEP2 = 1
    UPDATE = 2


_UPDATE_TYPES = (SyncType.STEP2, SyncType.UPDATE)
_UPDATE_HEADS = tuple(bytes((MessageType.SYNC, kind)) for kind in _UPDATE_TYPES)


class FragmentKind(IntEnum):
    """Second number of a fragment message. LIMITS is the server's offer to accept fragments."""

    LIMITS = 0
    MORE = 1
    LAST = 2


class CloseCode(IntEnum):
    """Reasons for which the server closes a socket. y-websocket 3.1 reconnects after all codes except 4400 to 4499."""

    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    TOO_SLOW = 4300
    SILENT = 4301
    TOKEN_EXPIRED = 4302
    TOO_FAST = 4303
    TOO_EARLY = 4304
    MALFORMED = 4400
    OTHER_EPOCH = 4409
    REWRITTEN = 4410
    TOO_LARGE = 4413
    ROOM_FULL = 4414


class StoreLevel(IntEnum):
    """Events that a saved update survives: the closing of its room (MEMORY), the end of the process (DISK)."""

    MEMORY = 1
    DISK = 2


class SaveStatus(IntEnum):
    """Save status of the updates that were sent on a connection up to a version."""

    SAVED = 0
    FAILING = 1
    REFUSED = 2


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits above which a message is refused."""

    max_frame_bytes: int
    max_awareness_bytes: int
    max_state_vector_bytes: int
    max_nesting: int = MAX_NESTING


@dataclass(frozen=True, slots=True)
class SyncStep1:
    """A state vector of the sender, who requests the difference to it."""

    state_vector: bytes


@dataclass(frozen=True, slots=True)
class SyncUpdate:
    """An update, from a SyncStep2 or an Update message of a client. Its content is not checked here."""

    update: bytes


@dataclass(frozen=True, slots=True)
class SyncStep2:
    """The answer of a server to `SyncStep1`. Its content is not checked here."""

    update: bytes


@dataclass(frozen=True, slots=True)
class Presence:
    """Awareness state of one client id, as JSON text and decoded. The state None means that the client left.

    The text is forwarded as it was received, because a deeply nested state can be decoded but not encoded.
    """

    client_id: int
    clock: int
    text: str
    state: Any = field(compare=False)

    @property
    def is_gone(self) -> bool:
        return self.state is None


@dataclass(frozen=True, slots=True)
class AwarenessUpdate:
    """Awareness states of some client ids."""

    presences: tuple[Presence, ...]


@dataclass(frozen=True, slots=True)
class QueryAwareness:
    """A request for the awareness states of all clients."""


@dataclass(frozen=True, slots=True)
class SavedQuery:
    """A request for an answer once all earlier updates of the sender are saved. `version` is chosen by the sender."""

    version: int


@dataclass(frozen=True, slots=True)
class UnknownMessage:
    """A message of an unknown type. It is ignored, so that newer clients can connect."""

    type: int


@dataclass(frozen=True, slots=True)
class SavedAnswer:
    """The answer to a `SavedQuery`, see `saved_answer`."""

    version: int
    level: int
    status: SaveStatus
    epoch: str


@dataclass(frozen=True, slots=True)
class FragmentLimits:
    """The server accepts fragments of frames of at most this size."""

    max_frame_bytes: int


@dataclass(frozen=True, slots=True)
class PermissionDenied:
    """The server accepts no updates on this connection."""


Message = SyncStep1 | SyncUpdate | AwarenessUpdate | QueryAwareness | SavedQuery | UnknownMessage
"""A message from a client to the server."""

ServerMessage = SyncStep1 | SyncStep2 | SyncUpdate | SavedAnswer | FragmentLimits | PermissionDenied
"""A message from the server to a client that shows no presence."""


def parse(frame: bytes, limits: Limits) -> Message:
    """Decode a frame from a client.

    Raises:
        FrameTooLargeError: The frame or a part of it exceeds its limit.
        MalformedFrameError: The frame does not follow the protocol.
    """
    check_frame_size(len(frame), limits.max_frame_bytes)
    try:
        return _parse(Decoder(frame), limits)
    except DecodeError as error:
        raise MalformedFrameError(str(error)) from error


def is_sync_update(frame: bytes) -> bool:
    """Return whether a frame is a `SyncUpdate` in its usual spelling, not the answer to a `SyncStep1`."""
    return frame[:2] == bytes((MessageType.SYNC, SyncType.UPDATE))


def carries_update(frame: bytes) -> bool:
    """Return whether a frame is an update by its first two numbers. The rest is not read."""
    if frame[:2] in _UPDATE_HEADS:
        return True
    decoder = Decoder(frame)
    try:
        return decoder.read_varuint() == MessageType.SYNC and decoder.read_varuint() in _UPDATE_TYPES
    except DecodeError:
        return False


def check_frame_size(size_bytes: int, max_bytes: int) -> None:
    """Raise FrameTooLargeError if a frame of `size_bytes` exceeds `max_bytes`."""
    _check_size("a frame", size_bytes, max_bytes)


def _parse(decoder: Decoder, limits: Limits) -> Message:
    kind = decoder.read_varuint()
    match kind:
        case MessageType.SYNC:
            message = _parse_sync(decoder, limits)
        case MessageType.AWARENESS:
            message = _parse_awareness(decoder.read_bytes(), limits)
        case MessageType.QUERY_AWARENESS:
            message = QueryAwareness()
        case MessageType.SAVED:
            message = _parse_saved_query(decoder.read_bytes())
        case _:
            return UnknownMessage(kind)
    decoder.expect_end()
    return message


def _parse_sync(decoder: Decoder, limits: Limits) -> Message:
    kind = decoder.read_varuint()
    content = decoder.read_bytes()
    if kind in _UPDATE_TYPES:
        return SyncUpdate(content)
    if kind == SyncType.STEP1:
        check_state_vector(content, limits.max_state_vector_bytes)
        return SyncStep1(content)
    raise MalformedFrameError(f"sync type {kind} is unknown")


def parse_renewal(frame: bytes) -> str:
    """Return the token of a frame that begins with `RENEWAL_PREFIX`.

    Raises:
        MalformedFrameError: The frame does not follow the protocol.
    """
    decoder = Decoder(frame)
    try:
        decoder.read_varuint(MessageType.RENEWAL)
        token = decoder.read_text()
        decoder.expect_end()
    except DecodeError as error:
        raise MalformedFrameError(str(error)) from error
    return token


def _parse_saved_query(content: bytes) -> SavedQuery:
    decoder = Decoder(content)
    query = SavedQuery(decoder.read_varuint())
    decoder.expect_end()
    return query


def check_state_vector(vector: bytes, max_bytes: int) -> None:
    """Check that a state vector holds exactly the entries that it announces.

    Raises:
        FrameTooLargeError: It has more than `max_bytes`.
        MalformedFrameError: It is not well formed.
    """
    _check_size("a state vector", len(vector), max_bytes)
    try:
        decode_state_vector(vector, MAX_CLOCK)
    except DecodeError as error:
        raise MalformedFrameError(str(error)) from error


def _parse_awareness(content: bytes, limits: Limits) -> AwarenessUpdate:
    _check_size("an awareness message", len(content), limits.max_awareness_bytes)
    decoder = Decoder(content)
    count = decoder.read_count(min_element_bytes=3)
    presences = tuple(_parse_presence(decoder) for _ in range(count))
    decoder.expect_end()
    return AwarenessUpdate(presences)


def _parse_presence(decoder: Decoder) -> Presence:
    client_id, clock, text = decoder.read_varuint(), decoder.read_varuint(MAX_CLOCK), decoder.read_text()
    try:
        return Presence(client_id, clock, text, json.loads(text, parse_constant=_refuse_constant))
    except (ValueError, RecursionError) as error:
        raise MalformedFrameError("an awareness state is not JSON") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON: browsers cannot read it")


def _check_size(what: str, size_bytes: int, max_bytes: int) -> None:
    if size_bytes > max_bytes:
        raise FrameTooLargeError(what, size_bytes, max_bytes)


def parse_server_frame(frame: bytes) -> ServerMessage | None:
    """Decode a frame from the server. Return None for awareness, unknown messages and returned queries.

    Raises:
        MalformedFrameError: The frame does not follow the protocol.
    """
    decoder = Decoder(frame)
    try:
        match decoder.read_varuint():
            case MessageType.SYNC:
                return _parse_server_sync(decoder)
            case MessageType.AUTH:
                return PermissionDenied() if decoder.read_varuint() == 0 else None
            case MessageType.SAVED:
                content = decoder.read_bytes()
                # Some servers return messages that they do not know: this client's query is not an answer.
                return None if _is_saved_query(content) else _parse_saved_answer(content)
            case MessageType.FRAGMENT:
                decoder.read_varuint(FragmentKind.LIMITS)
                return FragmentLimits(decoder.read_varuint())
            case _:
                return None
    except DecodeError as error:
        raise MalformedFrameError(str(error)) from error


def _parse_server_sync(decoder: Decoder) -> ServerMessage:
    kind, content = decoder.read_varuint(), decoder.read_bytes()
    if kind == SyncType.STEP1:
        return SyncStep1(content)
    return SyncStep2(content) if kind == SyncType.STEP2 else SyncUpdate(content)


def _is_saved_query(content: bytes) -> bool:
    decoder = Decoder(content)
    decoder.read_varuint()
    return not decoder.remaining


def _parse_saved_answer(content: bytes) -> SavedAnswer:
    decoder = Decoder(content)
    version, level, number = decoder.read_varuint(), decoder.read_varuint(), decoder.read_varuint()
    try:
        status = SaveStatus(number)
    except ValueError as error:
        raise MalformedFrameError(f"save status {number} is unknown") from error
    epoch = decoder.read_text()
    if _EPOCH.fullmatch(epoch) is None:  # the client sends it in its next request
        raise MalformedFrameError("the epoch is not 32 hex digits")
    return SavedAnswer(version, level, status, epoch)


def sync_step1(state_vector: bytes) -> bytes:
    """Encode a request for the difference to `state_vector`."""
    return bytes((MessageType.SYNC, SyncType.STEP1)) + encode_bytes(state_vector)


def sync_step2(update: bytes) -> bytes:
    """Encode the answer to a `SyncStep1`."""
    return bytes((MessageType.SYNC, SyncType.STEP2)) + encode_bytes(update)


def sync_update(update: bytes) -> bytes:
    """Encode an update."""
    return bytes((MessageType.SYNC, SyncType.UPDATE)) + encode_bytes(update)


def awareness(presences: Iterable[Presence]) -> bytes:
    """Encode awareness states."""
    encoded = [_encode_presence(presence) for presence in presences]
    return bytes((MessageType.AWARENESS,)) + encode_bytes(encode_varuint(len(encoded)) + b"".join(encoded))


def _encode_presence(presence: Presence) -> bytes:
    return (
        encode_varuint(presence.client_id)
        + encode_varuint(presence.clock)
        + encode_bytes(presence.text.encode())
    )


def renewal(token: str) -> bytes:
    """Encode a token that replaces the token of an open socket."""
    return RENEWAL_PREFIX + encode_bytes(token.encode())


def permission_denied(reason: str) -> bytes:
    """Encode the refusal of a viewer's updates (y-protocols, `auth.js`)."""
    return bytes((MessageType.AUTH, 0)) + encode_bytes(reason.encode())


def query_awareness() -> bytes:
    """Encode a request for the awareness states of all clients."""
    return bytes((MessageType.QUERY_AWARENESS,))


def saved_query(version: int) -> bytes:
    """Encode a request for the save status of all earlier updates (type 102, as in y-sweet)."""
    return bytes((MessageType.SAVED,)) + encode_bytes(encode_varuint(version))


def saved_answer(version: int, level: int, status: SaveStatus, epoch: str) -> bytes:
    """Encode the answer to a `SavedQuery`. It is sent only to clients that asked.

    Args:
        version: The last queried version up to which all updates are saved.
        level: A `StoreLevel`.
        status: The reason why a later update is not saved, or SAVED.
        epoch: The epoch of the room.
    """
    content = (
        encode_varuint(version)
        + encode_varuint(level)
        + encode_varuint(status)
        + encode_bytes(epoch.encode())
    )
    return bytes((MessageType.SAVED,)) + encode_bytes(content)


def fragment_limits(max_frame_bytes: int) -> bytes:
    """Encode the offer to accept fragments. It is sent only to clients that asked, before sync step 1."""
    return bytes((MessageType.FRAGMENT, FragmentKind.LIMITS)) + encode_varuint(max_frame_bytes)


def fragments(frame: bytes, max_bytes: int) -> Iterator[bytes]:
    """Yield a frame as fragment messages of at most `max_bytes`, or as it is if it is no larger.

    A struct with one large element cannot be cut into several updates (see `update_slices`).
    """
    if len(frame) <= max_bytes:
        yield frame
        return
    step = max(1, max_bytes - 2)
    for start in range(0, len(frame), step):
        kind = FragmentKind.MORE if start + step < len(frame) else FragmentKind.LAST
        yield bytes((MessageType.FRAGMENT, kind)) + frame[start : start + step]


def is_fragment(message: bytes) -> bool:
    """Return whether a message is a part of a frame."""
    return message[:1] == FRAGMENT_PREFIX and message[1:2] != bytes((FragmentKind.LIMITS,))


class FragmentBuffer:
    """The fragments of one frame that have arrived. Other frames may arrive between them."""

    def __init__(self, max_frame_bytes: int | None = None) -> None:
        """Create an empty buffer. `max_frame_bytes` limits a whole frame."""
        self._max_frame_bytes = max_frame_bytes
        self._content = bytearray()

    def receive(self, frame: bytes) -> bytes | None:
        """Return a whole frame: `frame` itself, or the one that it completes as a fragment. None if more is missing.

        Raises:
            FrameTooLargeError: The frame exceeds the limit.
        """
        if not is_fragment(frame):
            return frame
        is_last = frame[1:2] != bytes((FragmentKind.MORE,))
        self._content += memoryview(frame)[2:]
        if self._max_frame_bytes is not None:
            _check_size("a frame", len(self._content), self._max_frame_bytes)
        if not is_last:
            return None
        whole, self._content = bytes(self._content), bytearray()
        return whole
