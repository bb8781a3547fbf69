"""What a room server says to those whom it serves, decoded: the other direction of the server's own `protocol`."""

from __future__ import annotations

from dataclasses import dataclass

from streamlit_crdt_server.errors import MalformedFrameError
from streamlit_crdt_server.protocol import MessageType, SaveStatus, SyncType
from streamlit_crdt_server.yjs.lib0 import Decoder


@dataclass(frozen=True, slots=True)
class Question:
    """The server states what it has, and asks for the rest."""

    state_vector: bytes


@dataclass(frozen=True, slots=True)
class News:
    """An update; `is_answer` if it is all that was asked for."""

    update: bytes
    is_answer: bool


@dataclass(frozen=True, slots=True)
class SavedAnswer:
    """See `protocol.saved_answer`."""

    version: int
    level: int
    status: SaveStatus
    epoch: str


@dataclass(frozen=True, slots=True)
class Denied:
    """The server takes no edits on this connection."""


Message = Question | News | SavedAnswer | Denied | None


def read(frame: bytes) -> Message:
    """Decode one frame; None if it is of no interest here, such as who is present.

    Raises:
        MalformedFrameError: it is not as announced.
    """
    reader = Decoder(frame)
    match reader.varuint():
        case MessageType.SYNC:
            return _read_sync(reader)
        case MessageType.AUTH:
            return Denied() if reader.varuint() == 0 else None
        case MessageType.SAVED:
            return _read_saved(Decoder(reader.block()))
        case _:
            return None


def _read_sync(reader: Decoder) -> Message:
    kind, content = reader.varuint(), reader.block()
    if kind == SyncType.STEP1:
        return Question(content)
    return News(content, kind == SyncType.STEP2)


def _read_saved(reader: Decoder) -> Message:
    version, level, status = reader.varuint(), reader.varuint(), reader.varuint()
    try:
        return SavedAnswer(version, level, SaveStatus(status), reader.text())
    except ValueError as error:
        raise MalformedFrameError(f"save status {status} is unknown") from error
