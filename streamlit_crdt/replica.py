"""One replica of a room: a pycrdt document, the values in it, and a log of what the tab has not acknowledged.

No Streamlit and no I/O. Updates leave through `subscribe` (to the room in this process) and through the log
(to the tab, see `channel`). What is broadcast is always the update that a transaction itself made, never a
diff against an older state vector: a diff carries every deletion there ever was, and a deletion does not move
the vector (R3).

pycrdt's decoder can panic, with a BaseException, and leaves a document that panics for ever. So an update is
checked (`updates`), tried on an empty document, and, should it spoil this one all the same, this one is made
anew from a copy.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import RLock
from typing import Any

from pycrdt import Doc, Map, TransactionEvent, merge_updates

from streamlit_crdt.errors import UpdateRefusedError, ValueNotShareableError, ValueUnreadableError
from streamlit_crdt_server.updates import check_state_vector, check_update
from streamlit_crdt.values import decode, detach, encode, equal, is_leaf

LOCAL = "local"
"""Origin of this session's own edits."""
TAB = "tab"
"""Origin of what came from the session's own browser tab, which therefore need not be sent there."""
ROOM = "room"
"""Origin of what came from the room in this process."""

MAX_LOG_BYTES = 1024 * 1024
MAX_LOG_UPDATES = 512
"""An unacknowledged log longer than this is dropped; the tab then gets a diff of the whole document
instead."""
_MAX_KEY_BYTES = 4096

Subscriber = Callable[[bytes, str], None]


class Replica:
    """A room's state as one session holds it. Every method may be called from any thread.

    `version` grows by one with each change that the tab may lack.
    """

    def __init__(self, *, replica_id: int | None = None) -> None:
        self._lock = RLock()
        self._subscribers: list[Subscriber] = []
        self._log: deque[tuple[int, bytes]] = deque()
        self._log_bytes = 0
        self._floor = 0
        self._depth = 0
        self._emitted: list[bytes] = []
        self._cache: dict[str, Any] = {}
        self.version = 0
        self._open(replica_id, None)

    @property
    def replica_id(self) -> int:
        """The 53-bit id under which this replica writes."""
        return self._doc.client_id

    def __contains__(self, key: object) -> bool:
        with self._lock:
            return key in self._stored

    def __len__(self) -> int:
        with self._lock:
            return len(self._stored)

    def keys(self) -> list[str]:
        """Return the keys, sorted."""
        with self._lock:
            return sorted(self._stored)

    def get(self, key: str, default: Any = None) -> Any:
        """Return a private copy of the value of `key`.

        Raises:
            ValueUnreadableError: what is stored cannot be read here. Other keys are not affected.
        """
        with self._lock:
            return detach(self._read(key)) if key in self else default

    def items(self) -> Iterator[tuple[str, Any]]:
        """Yield key and value, decoded one at a time. A value that cannot be read is left out; `get` says
        why."""
        for key in self.keys():
            with suppress(ValueUnreadableError):
                yield key, self.get(key)

    def set(self, key: str, value: object) -> bool:
        """Store `value` and return whether it differed from what was stored; an equal value sends nothing
        (R1).

        Raises:
            ValueNotShareableError: key or value has no shared form; the replica is as it was (R5).
        """
        _check_key(key)
        stored = encode(value, key=key)
        with self._lock:
            if key in self and self._holds(key, value):
                return False
            with self._transaction():
                self._state[key] = stored
                self._stored[key] = self._state[key]  # as everybody else reads it: 1 as 1.0, bytes as bytearray
                self._cache.pop(key, None)
            return True

    def delete(self, key: str) -> bool:
        """Remove `key` and return whether it was there."""
        with self._lock:
            if key not in self:
                return False
            with self._transaction():
                del self._state[key], self._stored[key]
                self._cache.pop(key, None)
            return True

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make one update of all edits in the block. Nothing is undone if the block raises: edits made so far
        stay."""
        with self._lock, self._transaction():
            yield

    def apply(self, update: bytes, *, origin: str = ROOM) -> frozenset[str]:
        """Merge `update` and return the keys whose value it changed or deleted. Applying it again changes
        nothing.

        Raises:
            UpdateRefusedError: it is malformed or dangerous; the replica is as it was.
        """
        if not update:
            return frozenset()
        try:
            check_update(update)
        except ValueError as error:
            raise UpdateRefusedError(str(error)) from error
        with self._lock:
            if self._depth:
                raise RuntimeError("apply() cannot be called inside transaction()")
            with _refusing():
                Doc().apply_update(update)
                intact = self._doc.get_update()
            self._emitted = []
            try:
                with _refusing():
                    self._doc.apply_update(update)
                    stored = self._state.to_py() or {}
            except UpdateRefusedError:
                self._open(self.replica_id, intact)
                raise
            changed = self._take_over(stored)
            self._publish(origin)
            return changed

    def state_vector(self) -> bytes:
        """Return what this replica has seen, as a Yjs state vector."""
        with self._lock:
            return self._doc.get_state()

    def diff(self, state_vector: bytes | None = None) -> bytes:
        """Return an update with everything that a replica at `state_vector` lacks; None: the whole state.

        Raises:
            UpdateRefusedError: the state vector is malformed.
        """
        if state_vector is not None:
            try:
                check_state_vector(state_vector)
            except ValueError as error:
                raise UpdateRefusedError(f"its state vector is malformed: {error}") from error
        with self._lock, _refusing():
            return self._doc.get_update(state_vector)

    def update_since(self, version: int) -> bytes | None:
        """Return one update of all changes after `version`, b"" if there are none, None if the log begins
        later."""
        with self._lock:
            if version >= self.version:
                return b""
            if version < self._floor:
                return None
            return _merged([update for number, update in self._log if number > version])

    def acknowledge(self, version: int) -> None:
        """Drop the log up to `version`, which the tab has."""
        with self._lock:
            while self._log and self._log[0][0] <= version:
                self._floor, update = self._log.popleft()
                self._log_bytes -= len(update)

    def forget_log(self) -> None:
        """Begin the log anew, as for a tab that may lack anything, also what another tab sent."""
        with self._lock:
            self.version += 1
            self._drop_log()

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

    def _open(self, replica_id: int | None, content: bytes | None) -> None:
        """Start with a new document: at first, and after a panic, because no call into a panicked one is
        safe."""
        self._doc: Doc[Any] = Doc(client_id=replica_id, allow_multithreading=True)
        if content is not None:
            self._doc.apply_update(content)
        self._state: Map[Any] = self._doc.get("state", type=Map)
        self._doc.observe(self._note_update)
        self._stored: dict[str, Any] = self._state.to_py() or {}
        self._cache.clear()

    def _note_update(self, event: TransactionEvent) -> None:
        self._emitted.append(event.update)

    def _take_over(self, stored: dict[str, Any]) -> frozenset[str]:
        """Keep `stored` as the present state and return the keys in which it differs from the former one.

        Compared, and not observed: with yrs 0.28 the keys of a map's event panic on an item that arrives deleted.
        """
        former, self._stored = self._stored, stored
        changed = former.keys() ^ stored.keys()
        changed.update(key for key in former.keys() & stored.keys() if _differ(former[key], stored[key]))
        for key in changed:
            self._cache.pop(key, None)
        return frozenset(changed)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Open the document's transaction, or join the one that is open; on leaving the outermost, publish
        its update."""
        if self._depth == 0:
            self._emitted = []
        self._depth += 1
        try:
            with self._doc.transaction():
                yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._publish(LOCAL)

    def _publish(self, origin: str) -> None:
        emitted, self._emitted = self._emitted, []
        for update in emitted:
            if origin != TAB:
                self.version += 1
                self._log.append((self.version, update))
                self._log_bytes += len(update)
                if self._log_bytes > MAX_LOG_BYTES or len(self._log) > MAX_LOG_UPDATES:
                    self._drop_log()
            for subscriber in tuple(self._subscribers):
                subscriber(update, origin)

    def _drop_log(self) -> None:
        self._log.clear()
        self._log_bytes = 0
        self._floor = self.version

    def _read(self, key: str) -> Any:
        if key in self._cache:
            return self._cache[key]
        try:
            value = decode(self._stored[key])
        except ValueUnreadableError as error:
            error.key = key
            raise
        if is_leaf(value):
            self._cache[key] = value
        return value

    def _holds(self, key: str, value: object) -> bool:
        try:
            return equal(self._read(key), value)
        except ValueUnreadableError:
            return False


def _differ(former: Any, stored: Any) -> bool:
    kind = type(former)
    if kind is not type(stored):
        return True
    return not equal(former, stored) if kind in (list, dict, float) else bool(former != stored)


def _merged(updates: list[bytes]) -> bytes:
    return updates[0] if len(updates) == 1 else bytes(merge_updates(*updates))


def _check_key(key: object) -> None:
    if type(key) is not str:
        raise ValueNotShareableError(type(key).__name__, "a shared key is a str")
    try:
        size = len(key.encode())
    except UnicodeEncodeError as error:
        raise ValueNotShareableError("str", "the key itself is not valid Unicode", key=ascii(key)) from error
    if size > _MAX_KEY_BYTES:
        raise ValueNotShareableError(
            "str", f"the key itself is longer than {_MAX_KEY_BYTES} bytes", key=key[:40]
        )


@contextmanager
def _refusing() -> Iterator[None]:
    """Turn whatever a call into Rust raises, panics included, into UpdateRefusedError; let cancellation and
    exit pass."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, CancelledError):
        raise
    except BaseException as error:
        raise UpdateRefusedError(f"{type(error).__name__}: {error}") from error
