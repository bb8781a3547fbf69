"""A pycrdt document to which any update may be applied: one that is malformed, dangerous or early does it no
harm.

pycrdt's decoder can panic, with a BaseException, and leaves a document that panics for ever. So an update is
checked first (`updates`), tried on an empty document, and, should it spoil this one all the same, this one is
made anew from a copy. What changed is found by comparing and not by observing the map: with yrs 0.28 the keys
of a map's event panic on an item that arrives deleted.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal

import pycrdt
from pycrdt import Doc, Map

from streamlit_crdt.document.panic_guard import refuse_panics
from streamlit_crdt.document.root_types import RootTypes
from streamlit_crdt.document.stored_snapshots import StoredSnapshot, StoredSnapshots
from streamlit_crdt.document.undo import UndoHistory
from streamlit_crdt.errors import UpdateRefusedError
from streamlit_crdt.merge import MergedValue, Rule, seed
from streamlit_crdt_server.yjs.update_decoder import check_update, decode_state_vector

MAX_WAITING_BYTES = 1024 * 1024
"""Updates that came before what they build on are dropped beyond this; a diff brings them again."""

MAX_KEPT_BYTES = 4 * 1024 * 1024
"""What one's own edits have overwritten stays in memory for undo. Beyond this the next group is the first again."""

DERIVED = "derived"
"""Origin of what a script makes of others' edits, and of what was undone: it is not undone by itself."""

REMOTE = "remote"
"""Origin of what others made, of first values and of snapshots: nobody here can undo it."""


def merge_updates(updates: list[bytes]) -> bytes:
    """Return one update with the content of several, b"" for none."""
    if not updates:
        return b""
    return updates[0] if len(updates) == 1 else bytes(pycrdt.merge_updates(*updates))


class Document:
    """The root map "state", the root types of merged values, and the updates that edits make. Not thread-safe."""

    def __init__(self, replica_id: int | None) -> None:
        self._waiting: list[bytes] = []
        self._awaited: dict[int, int] = {}
        self._made: list[bytes] = []
        self._depth = 0
        self._transaction: AbstractContextManager[object] | None = None
        self._let_go: Callable[[], object] = lambda: None
        self._open(replica_id, None)

    def _open(self, replica_id: int | None, content: bytes | None) -> None:
        """Start with a new document: at first, and after a panic, because no call into a panicked one is
        safe."""
        self._doc: Doc[Any] = Doc(client_id=replica_id, allow_multithreading=True)
        if content is not None:
            self._doc.apply_update(content)
        self._state: Map[Any] = self._doc.get("state", type=Map)
        self._events: Map[Any] = self._doc.get("events", type=Map)
        self.snapshots = StoredSnapshots(self._doc)
        self._roots = RootTypes(self._doc, self._state)
        self.history = UndoHistory(self._roots)
        made = self._made
        subscription = self._doc.observe(lambda event: made.append(event.update))
        # pycrdt's subscription holds the document, and the document the subscription, where no collector sees it.
        self._let_go()
        self._let_go = weakref.finalize(self, subscription.drop)
        self._kept_bytes = 0

    @property
    def replica_id(self) -> int:
        return self._doc.client_id

    def read(self) -> dict[str, Any]:
        """Return the whole state: values as pycrdt reads them (numbers as float, bytes as bytearray), or merged."""
        return self._roots.read_all()

    def put(self, key: str, stored: Any) -> Any:
        """Set `key` and return the value as it is read."""
        self._empty(key)
        self._state[key] = stored
        return self._state[key]

    def edit(self, key: str, rule: Rule, before: Any, after: Any) -> MergedValue:
        """Make of the merged value of `key` what `after` is of `before`, and return it as it is read."""
        self._write()
        shared = self._roots.get(key, rule)
        self.history.watch(shared)
        rule.edit(shared, before, after, self.replica_id)
        return self._roots.mark(key, rule, rule.container_tag(after))

    def seed(self, key: str, rule: Rule, value: Any) -> None:
        """Put in a first value, apart from what is edited here, so that it is not undone with it."""
        self._commit()
        update = seed(key, rule, value, decode_state_vector(self._doc.get_state()))
        with self._doc.transaction(origin=REMOTE):
            self._roots.clear(key)  # what an earlier life of the key has left
            self._doc.apply_update(update)
            self._roots.restore(key, rule, update)
            self._roots.mark(key, rule, rule.container_tag(value))

    def remove(self, key: str) -> None:
        self._empty(key)
        if key in self._state:
            del self._state[key]

    def _empty(self, key: str) -> None:
        """Empty the root types of `key`, in a way that can be undone."""
        self._write()
        for shared in self._roots.of(key):
            self.history.watch(shared)
        self._roots.clear(key)

    def read_events(self) -> dict[str, Any]:
        return self._events.to_py() or {}

    def post_event(self, event_id: str, stored: Any, outdated: Iterable[str]) -> None:
        self._write()
        for former in outdated:
            if former in self._events:
                del self._events[former]
        self._events[event_id] = stored

    def keep(self, name: str, kept: StoredSnapshot | None) -> None:
        """Store a snapshot, or take it out: apart from what is edited here, for undo is for values."""
        self._commit()
        with self._doc.transaction(origin=REMOTE):
            if kept is None:
                self.snapshots.remove(name)
            else:
                self.snapshots.put(name, kept)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make few updates of all edits in the block, also if it raises: one, unless a first value comes between."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._commit()

    def _write(self) -> None:
        """Open the transaction that edits go into; outside of `transaction()` each is one by itself."""
        if self._depth and self._transaction is None:
            if self._kept_bytes > MAX_KEPT_BYTES and self.history.is_between_groups:
                self._renew()
            origin = DERIVED if self.history.is_paused else None
            self._transaction = self._doc.transaction(origin=origin)
            self._transaction.__enter__()

    def _commit(self) -> None:
        if self._transaction is not None:
            transaction, self._transaction = self._transaction, None
            made = len(self._made)
            transaction.__exit__(None, None, None)
            if not self.history.is_paused:
                self.history.note_edit()
                self._note_kept(self._made[made:])

    def travel(self, way: Literal["undo", "redo"]) -> None:
        """Take back the last group of edits, or bring back what was."""
        made = len(self._made)
        if way == "undo":
            self.history.undo()
        else:
            self.history.redo()
        self._note_kept(self._made[made:])
        if self._kept_bytes > 4 * MAX_KEPT_BYTES:
            self._renew()

    def _note_kept(self, updates: Iterable[bytes]) -> None:
        self._kept_bytes += sum(map(len, updates))

    def _renew(self) -> None:
        """Begin anew with what can be seen: yrs never lets go of what could be undone, also where that is too old."""
        is_paused = self.history.is_paused
        self._open(self.replica_id, self._doc.get_update())
        self.history.is_paused = is_paused

    def take_updates(self) -> list[bytes]:
        """Return the updates that were made since the last call: a transaction's own, not diffs (R3)."""
        made = list(self._made)
        self._made.clear()
        return made

    def state_vector(self) -> bytes:
        return self._doc.get_state()

    def diff(self, state_vector: bytes | None) -> bytes:
        """Return what a replica at `state_vector` lacks. Raises UpdateRefusedError if the vector is
        malformed."""
        if state_vector is not None:
            _checked(decode_state_vector, state_vector)
        with refuse_panics():
            return self._doc.get_update(state_vector)

    def apply(self, update: bytes) -> None:
        """Merge `update`. Raises UpdateRefusedError; the document is as it was, and made no update."""
        reach = _checked(check_update, update)
        with refuse_panics():
            Doc().apply_update(update)
            intact = self._doc.get_update()
        try:
            with refuse_panics():
                before = self._doc.get_state()
                self._merge(update)
                if self._is_ahead(reach):
                    self._let_wait(update, reach)
                if self._waiting and self._doc.get_state() != before:
                    self._catch_up()
        except UpdateRefusedError:
            self._made.clear()
            self._waiting, self._awaited = [], {}
            self._open(self.replica_id, intact)
            raise

    def _merge(self, update: bytes) -> None:
        with self._doc.transaction(origin=REMOTE):
            self._doc.apply_update(update)

    def _let_wait(self, update: bytes, reach: dict[int, int]) -> None:
        """Keep an update that came before what it builds on.

        yrs 0.28 keeps it as well, but does not always look at it again when it could.
        """
        self._waiting.append(update)
        for replica, clock in reach.items():
            self._awaited[replica] = max(clock, self._awaited.get(replica, 0))
        if sum(map(len, self._waiting)) > MAX_WAITING_BYTES:
            self._waiting, self._awaited = [], {}

    def _catch_up(self) -> None:
        """Apply what waited, again as long as that brings something."""
        early, before = merge_updates(self._waiting), b""
        while self._is_ahead(self._awaited) and before != self._doc.get_state():
            before = self._doc.get_state()
            self._merge(early)
        ahead = self._is_ahead(self._awaited)
        self._waiting, self._awaited = ([early], self._awaited) if ahead else ([], {})

    def _is_ahead(self, reach: dict[int, int]) -> bool:
        clocks = decode_state_vector(self._doc.get_state())
        return any(clocks.get(replica, 0) < clock for replica, clock in reach.items())


def _checked(check: Any, content: bytes) -> dict[int, int]:
    try:
        clocks: dict[int, int] = check(content)
    except ValueError as error:
        raise UpdateRefusedError(str(error)) from error
    return clocks
