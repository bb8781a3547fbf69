"""One replica of a room: its values, and a log of what the tab has not acknowledged. No Streamlit and no I/O.

Updates leave through `subscribe` (to the room in this process) and through the log (to the tab, see
`channel`). What is broadcast is always the update that a transaction itself made, never a diff against an
older state vector: a diff carries every deletion there ever was, and a deletion does not move the vector
(R3).

What a tab has not acknowledged yet: updates by version, in bounded memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import RLock
from typing import Any, Literal

from streamlit_crdt.document.document import merge_updates
from streamlit_crdt.document.keyed_values import KeyedValues
from streamlit_crdt.document.stored_snapshots import SnapshotInfo, StoredSnapshot
from streamlit_crdt.errors import ValueUnreadableError
from streamlit_crdt.merge import Rule

MAX_LOG_BYTES = 1024 * 1024
MAX_LOG_UPDATES = 512
"""A log longer than this is dropped; the tab then gets a diff of the whole document instead."""


class UpdateLog:
    """Updates in the order in which they were made. `version` grows by one with each. Not thread-safe."""

    def __init__(self) -> None:
        self.version = 0
        self._updates: deque[tuple[int, bytes]] = deque()
        self._bytes = 0
        self._floor = 0

    def append(self, update: bytes) -> None:
        self.version += 1
        self._updates.append((self.version, update))
        self._bytes += len(update)
        if self._bytes > MAX_LOG_BYTES or len(self._updates) > MAX_LOG_UPDATES:
            self._drop()

    def since(self, version: int) -> bytes | None:
        """Return one update of all changes after `version`, b"" if there are none, None if the log begins
        later."""
        if version >= self.version:
            return b""
        if version < self._floor:
            return None
        return merge_updates([update for number, update in self._updates if number > version])

    def acknowledge(self, version: int) -> None:
        """Drop what the tab has."""
        while self._updates and self._updates[0][0] <= version:
            self._floor, update = self._updates.popleft()
            self._bytes -= len(update)

    def forget(self) -> None:
        """Begin anew, as for a tab that may lack anything."""
        self.version += 1
        self._drop()

    def _drop(self) -> None:
        self._updates.clear()
        self._bytes = 0
        self._floor = self.version


LOCAL = "local"
"""Origin of this session's own edits."""
TAB = "tab"
"""Origin of what came from the session's own browser tab, which therefore need not be sent there."""
ROOM = "room"
"""Origin of what came from the room in this process."""

Subscriber = Callable[[bytes, str], None]


class Replica:
    """A room's state as one session holds it. Every method may be called from any thread."""

    def __init__(self, *, replica_id: int | None = None) -> None:
        self._lock = RLock()
        self._contents = KeyedValues(replica_id)
        self._log = UpdateLog()
        self._subscribers: list[Subscriber] = []
        self._depth = 0

    @property
    def replica_id(self) -> int:
        """The 53-bit id under which this replica writes."""
        return self._contents.document.replica_id

    @property
    def version(self) -> int:
        """A number that grows by one with each change that the tab may lack."""
        return self._log.version

    def __contains__(self, key: object) -> bool:
        return key in self._contents

    def __len__(self) -> int:
        return len(self._contents)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def keys(self) -> list[str]:
        """Return the keys, sorted."""
        with self._lock:
            return self._contents.keys()

    def get(self, key: str, default: Any = None) -> Any:
        """Return a private copy of the value of `key`.

        Raises:
            ValueUnreadableError: what is stored cannot be read here. Other keys are not affected.
        """
        with self._lock:
            return self._contents.get(key, default)

    def items(self) -> Iterator[tuple[str, Any]]:
        """Yield key and value, decoded one at a time. A value that cannot be read is left out; `get` says
        why."""
        missing = object()
        for key in self.keys():
            with suppress(ValueUnreadableError):
                if (value := self.get(key, missing)) is not missing:
                    yield key, value

    def set(self, key: str, value: object) -> bool:
        """Store `value` as a whole and say whether it differed from what was stored; an equal one sends nothing (R1).

        Raises:
            ValueNotShareableError: key or value has no shared form; the replica is as it was (R5).
        """
        with self.transaction():
            return self._contents.set(key, value)

    def edit(self, key: str, before: object, after: object, rule: Rule | None) -> bool:
        """Make of the value of `key` what `after` is of `before`, by a merge rule, and say whether it differs then.

        Where the room has no value, or not by this rule, what is there (else `before`, else `after`) goes in first, as
        a seed that is the same for all who bring it (R8).

        Args:
            before: what the author of the change saw; None if that was nothing.
            rule: None if the last writer wins.

        Raises:
            ValueNotShareableError: as `set` does.
        """
        with self.transaction():
            return self._contents.edit(key, before, after, rule)

    def change(self, key: str, rule: Rule, empty: Any, change: Callable[[Any], Any]) -> bool:
        """Edit the value of `key` as it is now, by a merge rule: `change` gets it, `empty` if there is none.

        Raises:
            ValueNotShareableError: as `set` does. Whatever `change` raises.
        """
        with self.transaction():
            before = self._contents.get(key, empty)
            return self._contents.edit(key, before, change(self._contents.get(key, empty)), rule)

    def turn_into(self, key: str, value: object) -> bool:
        """Make `value` of what `key` holds now, by the rule under which it lies, and say whether it differed.

        So what others change in it at the same moment merges. Where there is nothing, or the rule cannot hold `value`,
        it is stored as a whole: unlike a first value that a rule brings (R8), that can be undone.

        Raises:
            ValueNotShareableError: as `set` does.
        """
        with self.transaction():
            return self._contents.turn_into(key, value)

    def delete(self, key: str) -> bool:
        """Remove `key` and return whether it was there."""
        with self.transaction():
            return self._contents.delete(key)

    def begin_group(self) -> None:
        """Have what is edited from now on be undone by itself."""
        with self._lock:
            self._contents.document.history.begin_group()

    def pause_history(self) -> None:
        """Let nobody undo what is edited from now on, until the next group begins: others' edits have caused it."""
        with self._lock:
            self._contents.document.history.is_paused = True

    @property
    def can_undo(self) -> bool:
        with self._lock:
            return self._contents.document.history.can_undo

    @property
    def can_redo(self) -> bool:
        with self._lock:
            return self._contents.document.history.can_redo

    def undo(self) -> frozenset[str]:
        """Take back the last group of this replica's own edits; return the keys whose value that changed."""
        return self._travel("undo")

    def redo(self) -> frozenset[str]:
        """Bring back the group that was undone last; return the keys whose value that changed."""
        return self._travel("redo")

    def _travel(self, way: Literal["undo", "redo"]) -> frozenset[str]:
        with self._lock:
            if self._depth:
                raise RuntimeError(f"{way}() cannot be called inside transaction()")
            self._contents.document.travel(way)
            changed = self._contents.refresh()
            self._contents.edited |= changed
            self._publish(LOCAL)
            return changed

    @property
    def events(self) -> Mapping[str, Any]:
        """The events that are in the room, by id, as they are stored (see `events`)."""
        with self._lock:
            return self._contents.document.read_events()

    def post(self, event_id: str, stored: Any, outdated: Iterable[str] = ()) -> None:
        """Put an event into the room, and take outdated ones out."""
        with self.transaction():
            self._contents.document.post_event(event_id, stored, outdated)

    def stored(self) -> Mapping[str, Any]:
        """Return all values by key as they are stored: trees (see `values`), or `Merged`. To be read only."""
        with self._lock:
            return self._contents.stored()

    def snapshots(self) -> Mapping[str, SnapshotInfo]:
        """Return what is said of the room's snapshots, by name."""
        with self._lock:
            return self._contents.document.snapshots.entries()

    def snapshot(self, name: str) -> StoredSnapshot | None:
        """Return one snapshot; None if there is none of that name."""
        with self._lock:
            return self._contents.document.snapshots.read(name)

    def keep(self, name: str, kept: StoredSnapshot | None) -> None:
        """Put a snapshot into the room, or take it out."""
        with self.transaction():
            self._contents.document.keep(name, kept)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make one update of all edits in the block. If the block raises, edits made so far stay, and are
        sent."""
        with self._lock:
            self._depth += 1
            try:
                with self._contents.document.transaction():
                    yield
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self._publish(LOCAL)

    def apply(self, update: bytes, *, origin: str = ROOM) -> frozenset[str]:
        """Merge `update` and return the keys whose value it changed or deleted. Repeating it changes nothing
        (R2).

        Raises:
            UpdateRefusedError: it is malformed or dangerous; the replica is as it was.
        """
        if not update:
            return frozenset()
        with self._lock:
            if self._depth:
                raise RuntimeError("apply() cannot be called inside transaction()")
            self._contents.document.apply(update)
            changed = self._contents.refresh()
            self._publish(origin)
            return changed

    def state_vector(self) -> bytes:
        """Return what this replica has seen, as a Yjs state vector."""
        with self._lock:
            return self._contents.document.state_vector()

    def diff(self, state_vector: bytes | None = None) -> bytes:
        """Return an update with everything that a replica at `state_vector` lacks; None: the whole state.

        Raises:
            UpdateRefusedError: the state vector is malformed.
        """
        with self._lock:
            return self._contents.document.diff(state_vector)

    def update_since(self, version: int) -> bytes | None:
        """Return one update of all changes after `version`, b"" if there are none, None if the log begins
        later."""
        with self._lock:
            return self._log.since(version)

    def acknowledge(self, version: int) -> None:
        """Drop the log up to `version`, which the tab has."""
        with self._lock:
            self._log.acknowledge(version)

    def forget_log(self) -> None:
        """Begin the log anew, as for a tab that may lack anything, also what another tab sent."""
        with self._lock:
            self._log.forget()

    def take_edited(self) -> frozenset[str]:
        """Return the keys that were set or deleted here since the last call."""
        with self._lock:
            edited, self._contents.edited = frozenset(self._contents.edited), set()
            return edited

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call `subscriber(update, origin)` after each change, in order, under the replica's lock. Return the
        undo.

        Whoever forwards updates to where they may come from skips those of its own origin (R6).
        """
        with self._lock:
            self._subscribers.append(subscriber)

        def unsubscribe() -> None:
            with self._lock, suppress(ValueError):
                self._subscribers.remove(subscriber)

        return unsubscribe

    def _publish(self, origin: str) -> None:
        for update in self._contents.document.take_updates():
            if origin != TAB:
                self._log.append(update)
            for subscriber in tuple(self._subscribers):
                subscriber(update, origin)
