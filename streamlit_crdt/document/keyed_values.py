"""The values of a room by key, in the document that one replica holds: stored, merged, read and compared.

Not thread-safe, and nothing leaves from here: `replica` holds a lock around it and sends what was edited.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from streamlit_crdt.codec.values import decode, deep_copy, encode, equal, is_leaf
from streamlit_crdt.document.document import Document
from streamlit_crdt.errors import ValueNotShareableError, ValueUnreadableError
from streamlit_crdt.merge import MergedValue, Rule

_MAX_KEY_BYTES = 4096


class KeyedValues:
    """What a replica's document holds.

    Attributes:
        document: the document itself.
        edited: the keys that were edited here, for whoever takes them.
    """

    def __init__(self, replica_id: int | None) -> None:
        self.document = Document(replica_id)
        self.edited: set[str] = set()
        self._stored = self.document.read()
        self._cache: dict[str, Any] = {}

    def __contains__(self, key: object) -> bool:
        return key in self._stored

    def __len__(self) -> int:
        return len(self._stored)

    def keys(self) -> list[str]:
        return sorted(self._stored)

    def get(self, key: str, default: Any = None) -> Any:
        return deep_copy(self._read(key)) if key in self._stored else default

    def set(self, key: str, value: object) -> bool:
        """See `Replica.set`."""
        check_key(key)
        stored = encode(value, key=key)
        is_plain = key in self._stored and not isinstance(self._stored[key], MergedValue)
        if is_plain and self._holds(key, value):
            return False
        with self._editing(key):
            self._stored[key] = self.document.put(key, stored)
        return True

    def delete(self, key: str) -> bool:
        """See `Replica.delete`."""
        if key not in self._stored:
            return False
        with self._editing(key):
            self.document.remove(key)
            del self._stored[key]
        return True

    def edit(self, key: str, before: object, after: object, rule: Rule | None) -> bool:
        """See `Replica.edit`."""
        if rule is None or not rule.accepts(after):
            return self.set(key, after)
        check_key(key)
        encode(after, key=key)
        before = before if rule.accepts(before) and _is_shareable(before) else None
        former, was_held = self._stored.get(key), self._is_held(key, rule)
        with self.document.transaction():
            base = self._bring(key, rule, before, after)
            if was_held and equal(base, after):
                return False
            with self._editing(key):
                self._stored[key] = self.document.edit(key, rule, base, after)
        return former is None or _differ(former, self._stored[key])

    def turn_into(self, key: str, value: object) -> bool:
        """See `Replica.turn_into`."""
        held = self._stored.get(key)
        if isinstance(held, MergedValue) and held.rule.accepts(value) and self._is_held(key, held.rule):
            return self.edit(key, self._read(key), value, held.rule)
        return self.set(key, value)

    def stored(self) -> dict[str, Any]:
        """Return all values as they are stored: trees as pycrdt reads them, or `MergedValue`."""
        return dict(self._stored)

    def refresh(self) -> frozenset[str]:
        """Read the document again, and return the keys whose value differs from before."""
        former, self._stored = self._stored, self.document.read()
        changed = _changed_keys(former, self._stored)
        for key in changed:
            self._cache.pop(key, None)
        return changed

    @contextmanager
    def _editing(self, key: str) -> Iterator[None]:
        with self.document.transaction():
            self.edited.add(key)
            self._cache.pop(key, None)
            yield

    def _bring(self, key: str, rule: Rule, before: object, after: object) -> Any:
        """Have the root type of `key` hold what the edit is made on, and return that."""
        if self._is_held(key, rule):
            return (
                rule.value(self._stored[key].content, rule.container_tag(after)) if before is None else before
            )
        first = after if before is None else before
        with suppress(ValueUnreadableError):
            if key in self._stored and rule.accepts(there := self._read(key)):
                first = there
        self.document.seed(key, rule, first)
        return first if before is None else before

    def _is_held(self, key: str, rule: Rule) -> bool:
        """Say whether the value lies under this rule, and can be read."""
        held = self._stored.get(key)
        if not isinstance(held, MergedValue) or held.rule is not rule:
            return False
        with suppress(ValueUnreadableError):
            self._read(key)
            return True
        return False

    def _read(self, key: str) -> Any:
        if key in self._cache:
            return self._cache[key]
        try:
            value = _value(self._stored[key])
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


def _value(stored: Any) -> Any:
    if not isinstance(stored, MergedValue):
        return decode(stored)
    try:
        return stored.value()
    except Exception as error:  # another program may have put anything there
        raise ValueUnreadableError(f"{type(error).__name__}: {error}") from error


def _is_shareable(value: object) -> bool:
    try:
        encode(value, key=None)
    except ValueNotShareableError:
        return False
    return True


def _changed_keys(former: dict[str, Any], stored: dict[str, Any]) -> frozenset[str]:
    changed = former.keys() ^ stored.keys()
    changed.update(key for key in former.keys() & stored.keys() if _differ(former[key], stored[key]))
    return frozenset(changed)


def _differ(former: Any, stored: Any) -> bool:
    kind = type(former)
    if kind is not type(stored):
        return True
    if kind is MergedValue:
        return (former.rule, former.container_tag) != (stored.rule, stored.container_tag) or _differ(
            former.content, stored.content
        )
    return not equal(former, stored) if kind in (list, dict, float) else bool(former != stored)


def check_key(key: object) -> None:
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
