"""The logs of all rooms as tables of one SQLite database.

SQLite keeps no checksums. Each row here has a checksum, which covers its keys too. Each room stores its number of
rows, and the store its number of rooms, so that a read detects rows that were changed, moved or lost. A changed row is
moved into the table `set_aside`, where it can be examined. A lost row makes its room unreadable.

Rows are ordered by a sequence number that each write increments, never by a clock (rule S3).
"""

from __future__ import annotations

import logging
import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import NoReturn

from streamlit_crdt_server.errors import StoreCorruptError, StoreVersionError
from streamlit_crdt_server.storage.store import StoredRoom, new_epoch

_log = logging.getLogger(__name__)

APPLICATION_ID = 0x43524454
VERSION = 3
"""Version of the tables. A change of the tables needs a new version, and a migration from the version before."""

_TABLES = (
    "CREATE TABLE store (one INTEGER PRIMARY KEY, last_seq INTEGER, rooms INTEGER, checksum BLOB, id TEXT)",
    "CREATE TABLE rooms (name TEXT PRIMARY KEY, epoch TEXT, updates INTEGER, set_aside INTEGER, "
    "checksum BLOB) WITHOUT ROWID",
    "CREATE TABLE updates (room TEXT, seq INTEGER, checksum BLOB, bytes BLOB, "
    "PRIMARY KEY (room, seq)) WITHOUT ROWID",
    "CREATE TABLE set_aside (room TEXT, seq INTEGER, why TEXT, bytes BLOB)",
    "CREATE TABLE pasts (room TEXT PRIMARY KEY, checksum BLOB, bytes BLOB) WITHOUT ROWID",
)
_TABLES_2 = _TABLES[:-1]
"""The tables of version 2, whose rooms were never rewritten."""

_TABLES_1 = (_TABLES[0].replace(", id TEXT", ""), *_TABLES_2[1:])
"""The tables of version 1, whose stores have no id."""


@dataclass(frozen=True, slots=True)
class _RoomRow:
    """The row of a room in the table `rooms`: its epoch, and its numbers of updates and of updates set aside."""

    epoch: str
    updates: int
    set_aside: int


class SQLiteLog:
    """The tables behind one connection. Methods that write must be called inside a transaction."""

    def __init__(self, connection: sqlite3.Connection, where: str) -> None:
        self._db = connection
        self._where = where
        # Text that is not UTF-8 is reported by the checksum of its row, not by a decoding error.
        self._db.text_factory = lambda text: text.decode("utf-8", "replace")

    def create(self) -> None:
        """Create the tables in an empty database."""
        self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        self._db.execute(f"PRAGMA user_version = {VERSION}")
        for table in _TABLES:
            self._db.execute(table)
        self._db.execute(
            "INSERT INTO store VALUES (1, 0, 0, ?, ?)", (checksum_of(0, 0), secrets.token_hex(16))
        )

    def migrate(self) -> None:
        """Change tables of an earlier version into those of the current one, in a transaction of its own."""
        version = self._read_version()
        if version in (1, 2):
            self._db.execute("BEGIN IMMEDIATE")
            if version == 1:
                self._db.execute("ALTER TABLE store ADD COLUMN id TEXT")
                self._db.execute("UPDATE store SET id = ?", (secrets.token_hex(16),))
            self._db.execute(_TABLES[-1])
            self._db.execute(f"PRAGMA user_version = {VERSION}")
            self._db.execute("COMMIT")

    def check(self) -> None:
        """Raise StoreCorruptError unless this is an intact room store. Reads the whole database."""
        version = self._read_version()
        if version > VERSION:
            raise StoreVersionError(self._where, version, VERSION)
        tables = self._db.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid")
        if tuple(sql for (sql,) in tables) != {1: _TABLES_1, 2: _TABLES_2, VERSION: _TABLES}.get(version):
            self._fail(f"the file is not a room store of version {VERSION}")
        problems = [str(text) for (text,) in self._db.execute("PRAGMA quick_check(3)")]
        if problems != ["ok"]:
            self._fail("; ".join(problems))
        names = [name for (name,) in self._db.execute("SELECT name FROM rooms")]
        if names != self.rooms() or len(set(names)) != self.position()[1]:
            self._fail("rooms are missing")
        for name in names:
            if self._read_room(name) is None:
                self._fail(f"room {name!r} is listed but cannot be found")

    def last_seq(self) -> int:
        """Return the sequence number of the last write."""
        return self.position()[0]

    def position(self) -> tuple[int, int]:
        """Return the sequence number of the last write, and the number of rooms."""
        rows = self._db.execute("SELECT last_seq, rooms, checksum FROM store").fetchall()
        if len(rows) != 1 or rows[0][2] != checksum_of(*rows[0][:2]):
            self._fail("the row of the sequence number is damaged")
        return rows[0][0], rows[0][1]

    def store_id(self) -> str:
        """Return the random id of the store, which its high-water mark names too. "" in version 1."""
        if self._read_version() == 1:
            return ""
        (store_id,) = self._db.execute("SELECT id FROM store").fetchone()
        return str(store_id)

    def advance(self, rooms: int = 0) -> int:
        """Increment the sequence number, add `rooms` to the number of rooms, and return the sequence number."""
        last_seq, count = self.position()
        position = (last_seq + 1, count + rooms)
        self._db.execute(
            "UPDATE store SET last_seq = ?, rooms = ?, checksum = ?", (*position, checksum_of(*position))
        )
        return position[0]

    def find(self, room: str) -> StoredRoom | None:
        """Return `room`, or None if it does not exist or has damaged updates, which only `load` handles. Reads only."""
        row = self._read_room(room)
        if row is None:
            return None
        intact, damaged = self._read(room, row)
        if damaged:
            return None
        return StoredRoom(row.epoch, tuple(intact.values()), row.set_aside, self.read_past(room))

    def load(self, room: str) -> StoredRoom:
        """Return `room`. Create it if it is new, and set its damaged updates aside."""
        row = self._ensure_room(room)
        intact, damaged = self._read(room, row)
        for seq in damaged:
            self._move_aside(room, seq, "its checksum is wrong")
        row = self._write_room(
            room, _RoomRow(row.epoch, row.updates - len(damaged), row.set_aside + len(damaged))
        )
        return StoredRoom(row.epoch, tuple(intact.values()), row.set_aside, self.read_past(room))

    def append(self, room: str, update: bytes) -> None:
        row = self._ensure_room(room)
        self._insert(room, update)
        self._write_room(room, _RoomRow(row.epoch, row.updates + 1, row.set_aside))

    def compact(self, room: str, state: bytes) -> None:
        """Write the state, read it back, and then delete the updates that it replaces."""
        row = self._ensure_room(room)
        seq = self._insert(room, state)
        written = self._db.execute(
            "SELECT checksum, bytes FROM updates WHERE room = ? AND seq = ?", (room, seq)
        ).fetchone()
        if written != (checksum_of(room, seq, content=state), state):
            self._fail(f"a state of room {room!r} reads back differently")
        removed = self._db.execute("DELETE FROM updates WHERE room = ? AND seq < ?", (room, seq)).rowcount
        if removed != row.updates:
            self._fail(f"{row.updates - removed} updates of room {room!r} are missing")
        self._write_room(room, _RoomRow(row.epoch, 1, row.set_aside))

    def rewrite(self, room: str, state: bytes, past: bytes) -> None:
        """Replace the log by the state of another document, with a new epoch."""
        self.compact(room, state)
        row = self._ensure_room(room)
        self._write_room(room, _RoomRow(new_epoch(), row.updates, row.set_aside))
        self._write_past(room, past)

    def read_past(self, room: str) -> bytes:
        """Return what the last `rewrite` stored, b"" if there was none. A damaged row is logged and left out."""
        row = self._db.execute("SELECT checksum, bytes FROM pasts WHERE room = ?", (room,)).fetchone()
        if row is None:
            return b""
        checksum, past = row
        if isinstance(past, bytes) and checksum == checksum_of(room, content=past):
            return past
        _log.error("room %r: its list of former documents is damaged and is not used", room)
        return b""

    def _write_past(self, room: str, past: bytes) -> None:
        row = (room, checksum_of(room, content=past), past)
        self._db.execute("REPLACE INTO pasts VALUES (?, ?, ?)", row)

    def restore(self, room: str, epoch: str, updates: Sequence[bytes], past: bytes = b"") -> None:
        """Create `room` with an epoch, updates and what it keeps of its former documents."""
        if past:
            self._write_past(room, past)
        self.advance(rooms=1)
        for update in updates:
            self._insert(room, update)
        self._write_room(room, _RoomRow(epoch, len(updates), 0))

    def set_aside(self, room: str, update: bytes, why: str) -> None:
        row = self._ensure_room(room)
        found = self._db.execute(
            "SELECT seq FROM updates WHERE room = ? AND bytes = ? ORDER BY seq LIMIT 1", (room, update)
        ).fetchone()
        if found is not None:
            self._move_aside(room, found[0], why)
            self._write_room(room, _RoomRow(row.epoch, row.updates - 1, row.set_aside + 1))

    def delete(self, room: str) -> None:
        self._db.execute("DELETE FROM updates WHERE room = ?", (room,))
        self._db.execute("DELETE FROM set_aside WHERE room = ?", (room,))
        self._db.execute("DELETE FROM pasts WHERE room = ?", (room,))
        removed = self._db.execute("DELETE FROM rooms WHERE name = ?", (room,)).rowcount
        self.advance(rooms=-removed)

    def rooms(self) -> list[str]:
        return [name for (name,) in self._db.execute("SELECT name FROM rooms ORDER BY name")]

    def written(self) -> list[str]:
        rows = self._db.execute("SELECT name FROM rooms WHERE updates + set_aside > 0 ORDER BY name")
        return [name for (name,) in rows]

    def sizes(self) -> dict[str, int]:
        """Return the bytes of each room, in its log and set aside. Rows are read without their content."""
        rows = self._db.execute(
            "SELECT room, SUM(LENGTH(bytes)) FROM (SELECT room, bytes FROM updates UNION ALL "
            "SELECT room, bytes FROM set_aside) GROUP BY room"
        )
        return {room: size_bytes or 0 for room, size_bytes in rows}

    def _read(self, room: str, row: _RoomRow) -> tuple[dict[int, bytes], list[object]]:
        """Return the intact updates by sequence number, in order, and the sequence numbers of the damaged ones."""
        intact: dict[int, bytes] = {}
        damaged: list[object] = []
        for seq, checksum, update in self._db.execute(
            "SELECT seq, checksum, bytes FROM updates WHERE room = ? ORDER BY seq", (room,)
        ):
            if isinstance(update, bytes) and checksum == checksum_of(room, seq, content=update):
                intact[seq] = update
            else:
                damaged.append(seq)
        if len(intact) + len(damaged) != row.updates or list(intact) != sorted(intact):
            self._fail(f"updates of room {room!r} are missing or not in order")
        return intact, damaged

    def _insert(self, room: str, update: bytes) -> int:
        seq = self.advance()
        row = (room, seq, checksum_of(room, seq, content=update), update)
        self._db.execute("INSERT INTO updates VALUES (?, ?, ?, ?)", row)
        return seq

    def _move_aside(self, room: str, seq: object, why: str) -> None:
        row = (room, seq)
        self._db.execute(
            "INSERT INTO set_aside SELECT room, seq, ?, bytes FROM updates WHERE room = ? AND seq = ?",
            (why, *row),
        )
        if self._db.execute("DELETE FROM updates WHERE room = ? AND seq = ?", row).rowcount != 1:
            self._fail(f"a damaged update of room {room!r} cannot be set aside")
        self.advance()
        _log.error("room %r: update %r was set aside: %s", room, seq, why)

    def _ensure_room(self, room: str) -> _RoomRow:
        row = self._read_room(room)
        if row is None:
            self.advance(rooms=1)
            row = self._write_room(room, _RoomRow(new_epoch(), 0, 0))
        return row

    def _read_room(self, room: str) -> _RoomRow | None:
        row = self._db.execute(
            "SELECT epoch, updates, set_aside, checksum FROM rooms WHERE name = ?", (room,)
        ).fetchone()
        if row is None:
            return None
        *values, checksum = row
        if checksum != checksum_of(room, *values):
            self._fail(f"the row of room {room!r} is damaged")
        return _RoomRow(*values)

    def _write_room(self, room: str, row: _RoomRow) -> _RoomRow:
        values = (row.epoch, row.updates, row.set_aside)
        self._db.execute(
            "REPLACE INTO rooms VALUES (?, ?, ?, ?, ?)", (room, *values, checksum_of(room, *values))
        )
        return row

    def _read_version(self) -> int:
        """Return the version of the tables, or 0 if this is no room store."""
        ids = [
            self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
        ]
        return int(ids[1]) if ids[0] == APPLICATION_ID else 0

    def _fail(self, reason: str) -> NoReturn:
        raise StoreCorruptError(self._where, reason)


def checksum_of(*keys: object, content: bytes = b"") -> bytes:
    """Return a checksum of 8 bytes over the keys and the content."""
    digest = blake2b(repr(keys).encode("utf-8", "replace"), digest_size=8)
    digest.update(content)
    return digest.digest()
