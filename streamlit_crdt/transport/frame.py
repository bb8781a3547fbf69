"""What a frame on the component's channel looks like: bytes to `Frame` and back, nothing trusted.

Layout: version byte, length of the header as a lib0 varuint, header (UTF-8 JSON), and the rest is a Yjs v1
update.
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

CHANNEL_VERSION = 1
MAX_FRAME_BYTES = 16 * 1024 * 1024
"""A larger frame is refused before it is read: a WebSocket message of this size does not pass hypercorn
either."""
MAX_HEADER_BYTES = 1024 * 1024
"""Most of a header is the state vector of a hello, some ten bytes for each replica that ever wrote."""
MAX_NUMBER = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Frame:
    """One message between session and tab.

    `id` and `v` are the sender's replica id and version, `since` the version after which the update begins
    (0: complete), `ack` the version of the replica `ack_of` up to which the sender has everything, `sv` the
    sender's state vector where it knows nothing of the other side. `extra` holds the other header fields, as
    JSON.
    """

    id: int
    v: int
    since: int = 0
    ack_of: int | None = None
    ack: int = 0
    sv: bytes | None = None
    build: str = ""
    update: bytes = b""
    extra: Mapping[str, Any] = field(default_factory=dict)


Why = Literal[
    "hello", "update", "status", "poll", "settle", "confirm", "resend", "token", "saved", "form", "draft"
]
"""What made the tab send a frame."""
Status = Literal["connecting", "connected", "offline"]
"""Of the tab's socket."""


@dataclass(frozen=True, slots=True)
class StatusReport:
    """What a tab says of itself in each frame.

    `synced`: its document has been in sync with the room server at least once. `confirmed`: the number of a
    delivery that the browser has shown. `error`: a word for what keeps the socket from connecting. `n` grows
    with each frame sent. `saved_v`: everything up to this version of the replica that the frame acknowledges
    is committed. `unsaved`: how many of the tab's updates are not, `failing` because the server's store
    fails. `epoch`: of the history that the tab's document holds. `drafts`: digest of the text that each open
    draft was begun on, and its number, by its widget's class name (see `mirror.drafts`). `overwritten`: texts that were
    committed a moment ago and that another was put over, likewise, each with the digest of what it was begun
    on. `unsubmitted`: the elements, by their ids, of fields with drafts that a form has not submitted.
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


_EPOCH: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_DIGEST: Final = re.compile(r"[0-9a-f]{16}", re.ASCII)
_MAX_DRAFTS: Final = 16
_MAX_UNSUBMITTED: Final = 256
_OWN_FIELDS = ("id", "v", "since", "ack_of", "ack", "sv", "build")


def encode_frame(frame: Frame) -> bytes:
    """Return the bytes of `frame`. The header's fields come in a fixed order, so that equal frames are equal
    bytes."""
    header: dict[str, Any] = {name: getattr(frame, name) for name in _OWN_FIELDS}
    if frame.sv is None:
        del header["sv"]
    else:
        header["sv"] = b64encode(frame.sv).decode()
    header.update(frame.extra)
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    return bytes([CHANNEL_VERSION]) + _varuint(len(text)) + text + frame.update


def decode_frame(content: bytes) -> Frame:
    """Return the frame in `content`.

    Raises:
        FrameError: the bytes are not a frame of this channel version.
    """
    if len(content) > MAX_FRAME_BYTES:
        raise FrameError(f"it has {len(content)} bytes and {MAX_FRAME_BYTES} are allowed")
    if not content or content[0] != CHANNEL_VERSION:
        raise FrameError(f"it is not of channel version {CHANNEL_VERSION}")
    length, start = _read_varuint(content, 1)
    if length > MAX_HEADER_BYTES or start + length > len(content):
        raise FrameError("its header is longer than allowed or than the frame")
    try:
        header = json.loads(content[start : start + length], parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise FrameError("its header is not JSON") from error
    if not isinstance(header, dict):
        raise FrameError("its header is not an object")
    return _frame(header, content[start + length :])


def read_report(frame: Frame) -> StatusReport:
    """Return the tab's report in the header of `frame`; a missing field has its default.

    Raises:
        FrameError: a field is of another type, or a word is none of the known ones.
    """
    header = {**_DEFAULTS, **frame.extra}
    if header["why"] not in get_args(Why) or header["status"] not in get_args(Status):
        raise FrameError("its 'why' or 'status' is not a word of this channel version")
    return StatusReport(
        why=cast(Why, header["why"]),
        status=cast(Status, header["status"]),
        synced=_flag(header, "synced"),
        confirmed=None if header.get("confirmed") is None else _number(header, "confirmed"),
        error=None if header.get("error") is None else _text(header, "error"),
        n=_number(header, "n"),
        saved_v=_number(header, "saved_v"),
        unsaved=_number(header, "unsaved"),
        failing=_flag(header, "failing"),
        epoch=None if header.get("epoch") is None else _epoch(header["epoch"]),
        drafts=_drafts(header.get("drafts", {})),
        overwritten=_overwritten(header.get("overwritten", {})),
        unsubmitted=_unsubmitted(header.get("unsubmitted", [])),
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


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _frame(header: dict[str, Any], update: bytes) -> Frame:
    frame = Frame(
        id=_number(header, "id"),
        v=_number(header, "v"),
        since=_number(header, "since"),
        ack_of=None if header.get("ack_of") is None else _number(header, "ack_of"),
        ack=_number(header, "ack"),
        sv=None if header.get("sv") is None else _vector(header["sv"]),
        build=_text(header, "build"),
        update=update,
        extra={name: value for name, value in header.items() if name not in _OWN_FIELDS},
    )
    if frame.since > frame.v:
        raise FrameError("it begins after its own version")
    return frame


def _number(header: dict[str, Any], name: str) -> int:
    value = header.get(name)
    if type(value) is not int or not 0 <= value <= MAX_NUMBER:
        raise FrameError(f"its {name!r} is not a whole number of at most 53 bits")
    return value


def _text(header: dict[str, Any], name: str) -> str:
    value = header.get(name, "")
    if type(value) is not str:
        raise FrameError(f"its {name!r} is not text")
    return value


def _flag(header: dict[str, Any], name: str) -> bool:
    value = header.get(name)
    if type(value) is not bool:
        raise FrameError(f"its {name!r} is neither true nor false")
    return value


def _epoch(value: object) -> str:
    if not isinstance(value, str) or not _EPOCH.fullmatch(value):
        raise FrameError("its 'epoch' is not 32 digits 0-9 a-f")
    return value


def _drafts(value: object) -> dict[str, tuple[str, int]]:
    entries = _entries("drafts", value, list)
    if not all(len(entry) == 2 for entry in entries.values()):
        raise FrameError("its 'drafts' holds something else than pairs")
    return {name: (_digest(digest), _number({"n": n}, "n")) for name, (digest, n) in entries.items()}


def _overwritten(value: object) -> dict[str, tuple[str, str]]:
    entries = _entries("overwritten", value, dict)
    return {name: (_digest(commit.get("base")), _text(commit, "text")) for name, commit in entries.items()}


def _unsubmitted(value: object) -> frozenset[str]:
    if not isinstance(value, list) or not all(isinstance(element_id, str) for element_id in value):
        raise FrameError("its 'unsubmitted' is not a list of ids")
    if len(value) > _MAX_UNSUBMITTED:
        raise FrameError(f"its 'unsubmitted' has more than {_MAX_UNSUBMITTED} ids")
    return frozenset(value)


def _entries(field_name: str, value: object, kind: type) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(entry, kind) for entry in value.values()):
        raise FrameError(f"its {field_name!r} holds something else")
    if len(value) > _MAX_DRAFTS:
        raise FrameError(f"its {field_name!r} has more than {_MAX_DRAFTS} fields")
    return value


def _digest(value: object) -> str:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise FrameError("a digest is something else than 16 digits 0-9 a-f")
    return value


def _vector(value: object) -> bytes:
    if not isinstance(value, str):
        raise FrameError("its 'sv' is not text")
    try:
        return b64decode(value, validate=True)
    except (Base64Error, ValueError) as error:
        raise FrameError("its 'sv' is not base64") from error


def _varuint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(0x80 | value & 0x7F)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _read_varuint(content: bytes, start: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(content[start : start + 4]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, start + index + 1
    raise FrameError("the length of its header is malformed")
