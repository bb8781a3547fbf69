"""The pycrdt document of one replica, with safe application of untrusted updates.

pycrdt's decoder can panic with a BaseException, and a document that has panicked panics in every later call. An update
is therefore validated first and applied to an empty document. If it still damages this document, the document is
created again from a copy. Updates whose dependencies are missing stay outside of the document until they arrive (S6).

Changes are found in the updates themselves (`struct_places`). Only the entries and root types that they name are read.

A document with a long past is observed for local edits only. An observed transaction takes time in proportion to the
replica ids in the document (see `applied_clocks`). A remote edit is known already: it is the change.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, Literal, TypeVar

import pycrdt
from pycrdt import Doc, Map

from streamlit_crdt.document.panic_guard import IntactCopy, refuse_panics
from streamlit_crdt.document.root_types import RootTypes
from streamlit_crdt.document.shared_content import SharedContent
from streamlit_crdt.document.stored_snapshots import StoredSnapshot, StoredSnapshots
from streamlit_crdt.document.struct_places import ChangedPlaces
from streamlit_crdt.document.undo import UndoHistory
from streamlit_crdt.errors import UpdateRefusedError
from streamlit_crdt.merge import Edit, MergedValue, Rule, seed
from streamlit_crdt.merge.editors import Editor
from streamlit_crdt.merge.rule import Foreign, Shared
from streamlit_crdt_server.errors import UpdateRefusedError as RefusedByServerError
from streamlit_crdt_server.yjs.applied_clocks import (
    OBSERVED_REPLICAS,
    AppliedClocks,
    SeenDeletions,
    is_small_deletion,
    step_of,
)
from streamlit_crdt_server.yjs.integration_order import is_circular
from streamlit_crdt_server.yjs.lib0 import EMPTY_UPDATE
from streamlit_crdt_server.yjs.nesting import NestingDepths, check_nesting
from streamlit_crdt_server.yjs.safe_apply import ValidatedUpdate
from streamlit_crdt_server.yjs.surrogate_pairs import SurrogatePairs
from streamlit_crdt_server.yjs.update_decoder import UpdateMeta, decode_state_vector, read_update_meta
from streamlit_crdt_server.yjs.update_order import ReadyUpdate, UpdateOrder

MAX_UNDO_BYTES = 4 * 1024 * 1024
"""Limit of the local edits in bytes that yrs keeps for undo. Beyond it the next group starts with an empty history."""

DERIVED = "derived"
"""Origin of values that a script computes from remote edits, and of undone edits. Undo does not revert them."""

REMOTE = "remote"
"""Origin of remote updates, seeds and snapshots. Undo does not revert them."""


Checked = TypeVar("Checked")


def merge_updates(updates: list[bytes]) -> bytes:
    """Return one update with the content of all `updates`, b"" if there are none."""
    if not updates:
        return b""
    return updates[0] if len(updates) == 1 else bytes(pycrdt.merge_updates(*updates))


class Document:
    """The map "state", the root types of merged values, and the updates of local edits. Not thread-safe."""

    def __init__(self, replica_id: int | None) -> None:
        self._order: UpdateOrder[int] = UpdateOrder()
        self._put_count = 0
        self._updates: list[bytes] = []
        self._observed: list[bytes] = []
        self._unobserve: Callable[[], object] | None = None
        self._seen_deletions = SeenDeletions()
        self._depth = 0
        self._transaction: ExitStack | None = None
        self._derived: set[int] = set()
        self._create(replica_id, None)

    def _create(self, replica_id: int | None, content: bytes | None) -> None:
        """Create the pycrdt document: at first, and after a panic, when no call into the old one is safe."""
        self._doc: Doc[Any] = Doc(client_id=replica_id, allow_multithreading=True)
        self._depths = NestingDepths()
        self._pairs = SurrogatePairs()
        if content is not None:
            self._load(content)
            self._pairs.add(content)
        self._applied = AppliedClocks()
        self._uncounted: list[bytes] = []
        self._recount()
        self._copy = IntactCopy(content)
        self._end_observation()
        self._state: Map[Any] = self._doc.get("state", type=Map)
        self._events: Map[Any] = self._doc.get("events", type=Map)
        self._content = SharedContent(self._doc, self._depths)
        self.snapshots = StoredSnapshots(self._doc, self._content)
        self._roots = RootTypes(self._doc, self._state, self._content)
        self._changed_places = ChangedPlaces(self._doc.get_update, is_empty=content is None)
        if content is not None:
            self._roots.read_all()  # opens the root types of the content, so that a deletion can clear them
        self.history = UndoHistory(self._roots)
        self._undo_bytes = 0

    @property
    def replica_id(self) -> int:
        return self._doc.client_id

    @property
    def clock(self) -> int:
        """Number of the operations of this replica id in the document."""
        return self._count_own().get(self.replica_id, 0)

    @property
    def is_empty(self) -> bool:
        """True if nothing was ever written or applied."""
        return not self._count_own()

    def change_id(self, replica_id: int | None) -> None:
        """Continue with another replica id, None for a new one. Earlier edits cannot be undone any more."""
        self._create(replica_id, None if self.is_empty else self._doc.get_update())

    def refresh(self, values: dict[str, Any]) -> frozenset[str]:
        """Change `values` to all values by key. Return the keys whose value has changed.

        A value is a tree as pycrdt reads it, or a `MergedValue`. pycrdt reads a number as float and bytes as bytearray.
        Only the places that have changed since the last call are read.
        """
        return self._roots.refresh(values, self._changed_places.take())

    def set(self, key: str, stored: Any) -> Any:
        """Set the encoded value of `key`. Return it as pycrdt reads it."""
        self._clear(key)
        self._state[key] = stored
        return self._state[key]

    def read(self, key: str) -> Any:
        """Return the present value of `key`, also inside of a transaction that has edited it."""
        return self._roots.read(key)

    def edit(self, key: str, rule: Rule, edit: Edit) -> None:
        """Apply an edit to the value of `key`."""
        self._write()
        self.history.track(self._roots.get(key, rule))
        shared = self._roots.prepare_edit(key, rule)
        placed = replace(edit, root=f"{rule.name}:{key}", clocks=self._count_own(), derived=self._derived)
        rule.edit(shared, self._roots.content(key, rule), placed)
        self._roots.mark(key, rule, rule.container_tag(edit.after))

    def editor(self, key: str, rule: Rule, container_tag: str) -> Editor:
        """Return the editor of a key whose value `rule` stores."""
        return self._roots.editor(
            key, rule, container_tag, self.replica_id, lambda: self._open_shared(key, rule)
        )

    def has_editor(self, key: str, rule: Rule) -> bool:
        """Return whether the root type has an editor that is valid for its present content."""
        return self._roots.has_editor(key, rule)

    def prepare_editor(self, key: str, rule: Rule, container_tag: str) -> Editor:
        """Return the editor for an operation. Content that pycrdt cannot edit around is removed first."""
        editor = self.editor(key, rule, container_tag)
        if not editor.is_prepared:
            if self._roots.needs_preparation(key, rule):
                self._open_shared(key, rule)
                self._roots.prepare_edit(key, rule)
                editor = self.editor(key, rule, container_tag)
            editor.is_prepared = True
        return editor

    def end_operation(self, key: str, rule: Rule, editor: Editor) -> MergedValue:
        """Record the change of an editor. Return the new merged value."""
        return self._roots.end_operation(key, rule, editor)

    def _open_shared(self, key: str, rule: Rule) -> Shared:
        self._write()
        shared = self._roots.get(key, rule)
        self.history.track(shared)
        return shared

    def seed(self, key: str, rule: Rule, value: Any) -> None:
        """Write a first value. It has an origin of its own, so that undo does not revert it."""
        self._commit()
        update = seed(key, rule, value, self._count_own())
        with self._recording(), self._doc.transaction(origin=REMOTE):
            self._roots.clear(key)  # content of the key before it was deleted
            self._doc.apply_update(update)
            self._roots.complete(key, rule, update)
            self._roots.mark(key, rule, rule.container_tag(value))

    def delete(self, key: str) -> None:
        self._clear(key)
        if key in self._state:
            del self._state[key]

    def _clear(self, key: str) -> None:
        """Clear the root types of `key`. Undo restores their content."""
        self._write()
        if key in self._roots.keys:
            for shared in self._roots.of_key(key):
                self.history.track(shared)
            self._roots.clear(key)

    def read_events(self) -> dict[str, Any]:
        events = self._content.read("events", Map)
        return {event_id: stored for event_id, stored in events.items() if not isinstance(stored, Foreign)}

    def add_event(self, event_id: str, stored: Any, outdated: Iterable[str]) -> None:
        """Add an event, and delete the outdated ones."""
        self._write()
        for old_id in outdated:
            if old_id in self._events:
                del self._events[old_id]
        self._events[event_id] = stored

    def set_snapshot(self, name: str, snapshot: StoredSnapshot | None) -> None:
        """Store a snapshot, or delete it. It has an origin of its own, so that undo does not revert it."""
        self._commit()
        with self._recording(), self._doc.transaction(origin=REMOTE):
            if snapshot is None:
                self.snapshots.delete(name)
            else:
                self.snapshots.set(name, snapshot)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Group the edits of the block into one update, or a few if a seed is written between them.

        If the block raises, the edits made so far stay.
        """
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._commit()

    def _write(self) -> None:
        """Open the pycrdt transaction of this block. Outside of `transaction()` each edit has its own."""
        if self._depth and self._transaction is None:
            if self._undo_bytes > MAX_UNDO_BYTES and self.history.is_between_groups:
                self._recreate()
            origin = DERIVED if self.history.is_paused else None
            self._transaction = ExitStack()
            self._transaction.enter_context(self._recording())
            self._transaction.enter_context(self._doc.transaction(origin=origin))

    def _commit(self) -> None:
        if self._transaction is not None:
            transaction, self._transaction = self._transaction, None
            self._derived = set()
            count = len(self._updates)
            transaction.close()
            self._roots.end_transaction()
            if not self.history.is_paused:
                self.history.count_edit()
                self._count_undo_bytes(self._updates[count:])

    def step_history(self, direction: Literal["undo", "redo"]) -> None:
        """Undo the last group of local edits, or redo the group that was undone last."""
        count = len(self._updates)
        with self._recording():
            if direction == "undo":
                self.history.undo()
            else:
                self.history.redo()
        self._count_undo_bytes(self._updates[count:])
        if self._undo_bytes > 4 * MAX_UNDO_BYTES:
            self._recreate()

    def _count_undo_bytes(self, updates: Iterable[bytes]) -> None:
        self._undo_bytes += sum(map(len, updates))

    def _recreate(self) -> None:
        """Create the document again with its visible content: yrs never frees deleted content that it could restore."""
        is_paused = self.history.is_paused
        self._create(self.replica_id, self._doc.get_update())
        self.history.is_paused = is_paused

    @contextmanager
    def _recording(self) -> Iterator[None]:
        """Record the updates of the transactions in the block."""
        self._observe()
        self._observed.clear()
        try:
            yield
        finally:
            updates = list(self._observed)
            self._observed.clear()
            for update in updates:
                self._uncounted.append(update)
                self._depths.add(update)
                self._record(update, None)

    def _observe(self) -> None:
        """Observe the document until the next remote edit of a document with a long past."""
        if self._unobserve is None:
            observed = self._observed
            subscription = self._doc.observe(lambda event: observed.append(event.update))
            # Document and subscription refer to each other inside pycrdt, where the garbage collector does not see it.
            self._unobserve = weakref.finalize(self, subscription.drop)

    def _end_observation(self) -> None:
        if self._unobserve is not None:
            self._unobserve()
            self._unobserve = None

    def _count_own(self) -> AppliedClocks:
        """Return the applied clocks, also those of recorded updates. These are read only when the clocks are used."""
        if len(self._uncounted) > 1 and len(self._applied) <= OBSERVED_REPLICAS:
            self._recount()
        for update in self._uncounted:
            self._applied.advance(read_update_meta(update).ends())
        self._uncounted.clear()
        return self._applied

    def _recount(self) -> None:
        self._applied.reset(self._doc.get_state())
        self._uncounted.clear()

    def _record(self, update: bytes, meta: UpdateMeta | None) -> None:
        self._updates.append(update)
        self._changed_places.add(update, meta)
        self._pairs.add(update)
        if self._copy.add(update):
            self._copy = IntactCopy(self._doc.get_update())

    def take_updates(self) -> list[bytes]:
        """Return the updates since the last call: those of the transactions themselves, not diffs (R3)."""
        updates = list(self._updates)
        self._updates.clear()
        return updates

    def state_vector(self) -> bytes:
        return self._doc.get_state()

    def diff(self, state_vector: bytes | None) -> bytes:
        """Return an update with everything that a replica at `state_vector` lacks.

        Raises:
            UpdateRefusedError: the state vector is malformed.
        """
        if state_vector is not None:
            _checked(decode_state_vector, state_vector)
        with refuse_panics():
            return self._doc.get_update(state_vector)

    def apply(self, update: bytes) -> None:
        """Apply `update`.

        Raises:
            UpdateRefusedError: the update is malformed or dangerous. The document is unchanged, without an update.
        """
        meta = _checked(_read_meta, update)
        if is_circular(meta):
            raise UpdateRefusedError("its structs depend on each other in a circle")
        with refuse_panics():
            Doc().apply_update(update)
        try:
            with refuse_panics():
                self._content.add_candidates(text for _, text in meta.text_ranges())
                self._apply_in_order(ValidatedUpdate.from_meta(update, meta), meta)
        except UpdateRefusedError:
            self._updates.clear()
            self._order = UpdateOrder()
            self._create(self.replica_id, self._copy.content())
            raise
        if self._order.evict(lambda _: self):
            raise UpdateRefusedError("too many updates depend on missing ones")

    def restart(self) -> None:
        """Begin again with an empty document and a new replica id."""
        self._updates.clear()
        self._order = UpdateOrder()
        is_paused = self.history.is_paused
        self._create(None, None)
        self.history.is_paused = is_paused

    @property
    def oldest_pending(self) -> int | None:
        """Number of the oldest update whose dependencies are missing. None if there is none."""
        return self._order.oldest_pending

    def _apply_in_order(self, update: ValidatedUpdate, meta: UpdateMeta) -> None:
        """Apply an update, and the updates that waited for it. If its dependencies are missing, it waits too."""
        self._put_count += 1
        applied = self._count_own()
        if self._order.oldest_pending is None and applied.has(update.dependencies):
            self._apply_complete(update.data, meta)
            return
        self._order.advance(applied)
        self._order.put(update, self._put_count)
        while (ready := self._order.take()) is not None:
            if ready.data != EMPTY_UPDATE:
                self._apply_ready(ready)

    def _apply_ready(self, ready: ReadyUpdate[int]) -> None:
        try:
            self._apply_complete(ready.data, read_update_meta(ready.data))
        except (
            RuntimeError,
            RefusedByServerError,
        ):  # misplaced or too deep; the structs before it are applied
            if self._put_count in ready.sources:
                raise
            self._recount()
            self._order.correct(self._applied)
            self._order.drop(ready.sources)

    def _apply_complete(self, update: bytes, meta: UpdateMeta) -> None:
        """Apply an update whose dependencies the document has."""
        applied = self._count_own()
        if self._pairs.may_split(update):
            update, meta = self._pairs.repair(update, applied)
        step = step_of(meta)
        if step is not None and step.is_next(applied):
            self._apply_unobserved(update, meta)
            applied.advance(step.ends)
        elif len(applied) > OBSERVED_REPLICAS and is_small_deletion(meta):
            if self._seen_deletions.add(update):
                self._apply_unobserved(update, meta)  # it may delete nothing, and is published nevertheless
        else:
            with self._recording():
                self._apply(update)
            self._recount()

    def _apply_unobserved(self, update: bytes, meta: UpdateMeta) -> None:
        """Apply an update that is itself the change."""
        if len(self._applied) > OBSERVED_REPLICAS:
            self._end_observation()
        self._apply(update)
        self._record(update, meta)

    def _apply(self, update: bytes) -> None:
        try:
            with self._doc.transaction(origin=REMOTE):
                self._apply_with_depths(update)
        except BaseException:
            self._changed_places.forget()  # a part of the update may be applied
            raise
        finally:
            if self._depths.has_nested_change:
                self._roots.forget()
                self.snapshots.forget()

    def _load(self, content: bytes) -> None:
        """Apply the content of an earlier document. What exceeds a limit or is misplaced is left out."""
        try:
            self._load_part(content)
        except (
            RuntimeError
        ):  # a parent was a deleted value when its struct arrived; the merged content has the value
            order: UpdateOrder[int] = UpdateOrder(decode_state_vector(self._doc.get_state()))
            order.put_divided(content, 0)
            while (ready := order.take()) is not None:
                try:
                    self._load_part(ready.data)
                except RuntimeError:
                    order.correct(decode_state_vector(self._doc.get_state()))

    def _load_part(self, update: bytes) -> None:
        try:
            self._apply_with_depths(update)
        except RefusedByServerError:
            self._apply_with_depths(self._depths.without_deep_structs(update))

    def _apply_with_depths(self, update: bytes) -> None:
        with self._depths.admit(update, lambda: decode_state_vector(self._doc.get_state())):
            self._doc.apply_update(update)


def _checked(check: Callable[[bytes], Checked], content: bytes) -> Checked:
    try:
        return check(content)
    except ValueError as error:
        raise UpdateRefusedError(str(error)) from error


def _read_meta(update: bytes) -> UpdateMeta:
    meta = read_update_meta(update)
    check_nesting(meta)
    return meta
