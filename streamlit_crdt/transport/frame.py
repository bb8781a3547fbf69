"""Frames of the channel between session and tab: encoding, and decoding of untrusted bytes.

Layout: version byte, length of the header as a lib0 varuint, header (UTF-8 JSON), Yjs v1 update.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast, get_args

from streamlit_crdt.errors import FrameError
from streamlit_crdt_server.yjs.lib0 import DecodeError, Decoder, encode_bytes

CHANNEL_VERSION: Final = 1

MAX_FRAME_BYTES: Final = 16 * 1024 * 1024
"""Size limit of a frame in bytes. A larger frame is rejected unread; hypercorn rejects such a message as well."""

MAX_NUMBER: Final = 2**53 - 1
"""Largest integer that JavaScript represents exactly. A larger number is rejected."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message between session and tab.

    Attributes:
        id: replica id of the sender.
        v: version of the sender's replica.
        since: version after which the update begins. 0: the update is complete.
        ack_of: replica id of the receiver, if the sender has received a frame from it.
        ack: version of the replica `ack_of` up to which the sender has every update.
        sv: state vector of the sender, while the receiver has not acknowledged it.
        build: id of the sender's frontend build.
        part: the frame carries a part of its update: first byte, and bytes of the update. None: all of it.
        got: progress of an update that the receiver of this frame sends in parts: its version, and the bytes received.
        in_room: the tab has the update from the room, and left it out because the session is in the room.
        update: Yjs v1 update, may be empty.
        extra: other header fields, as JSON values.
    """

    id: int
    v: int
    since: int = 0
    ack_of: int | None = None
    ack: int = 0
    sv: bytes | None = None
    build: str = ""
    update: bytes = b""
    part: tuple[int, int] | None = None
    got: tuple[int, int] | None = None
    in_room: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)


Why = Literal[
    "hello", "update", "status", "poll", "settle", "confirm", "resend", "token", "saved", "form", "draft"
]
"""Reason for which the tab sent a frame."""

Status = Literal["connecting", "connected", "offline"]
"""Status of a connection to a room."""


@dataclass(frozen=True, slots=True)
class StatusReport:
    """Status of a tab, in the header of each of its frames.

    Attributes:
        why: reason for the frame.
        status: status of the tab's socket.
        synced: whether the tab's document has been in sync with the room server at least once.
        confirmed: number of the delivery that the browser has shown.
        error: code of the error that keeps the socket from connecting.
        n: number of the frame. It grows with each frame of the tab.
        saved_v: version of the acknowledged replica up to which every edit is committed.
        unsaved: number of unsaved updates of the tab.
        failing: whether they are unsaved because the server's store fails.
        epoch: epoch of the tab's document.
        drafts: digest of the text on which each open draft was begun, and the draft's number, by the class name of the
            widget (see `binding.text_drafts`).
        overwritten: recently committed texts that another text replaced, by the class name of the widget: digest of
            the text on which each was begun, and the text.
        kept: number of the session's operations in the room, after it was rewritten. None if it was not.
        unsubmitted: element ids of the widgets with drafts in a form that is not submitted.
    """

    why: Why = "update"
    status: Status = "connecting"
    synced: bool = False
    confirmed: int | None = None
    error: str | None = None
    n: int = 0
    saved_v: int = 0
    unsaved: int = 0
    failing: bool = False
    epoch: str | None = None
    drafts: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    overwritten: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    unsubmitted: frozenset[str] = frozenset()
    kept: int | None = None


_EPOCH: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_DIGEST: Final = re.compile(r"[0-9a-f]{16}", re.ASCII)
_MAX_DRAFTS: Final = 16
"""Limit of the entries in `drafts`, and in `overwritten`."""
_MAX_UNSUBMITTED: Final = 256
"""Limit of the ids in `unsubmitted`. A report over a limit is rejected with its frame."""
_FRAME_FIELDS: Final = ("id", "v", "since", "ack_of", "ack", "sv", "build")
_PAIRS: Final = ("part", "got")
"""Optional header fields with two numbers. A tab's header may also have `in_room`."""


def encode_frame(frame: Frame) -> bytes:
    """Encode `frame`. Header fields have a fixed order: equal frames are equal bytes."""
    header: dict[str, Any] = {name: getattr(frame, name) for name in _FRAME_FIELDS}
    if frame.sv is None:
        del header["sv"]
    else:
        header["sv"] = b64encode(frame.sv).decode()
    header.update(frame.extra)
    header |= {name: list(pair) for name in _PAIRS if (pair := getattr(frame, name)) is not None}
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    return bytes([CHANNEL_VERSION]) + encode_bytes(text) + frame.update


def decode_frame(content: bytes) -> Frame:
    """Decode a frame.

    Raises:
        FrameError: the bytes are not a frame of this channel version.
    """
    if len(content) > MAX_FRAME_BYTES:
        raise FrameError(f"the frame has {len(content)} bytes; the limit is {MAX_FRAME_BYTES}")
    if not content or content[0] != CHANNEL_VERSION:
        raise FrameError(f"the frame is not of channel version {CHANNEL_VERSION}")
    decoder = Decoder(content, start=1)
    try:
        header = json.loads(decoder.read_bytes(), parse_constant=_reject_constant)
    except DecodeError as error:
        raise FrameError(f"the header is malformed: {error}") from error
    except (ValueError, RecursionError) as error:
        raise FrameError("the header is not JSON") from error
    if not isinstance(header, dict):
        raise FrameError("the header is not an object")
    return _frame(header, decoder.read_rest())


def read_report(frame: Frame) -> StatusReport:
    """Return the status report in the header of a tab's frame. A missing field has its default.

    Raises:
        FrameError: a field has another type, or an unknown value.
    """
    header = {**_DEFAULTS, **frame.extra}
    if header["why"] not in get_args(Why) or header["status"] not in get_args(Status):
        raise FrameError("'why' or 'status' has a value that this channel version does not define")
    return StatusReport(
        why=cast(Why, header["why"]),
        status=cast(Status, header["status"]),
        synced=_boolean(header, "synced"),
        confirmed=None if header.get("confirmed") is None else _number(header, "confirmed"),
        error=None if header.get("error") is None else _text(header, "error"),
        n=_number(header, "n"),
        saved_v=_number(header, "saved_v"),
        unsaved=_number(header, "unsaved"),
        failing=_boolean(header, "failing"),
        epoch=None if header.get("epoch") is None else _epoch(header["epoch"]),
        drafts=_drafts(header.get("drafts", {})),
        overwritten=_overwritten(header.get("overwritten", {})),
        unsubmitted=_unsubmitted(header.get("unsubmitted", [])),
        kept=None if header.get("kept") is None else _number(header, "kept"),
    )


_DEFAULTS: Final[Mapping[str, Any]] = {
    "why": "update",
    "status": "connecting",
    "synced": False,
    "n": 0,
    "saved_v": 0,
    "unsaved": 0,
    "failing": False,
}


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _frame(header: dict[str, Any], update: bytes) -> Frame:
    frame = Frame(
        id=_number(header, "id"),
        v=_number(header, "v"),
        since=_number(header, "since"),
        ack_of=None if header.get("ack_of") is None else _number(header, "ack_of"),
        ack=_number(header, "ack"),
        sv=None if header.get("sv") is None else _state_vector(header["sv"]),
        build=_text(header, "build"),
        update=update,
        part=_pair(header, "part"),
        got=_pair(header, "got"),
        in_room=header.get("in_room") is True,
        extra={name: value for name, value in header.items() if name not in (*_FRAME_FIELDS, *_PAIRS)},
    )
    if frame.since > frame.v:
        raise FrameError("'since' is greater than 'v'")
    return frame


def _number(header: dict[str, Any], name: str) -> int:
    value = header.get(name)
    if type(value) is not int or not 0 <= value <= MAX_NUMBER:
        raise FrameError(f"{name!r} is not an integer of at most 53 bits")
    return value


def _pair(header: dict[str, Any], name: str) -> tuple[int, int] | None:
    value = header.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2:
        raise FrameError(f"{name!r} is not a pair")
    first, second = value
    return _number({name: first}, name), _number({name: second}, name)


def _text(header: dict[str, Any], name: str) -> str:
    value = header.get(name, "")
    if type(value) is not str:
        raise FrameError(f"{name!r} is not a string")
    return value


def _boolean(header: dict[str, Any], name: str) -> bool:
    value = header.get(name)
    if type(value) is not bool:
        raise FrameError(f"{name!r} is not a boolean")
    return value


def _epoch(value: object) -> str:
    if not isinstance(value, str) or not _EPOCH.fullmatch(value):
        raise FrameError("'epoch' is not 32 digits 0-9 a-f")
    return value


def _drafts(value: object) -> dict[str, tuple[str, int]]:
    entries = _entries("drafts", value, list)
    if not all(len(entry) == 2 for entry in entries.values()):
        raise FrameError("an entry of 'drafts' is not a pair")
    return {name: (_digest(digest), _number({"n": n}, "n")) for name, (digest, n) in entries.items()}


def _overwritten(value: object) -> dict[str, tuple[str, str]]:
    entries = _entries("overwritten", value, dict)
    return {name: (_digest(commit.get("base")), _text(commit, "text")) for name, commit in entries.items()}


def _unsubmitted(value: object) -> frozenset[str]:
    if not isinstance(value, list) or not all(isinstance(element_id, str) for element_id in value):
        raise FrameError("'unsubmitted' is not a list of ids")
    if len(value) > _MAX_UNSUBMITTED:
        raise FrameError(f"'unsubmitted' has more than {_MAX_UNSUBMITTED} ids")
    return frozenset(value)


def _entries(field_name: str, value: object, kind: type) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(entry, kind) for entry in value.values()):
        raise FrameError(f"{field_name!r} is not an object with entries of type {kind.__name__}")
    if len(value) > _MAX_DRAFTS:
        raise FrameError(f"{field_name!r} has more than {_MAX_DRAFTS} entries")
    return value


def _digest(value: object) -> str:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise FrameError("a digest is not 16 digits 0-9 a-f")
    return value


def _state_vector(value: object) -> bytes:
    if not isinstance(value, str):
        raise FrameError("'sv' is not a string")
    try:
        return b64decode(value, validate=True)
    except (Base64Error, ValueError) as error:
        raise FrameError("'sv' is not base64") from error
