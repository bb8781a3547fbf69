"""One replica of a room: its values, and a log of what the tab has not acknowledged. No Streamlit and no I/O.

Updates leave through `subscribe` (to the room in this process) and through the log (to the tab, see
`channel`). What is broadcast is always the update that a transaction itself made, never a diff against an
older state vector: a diff carries every deletion there ever was, and a deletion does not move the vector
(R3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import RLock
from typing import Any

from streamlit_crdt.document import Document
from streamlit_crdt.errors import ValueNotShareableError, ValueUnreadableError
from streamlit_crdt.log import UpdateLog
from streamlit_crdt.values import decode, detach, encode, equal, is_leaf

LOCAL = "local"
"""Origin of this session's own edits."""
TAB = "tab"
"""Origin of what came from the session's own browser tab, which therefore need not be sent there."""
ROOM = "room"
"""Origin of what came from the room in this process."""

_MAX_KEY_BYTES = 4096

Subscriber = Callable[[bytes, str], None]


class Replica:
    """A room's state as one session holds it. Every method may be called from any thread."""

    def __init__(self, *, replica_id: int | None = None) -> None:
        self._lock = RLock()
        self._document = Document(replica_id)
        self._stored = self._document.read()
        self._cache: dict[str, Any] = {}
        self._log = UpdateLog()
        self._subscribers: list[Subscriber] = []
        self._edited: set[str] = set()
        self._depth = 0

    @property
    def replica_id(self) -> int:
        """The 53-bit id under which this replica writes."""
        return self._document.replica_id

    @property
    def version(self) -> int:
        """A number that grows by one with each change that the tab may lack."""
        return self._log.version

    def __contains__(self, key: object) -> bool:
        return key in self._stored

    def __len__(self) -> int:
        return len(self._stored)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

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
            return detach(self._read(key)) if key in self._stored else default

    def items(self) -> Iterator[tuple[str, Any]]:
        """Yield key and value, decoded one at a time. A value that cannot be read is left out; `get` says
        why."""
        missing = object()
        for key in self.keys():
            with suppress(ValueUnreadableError):
                if (value := self.get(key, missing)) is not missing:
                    yield key, value

    def set(self, key: str, value: object) -> bool:
        """Store `value` and return whether it differed from what was stored; an equal one sends nothing (R1).

        Raises:
            ValueNotShareableError: key or value has no shared form; the replica is as it was (R5).
        """
        _check_key(key)
        stored = encode(value, key=key)
        with self._lock:
            if key in self._stored and self._holds(key, value):
                return False
            with self.transaction():
                self._edited.add(key)
                self._stored[key] = self._document.put(key, stored)
                self._cache.pop(key, None)
            return True

    def delete(self, key: str) -> bool:
        """Remove `key` and return whether it was there."""
        with self._lock:
            if key not in self._stored:
                return False
            with self.transaction():
                self._edited.add(key)
                self._document.remove(key)
                del self._stored[key]
                self._cache.pop(key, None)
            return True

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make one update of all edits in the block. If the block raises, edits made so far stay, and are
        sent."""
        with self._lock:
            self._depth += 1
            try:
                with self._document.transaction():
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
            self._document.apply(update)
            former, self._stored = self._stored, self._document.read()
            changed = _changed_keys(former, self._stored)
            for key in changed:
                self._cache.pop(key, None)
            self._publish(origin)
            return changed

    def state_vector(self) -> bytes:
        """Return what this replica has seen, as a Yjs state vector."""
        with self._lock:
            return self._document.state_vector()

    def diff(self, state_vector: bytes | None = None) -> bytes:
        """Return an update with everything that a replica at `state_vector` lacks; None: the whole state.

        Raises:
            UpdateRefusedError: the state vector is malformed.
        """
        with self._lock:
            return self._document.diff(state_vector)

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
            edited, self._edited = frozenset(self._edited), set()
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
        for update in self._document.take_updates():
            if origin != TAB:
                self._log.append(update)
            for subscriber in tuple(self._subscribers):
                subscriber(update, origin)

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


def _changed_keys(former: dict[str, Any], stored: dict[str, Any]) -> frozenset[str]:
    changed = former.keys() ^ stored.keys()
    changed.update(key for key in former.keys() & stored.keys() if _differ(former[key], stored[key]))
    return frozenset(changed)


def _differ(former: Any, stored: Any) -> bool:
    kind = type(former)
    if kind is not type(stored):
        return True
    return not equal(former, stored) if kind in (list, dict, float) else bool(former != stored)


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
