"""The logs of all rooms as tables of one SQLite database: what each call reads and writes.

SQLite keeps no checksums. So each row here carries one, which covers its keys too; each room says how many
rows it has, and the store how many rooms: a row that was altered, moved or lost is noticed when it is read.
An altered row is moved into `set_aside`, where it can be looked at; a lost one has the room refused.

Order is by a number that the store counts up with every write, never by a clock (rule S3).
"""

from __future__ import annotations

import logging
import sqlite3
from dataclasses import dataclass
from hashlib import blake2b
from typing import NoReturn

from streamlit_crdt_server.errors import StoreCorruptError
from streamlit_crdt_server.storage.store import StoredRoom, draw_epoch

_log = logging.getLogger(__name__)

APPLICATION_ID = 0x43524454
VERSION = 1
"""Of the tables; raise it when they change, and say how to come from the one before."""

_TABLES = (
    "CREATE TABLE store (one INTEGER PRIMARY KEY, last_seq INTEGER, rooms INTEGER, checksum BLOB)",
    "CREATE TABLE rooms (name TEXT PRIMARY KEY, epoch TEXT, updates INTEGER, set_aside INTEGER, "
    "checksum BLOB) WITHOUT ROWID",
    "CREATE TABLE updates (room TEXT, seq INTEGER, checksum BLOB, bytes BLOB, "
    "PRIMARY KEY (room, seq)) WITHOUT ROWID",
    "CREATE TABLE set_aside (room TEXT, seq INTEGER, why TEXT, bytes BLOB)",
)


@dataclass(frozen=True, slots=True)
class _Head:
    """What is known of a room besides its updates."""

    epoch: str
    updates: int
    set_aside: int


class SQLiteLog:
    """The tables behind one connection. Methods that write are to be called inside a transaction."""

    def __init__(self, connection: sqlite3.Connection, where: str) -> None:
        self._db = connection
        self._where = where
        self._db.text_factory = lambda text: text.decode(
            "utf-8", "replace"
        )  # the checksum tells, not an error

    def create(self) -> None:
        """Make the tables in an empty database."""
        self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        self._db.execute(f"PRAGMA user_version = {VERSION}")
        for table in _TABLES:
            self._db.execute(table)
        self._db.execute("INSERT INTO store VALUES (1, 0, 0, ?)", (_checksum(0, 0),))

    def check(self) -> None:
        """Raise a StoreCorruptError unless this is a whole database of ours. Reads all of it."""
        ids = [
            self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
        ]
        tables = self._db.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid")
        if ids != [APPLICATION_ID, VERSION] or tuple(sql for (sql,) in tables) != _TABLES:
            self._refuse(f"it is not a room store of version {VERSION}")
        problems = [str(text) for (text,) in self._db.execute("PRAGMA quick_check(3)")]
        if problems != ["ok"]:
            self._refuse("; ".join(problems))
        names = [name for (name,) in self._db.execute("SELECT name FROM rooms")]
        if names != self.rooms() or len(set(names)) != self._position()[1]:
            self._refuse("rooms are missing")
        for name in names:
            if self._head(name) is None:
                self._refuse(f"room {name!r} is there and not found")

    def last_seq(self) -> int:
        """Return the number of the last write."""
        return self._position()[0]

    def advance(self, rooms: int = 0) -> int:
        """Count a write, and `rooms` more rooms; return its number."""
        last_seq, count = self._position()
        position = (last_seq + 1, count + rooms)
        self._db.execute(
            "UPDATE store SET last_seq = ?, rooms = ?, checksum = ?", (*position, _checksum(*position))
        )
        return position[0]

    def find(self, room: str) -> StoredRoom | None:
        """Return `room` if it is whole; None if it must be begun, or parts of it set aside. Writes nothing."""
        head = self._head(room)
        if head is None:
            return None
        whole, damaged = self._read(room, head)
        return None if damaged else StoredRoom(head.epoch, tuple(whole.values()), head.set_aside)

    def load(self, room: str) -> StoredRoom:
        """Return `room`; begin it if it is new, and set aside what of it is damaged."""
        head = self._begin(room)
        whole, damaged = self._read(room, head)
        for seq in damaged:
            self._move_aside(room, seq, "its checksum is wrong")
        head = self._put_head(
            room, _Head(head.epoch, head.updates - len(damaged), head.set_aside + len(damaged))
        )
        return StoredRoom(head.epoch, tuple(whole.values()), head.set_aside)

    def append(self, room: str, update: bytes) -> None:
        head = self._begin(room)
        self._insert(room, update)
        self._put_head(room, _Head(head.epoch, head.updates + 1, head.set_aside))

    def compact(self, room: str, state: bytes) -> None:
        """Write the state, read it back, and only then remove what it replaces."""
        head = self._begin(room)
        seq = self._insert(room, state)
        written = self._db.execute(
            "SELECT checksum, bytes FROM updates WHERE room = ? AND seq = ?", (room, seq)
        ).fetchone()
        if written != (_checksum(room, seq, content=state), state):
            self._refuse(f"a state of room {room!r} does not read back as it was written")
        removed = self._db.execute("DELETE FROM updates WHERE room = ? AND seq < ?", (room, seq)).rowcount
        if removed != head.updates:
            self._refuse(f"{head.updates - removed} updates of room {room!r} are missing")
        self._put_head(room, _Head(head.epoch, 1, head.set_aside))

    def set_aside(self, room: str, update: bytes, why: str) -> None:
        head = self._begin(room)
        found = self._db.execute(
            "SELECT seq FROM updates WHERE room = ? AND bytes = ? ORDER BY seq LIMIT 1", (room, update)
        ).fetchone()
        if found is not None:
            self._move_aside(room, found[0], why)
            self._put_head(room, _Head(head.epoch, head.updates - 1, head.set_aside + 1))

    def delete(self, room: str) -> None:
        self._db.execute("DELETE FROM updates WHERE room = ?", (room,))
        self._db.execute("DELETE FROM set_aside WHERE room = ?", (room,))
        removed = self._db.execute("DELETE FROM rooms WHERE name = ?", (room,)).rowcount
        self.advance(rooms=-removed)

    def rooms(self) -> list[str]:
        return [name for (name,) in self._db.execute("SELECT name FROM rooms ORDER BY name")]

    def written(self) -> list[str]:
        rows = self._db.execute("SELECT name FROM rooms WHERE updates + set_aside > 0 ORDER BY name")
        return [name for (name,) in rows]

    def _read(self, room: str, head: _Head) -> tuple[dict[int, bytes], list[object]]:
        """Return the updates by number, in order, and the numbers of those that are damaged."""
        whole: dict[int, bytes] = {}
        damaged: list[object] = []
        for seq, checksum, update in self._db.execute(
            "SELECT seq, checksum, bytes FROM updates WHERE room = ? ORDER BY seq", (room,)
        ):
            if isinstance(update, bytes) and checksum == _checksum(room, seq, content=update):
                whole[seq] = update
            else:
                damaged.append(seq)
        if len(whole) + len(damaged) != head.updates or list(whole) != sorted(whole):
            self._refuse(f"updates of room {room!r} are missing, or are not in order")
        return whole, damaged

    def _insert(self, room: str, update: bytes) -> int:
        seq = self.advance()
        row = (room, seq, _checksum(room, seq, content=update), update)
        self._db.execute("INSERT INTO updates VALUES (?, ?, ?, ?)", row)
        return seq

    def _move_aside(self, room: str, seq: object, why: str) -> None:
        row = (room, seq)
        self._db.execute(
            "INSERT INTO set_aside SELECT room, seq, ?, bytes FROM updates WHERE room = ? AND seq = ?",
            (why, *row),
        )
        if self._db.execute("DELETE FROM updates WHERE room = ? AND seq = ?", row).rowcount != 1:
            self._refuse(f"a damaged update of room {room!r} cannot be set aside")
        self.advance()
        _log.error("room %r: update %r was set aside, because %s", room, seq, why)

    def _begin(self, room: str) -> _Head:
        head = self._head(room)
        if head is None:
            self.advance(rooms=1)
            head = self._put_head(room, _Head(draw_epoch(), 0, 0))
        return head

    def _head(self, room: str) -> _Head | None:
        row = self._db.execute(
            "SELECT epoch, updates, set_aside, checksum FROM rooms WHERE name = ?", (room,)
        ).fetchone()
        if row is None:
            return None
        *values, checksum = row
        if checksum != _checksum(room, *values):
            self._refuse(f"what is known of room {room!r} is damaged")
        return _Head(*values)

    def _put_head(self, room: str, head: _Head) -> _Head:
        values = (head.epoch, head.updates, head.set_aside)
        self._db.execute(
            "REPLACE INTO rooms VALUES (?, ?, ?, ?, ?)", (room, *values, _checksum(room, *values))
        )
        return head

    def _position(self) -> tuple[int, int]:
        rows = self._db.execute("SELECT last_seq, rooms, checksum FROM store").fetchall()
        if len(rows) != 1 or rows[0][2] != _checksum(*rows[0][:2]):
            self._refuse("its position is damaged")
        return rows[0][0], rows[0][1]

    def _refuse(self, reason: str) -> NoReturn:
        raise StoreCorruptError(self._where, reason)


def _checksum(*keys: object, content: bytes = b"") -> bytes:
    """Return 8 bytes that change with any of the keys and with the content."""
    digest = blake2b(repr(keys).encode("utf-8", "replace"), digest_size=8)
    digest.update(content)
    return digest.digest()
