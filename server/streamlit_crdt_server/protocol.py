"""The y-websocket protocol: frames to messages and back. No I/O, no documents.

One frame carries one message. Every length and count is checked against what is there before anything is
allocated: the decoders below this (pycrdt's in Python, yrs in Rust) trust their input, and an 18-byte state
vector made them allocate 1 GB. The layout is that of https://github.com/yjs/y-protocols (`sync.js`,
`awareness.js`, `PROTOCOL.md`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from streamlit_crdt_server.errors import FrameTooLargeError, MalformedFrameError
from streamlit_crdt_server.yjs.lib0 import Decoder, block, varuint

MAX_CLOCK = 2**32 - 1
"""yrs counts a replica's structs in 32 bits."""


RENEWAL_BEGINNING = b"\x68"
"""What a frame with a new token begins with: type 104."""


class MessageType(IntEnum):
    """The first number of a frame."""

    SYNC = 0
    AWARENESS = 1
    AUTH = 2
    QUERY_AWARENESS = 3
    SAVED = 102
    RENEWAL = 104


class SyncType(IntEnum):
    """The second number of a sync frame."""

    STEP1 = 0
    STEP2 = 1
    UPDATE = 2


class CloseCode(IntEnum):
    """Why the server closed a socket. y-websocket 3.1 comes back after all of them but 4400 to 4499."""

    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    TOO_SLOW = 4300
    SILENT = 4301
    TOKEN_EXPIRED = 4302
    TOO_FAST = 4303
    MALFORMED = 4400
    OTHER_EPOCH = 4409
    TOO_LARGE = 4413
    ROOM_FULL = 4414


class StoreLevel(IntEnum):
    """What an update that is said to be saved survives."""

    MEMORY = 1
    DISK = 2


class SaveStatus(IntEnum):
    """Whether everything earlier on a connection is saved, up to the version that is named with it."""

    SAVED = 0
    FAILING = 1
    REFUSED = 2


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes beyond which a message is refused."""

    max_frame_bytes: int
    max_awareness_bytes: int
    max_state_vector_bytes: int


@dataclass(frozen=True, slots=True)
class SyncStep1:
    """The sender states what it has, and asks for the rest."""

    state_vector: bytes


@dataclass(frozen=True, slots=True)
class SyncUpdate:
    """An update, or the answer to `SyncStep1`, which is one as well. Its inside is not checked here.

    How far it reaches is filled in by whoever checks it (see `updates.check_update`).
    """

    update: bytes
    reach: Mapping[int, int] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Presence:
    """What one client id says of itself, as JSON text and decoded; state None means that it is gone.

    The text is relayed as it came, because encoding a deeply nested state could fail where decoding did not.
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
    """What some client ids say of themselves."""

    presences: tuple[Presence, ...]


@dataclass(frozen=True, slots=True)
class QueryAwareness:
    """The sender asks who is there."""


@dataclass(frozen=True, slots=True)
class SavedQuery:
    """The sender asks to be told once everything that it sent before is saved; `version` is its own count."""

    version: int


@dataclass(frozen=True, slots=True)
class UnknownMessage:
    """A message of a type that this server does not know; it is ignored, so that clients can be newer."""

    type: int


Message = SyncStep1 | SyncUpdate | AwarenessUpdate | QueryAwareness | SavedQuery | UnknownMessage


def parse(frame: bytes, limits: Limits) -> Message:
    """Decode one frame.

    Raises:
        FrameTooLargeError: The frame or a part of it exceeds its limit.
        MalformedFrameError: Anything else that is wrong with it.
    """
    _check_size("a frame", len(frame), limits.max_frame_bytes)
    reader = Decoder(frame)
    kind = reader.varuint()
    match kind:
        case MessageType.SYNC:
            message = _parse_sync(reader, limits)
        case MessageType.AWARENESS:
            message = _parse_awareness(reader.block(), limits)
        case MessageType.QUERY_AWARENESS:
            message = QueryAwareness()
        case MessageType.SAVED:
            message = _parse_saved_query(reader.block())
        case _:
            return UnknownMessage(kind)
    reader.end()
    return message


def _parse_sync(reader: Decoder, limits: Limits) -> Message:
    kind = reader.varuint()
    content = reader.block()
    if kind == SyncType.STEP1:
        check_state_vector(content, limits.max_state_vector_bytes)
        return SyncStep1(content)
    if kind in (SyncType.STEP2, SyncType.UPDATE):
        return SyncUpdate(content)
    raise MalformedFrameError(f"sync type {kind} is unknown")


def parse_renewal(frame: bytes) -> str:
    """Decode a frame that begins with `RENEWAL_BEGINNING`, and return the token in it.

    Raises:
        MalformedFrameError: It holds something else.
    """
    reader = Decoder(frame)
    reader.varuint(MessageType.RENEWAL)
    token = reader.text()
    reader.end()
    return token


def _parse_saved_query(content: bytes) -> SavedQuery:
    reader = Decoder(content)
    query = SavedQuery(reader.varuint())
    reader.end()
    return query


def check_state_vector(vector: bytes, max_bytes: int) -> None:
    """Raise MalformedFrameError unless `vector` holds exactly the entries that it announces."""
    _check_size("a state vector", len(vector), max_bytes)
    reader = Decoder(vector)
    count = reader.varuint()
    if count > reader.remaining // 2:
        raise MalformedFrameError(f"{count} entries are announced where {reader.remaining // 2} fit")
    for _ in range(count):
        reader.varuint()
        reader.varuint(MAX_CLOCK)
    reader.end()


def _parse_awareness(content: bytes, limits: Limits) -> AwarenessUpdate:
    _check_size("an awareness message", len(content), limits.max_awareness_bytes)
    reader = Decoder(content)
    count = reader.varuint()
    if count > reader.remaining // 3:
        raise MalformedFrameError(f"{count} presences are announced where {reader.remaining // 3} fit")
    presences = tuple(_parse_presence(reader) for _ in range(count))
    reader.end()
    return AwarenessUpdate(presences)


def _parse_presence(reader: Decoder) -> Presence:
    client_id, clock, text = reader.varuint(), reader.varuint(MAX_CLOCK), reader.text()
    try:
        return Presence(client_id, clock, text, json.loads(text, parse_constant=_refuse_constant))
    except (ValueError, RecursionError) as error:
        raise MalformedFrameError("a presence is not JSON") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON: browsers cannot read it")


def _check_size(what: str, size_bytes: int, max_bytes: int) -> None:
    if size_bytes > max_bytes:
        raise FrameTooLargeError(what, size_bytes, max_bytes)


def sync_step1(state_vector: bytes) -> bytes:
    """Make the frame that asks a peer for what it has beyond `state_vector`."""
    return bytes((MessageType.SYNC, SyncType.STEP1)) + block(state_vector)


def sync_step2(update: bytes) -> bytes:
    """Make the frame that answers a `SyncStep1`."""
    return bytes((MessageType.SYNC, SyncType.STEP2)) + block(update)


def sync_update(update: bytes) -> bytes:
    """Make the frame that carries an update to a peer."""
    return bytes((MessageType.SYNC, SyncType.UPDATE)) + block(update)


def awareness(presences: Iterable[Presence]) -> bytes:
    """Make the frame that says who is there, or who is gone."""
    encoded = [_encode_presence(presence) for presence in presences]
    return bytes((MessageType.AWARENESS,)) + block(varuint(len(encoded)) + b"".join(encoded))


def _encode_presence(presence: Presence) -> bytes:
    return varuint(presence.client_id) + varuint(presence.clock) + block(presence.text.encode())


def renewal(token: str) -> bytes:
    """Make the frame that replaces the token of an open socket."""
    return RENEWAL_BEGINNING + block(token.encode())


def permission_denied(reason: str) -> bytes:
    """Make the frame that tells a viewer that its updates go nowhere (y-protocols, `auth.js`)."""
    return bytes((MessageType.AUTH, 0)) + block(reason.encode())


def query_awareness() -> bytes:
    """Make the frame that asks who is there."""
    return bytes((MessageType.QUERY_AWARENESS,))


def saved_query(version: int) -> bytes:
    """Make the frame that asks whether everything sent before it is saved (type 102, as y-sweet uses it)."""
    return bytes((MessageType.SAVED,)) + block(varuint(version))


def saved_answer(version: int, level: int, status: SaveStatus, epoch: str) -> bytes:
    """Make the frame that answers a `SavedQuery`; sent to nobody who did not ask.

    Args:
        version: The last one asked for of which everything is saved.
        level: A `StoreLevel`.
        status: Anything but SAVED says that something later is not saved, and why.
        epoch: That of the room's document.
    """
    content = varuint(version) + varuint(level) + varuint(status) + block(epoch.encode())
    return bytes((MessageType.SAVED,)) + block(content)
