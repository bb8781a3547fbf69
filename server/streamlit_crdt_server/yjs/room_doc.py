"""A Yjs document whose changes cost no more in a room with a long past than in a new one.

An observed transaction of yrs takes time in proportion to the replica ids in the document, see `applied_clocks`. A
`RoomDoc` with more than a few ids therefore has no observer while it applies the updates of peers, and derives their
changes. Any other access may write, so it is observed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pycrdt import Doc, NewTransaction, Subscription, Transaction, TransactionEvent, merge_updates

from streamlit_crdt_server.yjs.applied_clocks import (
    OBSERVED_REPLICAS,
    AppliedClocks,
    SeenDeletions,
    is_small_deletion,
    step_of,
)
from streamlit_crdt_server.yjs.lib0 import encode_varuint
from streamlit_crdt_server.yjs.update_decoder import UpdateMeta, read_update_meta

COUNT_AFTER_BATCHES = 16
"""Batches after which the replica ids of a document with few ids are counted again."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a document, like an event of `Doc.observe`."""

    update: bytes


class RoomDoc(Doc[Any]):
    """The document of a room. Event loop only.

    Attributes:
        has_pending: Whether structs inside the document wait for others. An update may then change more than it says,
            so that every change is observed. Its user sets it before it applies a batch.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Create a document. The arguments are those of `Doc`."""
        self._observer: Callable[[Change], None] | None = None
        self._subscription: Subscription | None = None
        self._is_internal = False
        self._batch: _DerivedBatch | None = None
        self._applied = AppliedClocks()
        self._is_exact = False
        self._batches_until_count = 0
        self.has_pending = False
        self._deletions = SeenDeletions()
        super().__init__(*args, **kwargs)

    def observe_changes(self, observer: Callable[[Change], None] | None) -> None:
        """Call `observer` after each transaction that changes the document. It replaces the former observer."""
        self._stop_observing()
        self._observer = observer
        self._observe()

    def transaction(self, origin: Any = None) -> Transaction:
        """See `Doc.transaction`."""
        if self._txn is None and not self._is_internal:
            self._expect_any_change()
        return super().transaction(origin)

    def new_transaction(self, origin: Any = None, timeout: float | None = None) -> NewTransaction:
        """See `Doc.new_transaction`."""
        self._expect_any_change()
        return super().new_transaction(origin, timeout)

    def get_state(self) -> bytes:
        """See `Doc.get_state`."""
        with self._internally():
            return super().get_state()

    def get_update(self, state: bytes | None = None) -> bytes:
        """See `Doc.get_update`."""
        with self._internally():
            return super().get_update(state)

    def apply_update(self, update: bytes) -> None:
        """See `Doc.apply_update`."""
        if self._batch is not None:
            self._batch.apply(update)
        elif self._is_internal and self._txn is not None and self._txn._txn is not None:
            self._doc.apply_update(
                self._txn._txn, update
            )  # without the nested transaction of `Doc.apply_update`
        else:
            super().apply_update(update)

    @contextmanager
    def applying(self) -> Iterator[None]:
        """Group the updates that the block applies. It does not access the document in another way."""
        if self._txn is not None or self._observer is None or not self._is_derivable():
            if self._txn is None:
                self._observe()
            with self._internally(), self.transaction():
                yield
            return
        self._stop_observing()
        self._batch = batch = _DerivedBatch(self)
        try:
            with self._internally():
                try:
                    yield
                finally:
                    self._batch = None
                    batch.end()
        except BaseException:  # the document is damaged and must not be observed
            self._is_exact = False
            raise

    @contextmanager
    def _internally(self) -> Iterator[None]:
        """Read, or apply updates: the block writes nothing of its own."""
        was_internal, self._is_internal = self._is_internal, True
        try:
            yield
        finally:
            self._is_internal = was_internal

    def _expect_any_change(self) -> None:
        self._is_exact = False
        self._batches_until_count = 0
        self._observe()

    def _observe(self) -> None:
        observer = self._observer
        if self._subscription is None and observer is not None:
            self._subscription = self.observe(lambda event: observer(_change_of(event)))

    def _stop_observing(self) -> None:
        if self._subscription is not None:
            subscription, self._subscription = self._subscription, None
            self.unobserve(subscription)

    def _is_derivable(self) -> bool:
        """Return whether the clocks are known, and the document has so many that it is worth while."""
        if not self._is_exact:
            self._batches_until_count -= 1
            if self._batches_until_count > 0:
                return False
            self._batches_until_count = COUNT_AFTER_BATCHES
            self._applied.reset(self.get_state())
            self._is_exact = len(self._applied) > OBSERVED_REPLICAS
        return self._is_exact and not self.has_pending


class _DerivedBatch:
    """Updates that a document applies in few transactions. Their changes are derived where that is possible."""

    def __init__(self, doc: RoomDoc) -> None:
        self._doc = doc
        self._transaction: Transaction | None = None
        self._changes: list[bytes] = []
        self._is_partial = False

    def apply(self, update: bytes) -> None:
        meta, doc = read_update_meta(update), self._doc
        step = step_of(meta)
        if doc.has_pending:
            self._apply_observed(update, meta)  # it may complete others
        elif step is not None and step.is_next(doc._applied):
            self._apply(update)
            doc._applied.advance(step.ends)
        elif is_small_deletion(meta) and doc._applied.has(meta.reach):
            if doc._deletions.add(update):
                self._apply(update)  # it may delete nothing, and is sent nevertheless
        else:
            self._apply_observed(update, meta)

    def end(self) -> None:
        """Commit the open transaction, and report its change."""
        if self._transaction is not None:
            transaction, self._transaction = self._transaction, None
            transaction.__exit__(None, None, None)
        changes, self._changes = self._changes, []
        doc = self._doc
        if self._is_partial:
            changes.append(doc.get_update(_encode_vector(doc._applied)))
            doc._applied.reset(doc.get_state())
            self._is_partial = False
        if changes and doc._observer is not None:
            doc._observer(Change(changes[0] if len(changes) == 1 else merge_updates(*changes)))

    def _apply(self, update: bytes) -> None:
        if self._transaction is None:
            self._transaction = self._doc.transaction()
            self._transaction.__enter__()
        try:
            Doc.apply_update(self._doc, update)
        except RuntimeError:
            self._is_partial = True  # the structs before a misplaced one are applied
            raise
        self._changes.append(update)

    def _apply_observed(self, update: bytes, meta: UpdateMeta) -> None:
        """Apply an update of which some is applied already, or whose dependencies may be missing."""
        self.end()
        doc, had_waiting = self._doc, self._doc.has_pending
        doc._observe()
        doc.has_pending = True  # also if it is applied in part only
        Doc.apply_update(doc, update)
        doc._stop_observing()
        doc._applied.reset(doc.get_state())
        doc.has_pending = had_waiting or not doc._applied.has(meta.reach)


def _change_of(event: TransactionEvent) -> Change:
    return Change(event.update)


def _encode_vector(clocks: AppliedClocks) -> bytes:
    entries = (encode_varuint(replica) + encode_varuint(clock) for replica, clock in clocks.items())
    return encode_varuint(len(clocks)) + b"".join(entries)
