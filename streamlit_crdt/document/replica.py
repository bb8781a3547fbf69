"""Replica of a room in this process, and the log of updates that the tab has not acknowledged.

No Streamlit and no I/O. Updates leave the replica through `subscribe`, to the room in this process, and through the
update log, to the tab. A published update is the one that a transaction made, never a diff against an older state
vector: a diff contains every deletion, and a deletion does not advance the state vector (R3).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from threading import RLock
from typing import Any, Literal, TypeVar

from streamlit_crdt.document.document import Document
from streamlit_crdt.document.edits import LocalEdit
from streamlit_crdt.document.keyed_values import KeyedValues
from streamlit_crdt.document.stored_snapshots import SnapshotInfo, StoredSnapshot
from streamlit_crdt.document.update_log import UpdateLog
from streamlit_crdt.errors import SharedTypeError, ValueNotShareableError, ValueUnreadableError
from streamlit_crdt.merge import Rule

LOCAL = "local"
"""Origin of local edits of this session."""

TAB = "tab"
"""Origin of updates from this session's tab. They are not sent back to the tab."""

ROOM = "room"
"""Origin of updates from the room in this process."""

_log = logging.getLogger("streamlit_crdt")

Subscriber = Callable[[bytes, str], None]

Returned = TypeVar("Returned")


class Replica:
    """One session's replica of a room. Every method may be called from any thread.

    Attributes:
        birth_id: the replica id with which it was created. Unlike `replica_id` it never belonged to another replica.
    """

    def __init__(self, *, replica_id: int | None = None) -> None:
        self._lock = RLock()
        self._document = Document(replica_id)
        self.birth_id = self._document.replica_id
        self._is_retired = False
        self._values = KeyedValues(self._document)
        self._log = UpdateLog()
        self._subscribers: list[Subscriber] = []
        self._is_in_transaction = False
        self._taken = (0, 0)

    @property
    def replica_id(self) -> int:
        """The replica id: the Yjs client id, of 53 bits."""
        return self._document.replica_id

    @property
    def version(self) -> int:
        """Version of the update log. Each change that the tab may lack increments it."""
        return self._log.version

    @property
    def is_empty(self) -> bool:
        """True if nothing was ever written or applied."""
        with self._lock:
            return self._document.is_empty

    def reuse_id(self, replica_id: int, clock: int, content: bytes) -> bool:
        """Apply the first content of an empty replica, and continue with the id of a former replica.

        Args:
            replica_id: an id with which no other replica writes.
            clock: number of the operations of that id. `content` must have all of them: a second operation with the
                same number would be lost.
            content: everything in the room.

        Returns:
            Whether it has the id now. It applies `content` in any case.
        """
        with self._lock:
            is_reused = self._document.is_empty
            if is_reused:
                self._document.change_id(replica_id)
            try:
                self.apply(content, origin=ROOM)
            finally:
                if is_reused and self._document.clock != clock:
                    is_reused = False
                    self._document.change_id(None)
                elif is_reused:
                    self._taken = (replica_id, clock)
            return is_reused

    def retire(self) -> tuple[int, int]:
        """Write nothing more with the present id. Return it and its clock. A later edit has a new id."""
        with self._lock:
            self._is_retired = True
            return self.replica_id, self._document.clock

    def _leave_retirement(self) -> None:
        if self._is_retired:
            self._is_retired = False
            self._document.change_id(None)

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def keys(self) -> list[str]:
        """Return the keys, sorted."""
        with self._lock:
            return self._values.keys()

    def get(self, key: str, default: Any = None) -> Any:
        """Return a deep copy of the value of `key`.

        Raises:
            ValueUnreadableError: the stored value cannot be decoded in this process. Other keys are not affected.
        """
        with self._lock:
            return self._values.get(key, default)

    def items(self) -> Iterator[tuple[str, Any]]:
        """Yield key and value, decoded one at a time. Unreadable values are skipped; `get` raises their error."""
        missing = object()
        for key in self.keys():
            with suppress(ValueUnreadableError):
                if (value := self.get(key, missing)) is not missing:
                    yield key, value

    def set(self, key: str, value: object) -> bool:
        """Store `value` as a whole. Return whether it differs from the stored value; an equal value is not sent (R1).

        Raises:
            ValueNotShareableError: key or value has no stored form. The replica is unchanged (R5).
        """
        with self.transaction():
            return self._values.set(key, value)

    def edit(
        self, key: str, before: object, after: object, rule: Rule | None, *, is_by_person: bool = True
    ) -> bool:
        """Apply the difference between `before` and `after` to the value of `key`. Return whether there is one.

        If the room has no value stored by this rule, a seed is written first: the current value, else `before`, else
        `after`. The seed is deterministic (R8).

        Args:
            before: the value that the author of the edit saw; None if there was none.
            after: the new value.
            rule: the merge rule; None if the last writer wins.
            is_by_person: see `Edit`.

        Raises:
            ValueNotShareableError: as for `set`.
        """
        with self.transaction():
            return self._values.edit(key, before, after, rule, is_by_person=is_by_person)

    def change(
        self,
        key: str,
        rule: Rule | None,
        empty: Any,
        change: Callable[[Any], Any],
        *,
        is_by_person: bool = True,
    ) -> bool:
        """Edit the current value of `key` by a merge rule. Without one, the last writer wins.

        Args:
            empty: the base if the key has no value.
            change: returns the new value. It gets a deep copy of the current one, and its exceptions pass.
            is_by_person: see `Edit`.

        Raises:
            ValueNotShareableError: as for `set`.
        """
        with self.transaction():
            before = self._values.get(key, empty)
            return self._values.edit(
                key, before, change(self._values.get(key, empty)), rule, is_by_person=is_by_person
            )

    def operate(
        self,
        key: str,
        rule: Rule,
        empty: Any,
        operation: Callable[[Any], Returned],
        *,
        is_by_person: bool = True,
    ) -> Returned:
        """Make one operation on the value of `key`, in time that depends on what it changes. Return its result.

        Args:
            rule: a rule that has an editor, see `merge.editors`.
            empty: the value if the key has none.
            operation: called with the editor of the value. Before that, it is called with the editor of a copy if
                `rule` does not store the value yet. Its exceptions pass.
            is_by_person: see `Edit`.

        Raises:
            SharedTypeError: the value is none of `rule`.
            ValueNotShareableError: as for `set`.
        """
        with self.transaction():
            return self._values.operate(key, rule, empty, operation, is_by_person=is_by_person)

    def rehearse(self, key: str, rule: Rule, empty: Any, operation: Callable[[Any], Returned]) -> Returned:
        """Return the result that `operate` would have, or raise its error. The value stays unchanged."""
        with self._lock:
            return self._values.rehearse(key, rule, empty, operation)

    def inspect(self, key: str, rule: Rule, empty: Any, read: Callable[[Any], Returned]) -> Returned:
        """Return the result of `read`, which is called with the editor of the value and must not change it.

        Args:
            rule, empty: see `operate`.

        Raises:
            SharedTypeError: the value is none of `rule`.
        """
        with self._lock:
            return self._values.inspect(key, rule, empty, read)

    def set_by_rule(self, key: str, value: object, *, is_by_person: bool = True) -> bool:
        """Change the value of `key` to `value` by the rule that stores it now. Return whether the value changed.

        The edit merges with concurrent edits of the value. If there is no value, or the rule does not accept `value`,
        it is stored as a whole. Unlike a seed (R8), this can be undone.

        Args:
            is_by_person: see `Edit`.

        Raises:
            ValueNotShareableError: as for `set`.
        """
        with self.transaction():
            return self._values.set_by_rule(key, value, is_by_person=is_by_person)

    def delete(self, key: str) -> bool:
        """Remove `key` and return whether it was there."""
        with self.transaction():
            return self._values.delete(key)

    def begin_group(self) -> None:
        """Start a new undo group. Later edits are undone separately from the earlier ones."""
        with self._lock:
            self._document.history.begin_group()

    def pause_history(self) -> None:
        """Exclude edits from undo until the next group begins: remote edits have caused them."""
        with self._lock:
            self._document.history.is_paused = True

    @property
    def can_undo(self) -> bool:
        with self._lock:
            return self._document.history.can_undo

    @property
    def can_redo(self) -> bool:
        with self._lock:
            return self._document.history.can_redo

    def undo(self) -> frozenset[str]:
        """Undo the last group of local edits. Return the keys whose value changed."""
        return self._step_history("undo")

    def redo(self) -> frozenset[str]:
        """Redo the group that was undone last. Return the keys whose value changed."""
        return self._step_history("redo")

    def _step_history(self, direction: Literal["undo", "redo"]) -> frozenset[str]:
        with self._lock:
            if self._is_in_transaction:
                raise RuntimeError(f"{direction}() cannot be called inside transaction()")
            self._leave_retirement()
            previous = self._values.stored()
            self._document.step_history(direction)
            changed = self._values.refresh()
            self._values.note_step(changed, previous)
            self._publish(LOCAL)
            return changed

    @property
    def events(self) -> Mapping[str, Any]:
        """The events of the room by id, in their encoded form (see `EventLog`)."""
        with self._lock:
            return self._document.read_events()

    def add_event(self, event_id: str, stored: Any, outdated: Iterable[str] = ()) -> None:
        """Add an event to the room, and delete the outdated ones."""
        with self.transaction():
            self._values.note(LocalEdit("event", event_id, tuple(outdated), stored))
            self._document.add_event(event_id, stored, outdated)

    def rule_name(self, key: str) -> str | None:
        """Return the name of the rule that stores the value of `key`. None if it is stored as a whole, or absent."""
        with self._lock:
            return self._values.rule_name(key)

    def stored(self) -> Mapping[str, Any]:
        """Return all values by key in their encoded form: trees, or `MergedValue`. The caller must not change them."""
        with self._lock:
            return self._values.stored()

    def snapshots(self) -> Mapping[str, SnapshotInfo]:
        """Return the metadata of the room's snapshots by name."""
        with self._lock:
            return self._document.snapshots.entries()

    def snapshot(self, name: str) -> StoredSnapshot | None:
        """Return a snapshot, or None if there is none with this name."""
        with self._lock:
            return self._document.snapshots.get(name)

    def set_snapshot(self, name: str, snapshot: StoredSnapshot | None) -> None:
        """Store a snapshot in the room. None deletes it."""
        with self.transaction():
            self._values.note(LocalEdit("snapshot", name, after=snapshot))
            self._document.set_snapshot(name, snapshot)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Group the edits of the block into one update. If the block raises, its edits so far stay and are sent."""
        with self._lock:
            if self._is_in_transaction:
                yield
                return
            self._leave_retirement()
            self._is_in_transaction = True
            try:
                with self._document.transaction():
                    yield
            finally:
                self._is_in_transaction = False
                self._values.end_transaction()
                self._publish(LOCAL)

    def apply(self, update: bytes, *, origin: str = ROOM) -> frozenset[str]:
        """Apply `update`. Return the keys with a changed or deleted value. A second application changes nothing (R2).

        An update whose dependencies are missing is applied together with the last of them.

        Raises:
            UpdateRefusedError: the update is malformed or dangerous, or too much waits for missing updates. The
                replica is unchanged, and needs everything again that it lacks.
        """
        if not update:
            return frozenset()
        with self._lock:
            if self._is_in_transaction:
                raise RuntimeError("apply() cannot be called inside transaction()")
            self._document.apply(update)
            changed = self._values.refresh()
            self._publish(origin)
            return changed

    @property
    def oldest_pending(self) -> int | None:
        """Number of the oldest update that waits for missing ones (rule S6). None if there is none."""
        with self._lock:
            return self._document.oldest_pending

    def state_vector(self) -> bytes:
        """Return the encoded Yjs state vector."""
        with self._lock:
            return self._document.state_vector()

    def diff(self, state_vector: bytes | None = None) -> bytes:
        """Return an update with everything that a replica at `state_vector` lacks. None returns the whole state.

        Raises:
            UpdateRefusedError: the state vector is malformed.
        """
        with self._lock:
            return self._document.diff(state_vector)

    def update_since(self, version: int) -> bytes | None:
        """Return one update with all changes after `version`: b"" if there are none, None if the log starts later."""
        with self._lock:
            return self._log.since(version)

    def acknowledge(self, version: int) -> None:
        """Drop the updates up to `version`, which the tab has applied, from the log."""
        with self._lock:
            self._log.acknowledge(version)

    def reset_log(self) -> None:
        """Drop the log. A new tab may lack every update, including those of the previous tab."""
        with self._lock:
            self._log.reset()

    def record_edits(self) -> None:
        """Record local edits from now on, for `take_edits`."""
        with self._lock:
            self._values.edits = []

    def take_edits(self) -> tuple[LocalEdit, ...]:
        """Return the local edits since the last call.

        An edit that only deletes makes no operation. It precedes the next one, whose number it gets.
        """
        with self._lock:
            edits, self._values.edits = self._values.edits or [], []
            if not edits:
                return ()
            author, clock = self.replica_id, self._document.clock
            former, last = self._taken  # an id that was not reused begins with 0
            number = clock if clock > (last if former == author else 0) else clock + 1
            self._taken = (author, clock)
            return tuple(replace(edit, replica_id=author, clock=number) for edit in edits)

    def restart(self, content: bytes, unsaved: Callable[[], Iterable[LocalEdit]]) -> None:
        """Replace the document by another one, and repeat edits in it. The undo history ends.

        Args:
            content: everything in the new document.
            unsaved: returns the local edits that it lacks. Called under the lock.

        Raises:
            UpdateRefusedError: `content` is malformed. The replica is empty.
        """
        with self._lock:
            if self._is_in_transaction:
                raise RuntimeError("restart() cannot be called inside transaction()")
            edits = tuple(unsaved())
            self.record_edits()
            self._is_retired = False
            self._document.restart()
            self._log.reset()
            self.apply(content, origin=ROOM)
            self._values.refresh()
            self.repeat(edits)

    def repeat(self, edits: Iterable[LocalEdit]) -> None:
        """Make edits of another document. One with a value that cannot be stored any more is logged and left out."""
        with self.transaction():
            for edit in edits:
                self._repeat(edit)

    def _repeat(self, edit: LocalEdit) -> None:
        if edit.kind == "event":
            self.add_event(edit.key, edit.after, edit.before)
        elif edit.kind == "snapshot":
            self.set_snapshot(edit.key, edit.after)
        else:
            try:
                self._values.repeat(edit)
            except (SharedTypeError, ValueUnreadableError, ValueNotShareableError):
                _log.exception("an unsaved edit of %r is not in the rewritten room", edit.key)

    def take_changed(self) -> frozenset[str]:
        """Return the keys whose value changed since the last call, locally or remotely. At first, return all keys."""
        with self._lock:
            changed, self._values.changed = self._values.changed, set()
            return frozenset(self._values.keys() if changed is None else changed)

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call `subscriber(update, origin)` after each change, in order and under the lock.

        Returns a function that ends the subscription. A subscriber must not send an update back to its origin (R6).
        """
        with self._lock:
            self._subscribers.append(subscriber)

        def unsubscribe() -> None:
            with self._lock, suppress(ValueError):
                self._subscribers.remove(subscriber)

        return unsubscribe

    def _publish(self, origin: str) -> None:
        for update in self._document.take_updates():
            if origin != TAB:
                self._log.append(update)
            for subscriber in tuple(self._subscribers):
                subscriber(update, origin)
