"""A room as a file that a person can keep: `room.export` and `room.load`.

A file is loaded as an edit, in both formats. Of a Yjs document only the values are taken. Merged as history, an older
copy of the same room would change nothing: the room has all of it already, and what was done to it since.
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
from streamlit_crdt.room.snapshots import check_limits, check_name, packed
from streamlit_crdt_server.errors import UpdateRefusedError as RefusedByServerError
from streamlit_crdt_server.yjs.safe_apply import validate_update
from streamlit_crdt_server.yjs.update_decoder import check_state_vector

_log = logging.getLogger("streamlit_crdt")

VERSION: Final = 1
"""Of the JSON format; a file of a later one is refused."""

MAX_FILE_BYTES: Final = 64 * 1024 * 1024
"""A larger file is refused: no document of a room is larger."""

_MARK: Final = "streamlit-crdt"
_LOOKS_LIKE_JSON: Final = re.compile(rb"(\xef\xbb\xbf)?\s*\{\s*[\"}]")
_ROOTS: Final = ("state", "snapshots", "events", "meta")


class OpenFile(Protocol):
    """An open file, such as what `st.file_uploader` returns."""

    def read(self) -> str | bytes: ...


Data = str | bytes | bytearray | memoryview | OpenFile


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds."""

    state: State
    snapshots: Mapping[str, StoredSnapshot] = field(default_factory=dict)


def export(room: str | None, membership: Membership, format: str) -> str | bytes:
    """See `Room.export`."""
    if format not in ("json", "yjs"):
        raise ValueError(f'format={format!r} does not exist: use "json" or "yjs".')
    membership.settle()
    return as_json(room, membership.replica) if format == "json" else as_update(membership.replica)


def as_json(room: str | None, replica: Replica) -> str:
    """Return what a replica holds as JSON: values in the order of their keys, the newest snapshot first."""
    content = {
        _MARK: VERSION,
        "room": room,
        "exported": datetime.now(UTC).isoformat(timespec="seconds"),
        "state": state_of(replica.stored()),
        "snapshots": dict(_write_snapshots(replica)),
    }
    return dump_file(content)


def _write_snapshots(replica: Replica) -> Iterator[tuple[str, Json]]:
    for name, kept in _snapshots_of(replica).items():
        try:
            yield name, {"when": kept.when, "who": kept.who, "state": read_state(kept.text())}
        except ValueError as error:
            _log.warning("the snapshot %r is damaged, and left out of the file: %s", name, error)


def _snapshots_of(replica: Replica) -> dict[str, StoredSnapshot]:
    found = ((name, replica.snapshot(name)) for name in list_snapshots(replica))
    return {name: kept for name, kept in found if kept is not None}


def as_update(replica: Replica) -> bytes:
    """Return what a replica holds as a Yjs update, without what is kept for its own undo."""
    with refuse_panics():
        visible: Doc[Any] = Doc()
        visible.apply_update(replica.diff())
        update: bytes = visible.get_update()
        return update


def load(room: str | None, membership: Membership, data: Data) -> None:
    """See `Room.load`."""
    subject = room or "room"
    membership.check_edits(subject)
    content = read(data)
    there = membership.replica.snapshots()
    new = {name: kept for name, kept in content.snapshots.items() if name not in there}
    check_limits(membership.replica, new)
    try:
        membership.restore(subject, content.state)
    except (ValueUnreadableError, ValueNotShareableError) as error:
        raise RoomFileError(f"its value of {error.key!r} cannot be used: {error.reason}") from error
    for name, kept in new.items():
        membership.keep(name, kept)


def read(data: Data) -> Content:
    """Return what a file holds, whichever of the formats it is in.

    Raises:
        RoomFileError: it is neither.
    """
    raw = _raw(data)
    if not _LOOKS_LIKE_JSON.match(raw):
        if isinstance(data, str):
            raise RoomFileError("it is no JSON object")
        return _read_update(raw)
    try:
        return _read_json(raw)
    except RoomFileError:
        try:
            return _read_update(raw)  # an update of 123 replicas may begin like this
        except RoomFileError:
            pass
        raise


def _raw(data: Data) -> bytes:
    content = data if isinstance(data, str | bytes | bytearray | memoryview) else data.read()
    if len(content) > MAX_FILE_BYTES:
        raise RoomFileError(f"it is larger than {MAX_FILE_BYTES} bytes")
    return content.encode("utf-8", "surrogatepass") if isinstance(content, str) else bytes(content)


def _read_json(raw: bytes) -> Content:
    try:
        content = parse(raw.decode("utf-8-sig"))
    except ValueError as error:
        raise RoomFileError(f"it is no JSON ({error})") from error
    version, state = content.get(_MARK), content.get("state")
    if type(version) is not int or not isinstance(state, dict):
        raise RoomFileError(f'it has no "{_MARK}" and "state", as a room that was exported has')
    if version > VERSION:
        raise RoomFileError(f"it is of version {version}, and this program reads up to version {VERSION}")
    return Content(state, _read_snapshots(content.get("snapshots", {})))


def _read_snapshots(written: Json) -> dict[str, StoredSnapshot]:
    if not isinstance(written, dict):
        raise RoomFileError("its snapshots are not given by name")
    return {name: _read_snapshot(name, one) for name, one in written.items()}


def _read_snapshot(name: str, written: Json) -> StoredSnapshot:
    try:
        check_name(name)
        when, who, state = written["when"], written["who"], written["state"]
        if (
            datetime.fromisoformat(when).tzinfo is None
            or not isinstance(who, str)
            or not isinstance(state, dict)
        ):
            raise ValueError
        return packed(name, when, who[:MAX_CHARS], dump(state))
    except (SnapshotNameError, KeyError, TypeError, ValueError) as error:
        raise RoomFileError(f"its snapshot {name[:100]!r} is none") from error


def _read_update(raw: bytes) -> Content:
    try:
        update, reach = validate_update(raw)
        document = Replica()
        document.apply(update)
        names = _root_names(update)
    except (RefusedByServerError, UpdateRefusedError) as error:
        raise RoomFileError(f"it is neither JSON nor a Yjs document ({error.reason})") from error
    clocks = check_state_vector(document.state_vector())
    if any(clocks.get(replica, 0) < clock for replica, clock in reach.items()):
        raise RoomFileError("it is only a part of a Yjs document")
    if names and not any(name in _ROOTS or name.partition(":")[0] in RULES for name in names):
        raise RoomFileError("it is a Yjs document, and none of a room")
    try:
        return Content(state_of(document.stored()), _snapshots_of(document))
    except ValueUnreadableError as error:
        raise RoomFileError(f"its value of {error.key!r} cannot be used: {error.reason}") from error


def _root_names(update: bytes) -> list[str]:
    with refuse_panics():
        document: Doc[Any] = Doc()
        document.apply_update(update)
        return list(document.keys())
