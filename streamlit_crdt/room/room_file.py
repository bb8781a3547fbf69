"""Room files: `room.export` and `room.load`.

A file of either format is loaded as an edit. Of a Yjs document only the values are used. If its history were merged
instead, an older copy of the same room would change nothing, because the room already has all of its updates.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from pycrdt import Doc

from streamlit_crdt.access.participant import MAX_CHARS
from streamlit_crdt.document.json_state import Json, State, dump, dump_file, parse, read_state, state_of
from streamlit_crdt.document.panic_guard import refuse_panics
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.document.snapshots import list_snapshots
from streamlit_crdt.document.stored_snapshots import StoredSnapshot
from streamlit_crdt.errors import (
    RoomFileError,
    SnapshotNameError,
    UpdateRefusedError,
    ValueNotShareableError,
    ValueUnreadableError,
)
from streamlit_crdt.merge import RULES
from streamlit_crdt.room.membership import Membership
from streamlit_crdt.room.snapshots import check_limits, compress, is_valid_name, validate_name
from streamlit_crdt_server.errors import UpdateRefusedError as RefusedByServerError
from streamlit_crdt_server.yjs.safe_apply import validate_update

_log = logging.getLogger("streamlit_crdt")

VERSION: Final = 1
"""Version of the JSON format. A file of a later version is rejected."""

MAX_FILE_BYTES: Final = 64 * 1024 * 1024
"""A larger file is rejected. It is the maximum size of a room's document."""

_VERSION_FIELD: Final = "streamlit-crdt"
_LOOKS_LIKE_JSON: Final = re.compile(rb"(\xef\xbb\xbf)?\s*\{\s*[\"}]")
_ROOTS: Final = ("state", "snapshots", "events", "meta")


class OpenFile(Protocol):
    """An open file, for example an upload of `st.file_uploader`."""

    def read(self) -> str | bytes: ...


Data = str | bytes | bytearray | memoryview | OpenFile


@dataclass(frozen=True, slots=True)
class Content:
    """The decoded content of a file."""

    state: State
    snapshots: Mapping[str, StoredSnapshot] = field(default_factory=dict)


def export(room: str | None, membership: Membership, format: str) -> str | bytes:
    """Implement `Room.export`."""
    if format not in ("json", "yjs"):
        raise ValueError(f'format={format!r} does not exist: use "json" or "yjs".')
    membership.push_edits()
    return to_json(room, membership.replica) if format == "json" else to_update(membership.replica)


def to_json(room: str | None, replica: Replica) -> str:
    """Return a replica's content as JSON, with values in the order of their keys and the newest snapshot first."""
    content = {
        _VERSION_FIELD: VERSION,
        "room": room,
        "exported": datetime.now(UTC).isoformat(timespec="seconds"),
        "state": state_of(replica.stored()),
        "snapshots": dict(_encode_snapshots(replica)),
    }
    return dump_file(content)


def _encode_snapshots(replica: Replica) -> Iterator[tuple[str, Json]]:
    remaining_bytes = MAX_FILE_BYTES
    for name, snapshot in _snapshots_of(replica).items():
        try:
            text = snapshot.text()
            remaining_bytes -= len(text)
            if remaining_bytes < 0:  # a few compressed bytes may expand to 16 MiB, each time
                raise ValueError(f"the snapshots are larger than {MAX_FILE_BYTES} bytes")
            yield name, {"when": snapshot.when, "who": snapshot.who, "state": read_state(text)}
        except ValueError as error:
            _log.warning("snapshot %r is damaged or too large and was left out of the file: %s", name, error)


def _snapshots_of(replica: Replica) -> dict[str, StoredSnapshot]:
    """Return the snapshots by name, without those whose names no `save` accepts."""
    found = ((name, replica.snapshot(name)) for name in list_snapshots(replica) if is_valid_name(name))
    return {name: snapshot for name, snapshot in found if snapshot is not None}


def to_update(replica: Replica) -> bytes:
    """Return a replica's document as a Yjs update, without the deleted content that its undo history retains."""
    with refuse_panics():
        visible: Doc[Any] = Doc()
        visible.apply_update(replica.diff())
        update: bytes = visible.get_update()
        return update


def load(room: str | None, membership: Membership, data: Data) -> None:
    """Implement `Room.load`."""
    subject = room or "room"
    membership.require_editable(subject)
    content = read(data)
    existing = membership.replica.snapshots()
    new = {name: snapshot for name, snapshot in content.snapshots.items() if name not in existing}
    check_limits(membership.replica, new)
    try:
        membership.restore(subject, content.state)
    except (ValueUnreadableError, ValueNotShareableError) as error:
        raise RoomFileError(f"its value of {error.key!r:.200} cannot be used: {error.reason}") from error
    for name, snapshot in new.items():
        membership.store_snapshot(name, snapshot)


def read(data: Data) -> Content:
    """Decode a file of either format.

    Raises:
        RoomFileError: the data is neither format, or is larger than `MAX_FILE_BYTES`.
    """
    raw = _read_bytes(data)
    if not _LOOKS_LIKE_JSON.match(raw):
        if isinstance(data, str):
            raise RoomFileError("it is not a JSON object")
        return _read_update(raw)
    try:
        return _read_json(raw)
    except RoomFileError:
        try:
            return _read_update(raw)  # an update of 123 replicas begins with the byte of "{"
        except RoomFileError:
            pass
        raise


def _read_bytes(data: Data) -> bytes:
    content = data if isinstance(data, str | bytes | bytearray | memoryview) else data.read()
    if len(content) > MAX_FILE_BYTES:
        raise RoomFileError(f"it is larger than {MAX_FILE_BYTES} bytes")
    return content.encode("utf-8", "surrogatepass") if isinstance(content, str) else bytes(content)


def _read_json(raw: bytes) -> Content:
    try:
        content = parse(raw.decode("utf-8-sig"))
    except ValueError as error:
        raise RoomFileError(f"it is not JSON ({error})") from error
    version, state = content.get(_VERSION_FIELD), content.get("state")
    if type(version) is not int or not isinstance(state, dict):
        raise RoomFileError(f'it lacks the fields "{_VERSION_FIELD}" and "state" of an exported room')
    if not 1 <= version <= VERSION:
        raise RoomFileError(
            f"its version is {str(version)[:20]}, and this program reads versions up to {VERSION}"
        )
    return Content(state, _read_snapshots(content.get("snapshots", {})))


def _read_snapshots(encoded: Json) -> dict[str, StoredSnapshot]:
    if not isinstance(encoded, dict):
        raise RoomFileError('its field "snapshots" is not an object')
    return {name: _read_snapshot(name, snapshot) for name, snapshot in encoded.items()}


def _read_snapshot(name: str, encoded: Json) -> StoredSnapshot:
    try:
        validate_name(name)
        when, who, state = encoded["when"], encoded["who"], encoded["state"]
        if (
            datetime.fromisoformat(when).tzinfo is None
            or not isinstance(who, str)
            or not isinstance(state, dict)
        ):
            raise ValueError
        who.encode()  # pycrdt panics on a lone surrogate
        return compress(name, when, who[:MAX_CHARS], dump(state))
    except (SnapshotNameError, KeyError, TypeError, ValueError) as error:
        raise RoomFileError(f"its snapshot {name[:100]!r} is not valid") from error


def _read_update(raw: bytes) -> Content:
    try:
        update = validate_update(raw)
        document = Replica()
        document.apply(update.data)
        names = _root_names(update.data)
    except (RefusedByServerError, UpdateRefusedError) as error:
        raise RoomFileError(f"it is neither JSON nor a Yjs document ({error.reason})") from error
    if any(update.dependencies.values()):
        raise RoomFileError("it is a Yjs update whose dependencies are missing")
    if names and not any(name in _ROOTS or name.partition(":")[0] in RULES for name in names):
        raise RoomFileError("it is a Yjs document, but not of a room")
    try:
        return Content(state_of(document.stored()), _snapshots_of(document))
    except ValueUnreadableError as error:
        raise RoomFileError(f"its value of {error.key!r:.200} cannot be used: {error.reason}") from error


def _root_names(update: bytes) -> list[str]:
    with refuse_panics():
        document: Doc[Any] = Doc()
        document.apply_update(update)
        return list(document.keys())
