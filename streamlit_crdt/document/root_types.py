"""Root types of a document, and the lookup of a key's value in them.

The map "state" has the value of a key itself, or a marker. A marker names the rule whose root type, `rule:KEY`, has the
value. A concurrent deletion and edit may leave content in a root type without a marker; the key exists then. A plain
value in the map is newer than any root type of the key.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from pycrdt import Array, Doc, Map, Text

from streamlit_crdt.document.panic_guard import refuse_panics
from streamlit_crdt.errors import UpdateRefusedError
from streamlit_crdt.merge import RULES, MergedValue, Rule
from streamlit_crdt.merge.rule import MARKER, Shared, is_marker, marker

_log = logging.getLogger("streamlit_crdt")


class RootTypes:
    """The root types of merged values in one document. A type is read again only after a change. Not thread-safe.

    Attributes:
        state: the root map "state".
        keys: the keys that have a root type under any rule, also an empty one.
    """

    def __init__(self, doc: Doc[Any], state: Map[Any]) -> None:
        self.state = state
        self.keys: set[str] = set()
        self._doc = doc
        self._types: dict[str, Shared] = {}
        self._cache: dict[str, Any] = {}
        self._subscriptions: list[object] = []

    def get(self, key: str, rule: Rule) -> Shared:
        """Return the root type of `key` under `rule`. It is created if it does not exist."""
        name = f"{rule.name}:{key}"
        if name not in self._types:
            shared, cache = self._doc.get(name, type=rule.kind), self._cache
            # pycrdt's own `observe_deep` reads the changes, on which yrs 0.28 can panic. A callback that refers to
            # `self` would keep the document alive for ever.
            self._subscriptions.append(shared.integrated.observe_deep(lambda _events: cache.pop(name, None)))
            self._types[name] = shared
            self.keys.add(key)
        return self._types[name]

    def read_all(self) -> dict[str, Any]:
        """Return all values by key. A value of a rule is a `MergedValue`.

        One transaction covers all reads. Otherwise pycrdt opens one for each call, which takes most of the time.
        """
        with self._doc.transaction():
            return self._read_all()

    def _read_all(self) -> dict[str, Any]:
        values = self.state.to_py() or {}
        roots_by_key = dict[str, list[tuple[Rule, Shared]]]()
        for key, rule, shared in self._existing(values):
            roots_by_key.setdefault(key, []).append((rule, shared))
        for key, roots in roots_by_key.items():
            if key not in values or is_marker(values[key]):
                found = self._find(key, values.get(key), roots)
                if found is not None:
                    values[key] = found
        return values

    def mark(self, key: str, rule: Rule, container_tag: str) -> MergedValue:
        """Set the marker of `key` to `rule`. Return the merged value."""
        mark = marker(rule, container_tag)
        if key not in self.state or self.state[key] != mark:
            self.state[key] = mark
        return MergedValue(rule, container_tag, rule.read(self.get(key, rule)))

    def complete(self, key: str, rule: Rule, update: bytes) -> None:
        """Set the entries that a seed in a map has lost. A seed's entry may lose against an older, deleted entry."""
        shared = self.get(key, rule)
        if isinstance(shared, Map):
            seeded: Doc[Any] = Doc()
            seeded.apply_update(update)
            entries = seeded.get(f"{rule.name}:{key}", type=Map).to_py() or {}
            for name in sorted(entries.keys() - shared.keys()):
                shared[name] = entries[name]

    def clear(self, key: str) -> None:
        """Clear the root types of `key` under all rules."""
        for rule in RULES.values():
            name = f"{rule.name}:{key}"
            if name in self._types:
                shared = self._types[name] if rule.kind is Map else self._actual_sequence(name)
                if len(shared):
                    shared.clear()

    def _actual_sequence(self, name: str) -> Shared:
        """Return a root type as Text or Array, by its content. Opened as the other type, pycrdt miscounts positions."""
        text: Text = self._doc.get(name, type=Text)
        array: Array[Any] = self._doc.get(name, type=Array)
        return text if str(text) else array

    def of_key(self, key: str) -> list[Shared]:
        """Return the existing root types of `key` under all rules."""
        names = (f"{name}:{key}" for name in RULES)
        return [self._types[name] for name in names if name in self._types]

    def _existing(self, values: dict[str, Any]) -> Iterator[tuple[str, Rule, Shared]]:
        """Yield the root types in the document, and those that a marker names: an update has no empty root types."""
        names = dict.fromkeys(self._doc.keys())
        names.update(
            (f"{_read_marker(value)[0]}:{key}", None) for key, value in values.items() if is_marker(value)
        )
        for name in names:
            prefix, colon, key = name.partition(":")
            rule = RULES.get(prefix)
            if rule is not None and colon:
                yield key, rule, self.get(key, rule)

    def _find(self, key: str, mark: Any, roots: list[tuple[Rule, Shared]]) -> MergedValue | None:
        """Return the value of the rule that the marker names, or without a marker of the first nonempty root type.

        The order is that of `RULES`, because pycrdt lists root types in a random order.
        """
        wanted, container_tag = _read_marker(mark)
        order = list(RULES.values())
        for rule, shared in sorted(roots, key=lambda root: order.index(root[0])):
            if wanted is None or rule.name == wanted:
                content = self._read(rule, shared, key)
                if content or wanted is not None:
                    return MergedValue(rule, container_tag, content)
        return None

    def _read(self, rule: Rule, shared: Shared, key: str) -> Any:
        """Return the content of a root type, or None if another program created it with another type."""
        name = f"{rule.name}:{key}"
        if name not in self._cache:
            self._cache[name] = self._read_uncached(rule, shared, key)
        return self._cache[name]

    def _read_uncached(self, rule: Rule, shared: Shared, key: str) -> Any:
        try:
            with refuse_panics():
                if rule.kind is Array and not isinstance(self._actual_sequence(f"{rule.name}:{key}"), Array):
                    return None  # pycrdt 0.14.13 does not return if it reads a text as an array
                return rule.read(shared)
        except UpdateRefusedError as error:
            _log.debug("root type of rule %s is unreadable: %s", rule.name, error)
            return None


def _read_marker(mark: Any) -> tuple[str | None, str]:
    """Return rule name and container tag of a marker, or None and "" if it is none or is malformed."""
    parts = mark[MARKER] if is_marker(mark) else None
    if isinstance(parts, list) and len(parts) == 2 and all(isinstance(part, str) for part in parts):
        return parts[0], parts[1]
    return None, ""
