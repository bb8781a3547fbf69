"""Where a key's value lies in a room's document.

The map "state" says so: it holds the value itself, or a marker that names the rule whose root type, `rule:KEY`, holds
it. Where a deletion met an edit of the same moment the marker is gone and content is there: then the key is there.
A plain value in the map is newer than any root type, whoever wrote it.
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
    """The root types of merged values in one document, read again only where they have changed. Not thread-safe."""

    def __init__(self, doc: Doc[Any], state: Map[Any]) -> None:
        self.state = state
        self._doc = doc
        self._known: dict[str, Shared] = {}
        self._contents: dict[str, Any] = {}
        self._watching: list[object] = []

    def get(self, key: str, rule: Rule) -> Shared:
        """Return the root type of `key` under `rule`; it is there as soon as it is asked for."""
        name = f"{rule.name}:{key}"
        if name not in self._known:
            shared, contents = self._doc.get(name, type=rule.kind), self._contents
            # Not `observe_deep` of pycrdt's own: it reads what has changed, and yrs 0.28 can panic over that. Nor with
            # `self` in it: the document would keep itself for ever.
            self._watching.append(shared.integrated.observe_deep(lambda _events: contents.pop(name, None)))
            self._known[name] = shared
        return self._known[name]

    def read_all(self) -> dict[str, Any]:
        """Return all values by key, merged ones as `MergedValue`.

        In one transaction: pycrdt otherwise makes one for each call, which is most of the time of reading.
        """
        with self._doc.transaction():
            return self._read_all()

    def _read_all(self) -> dict[str, Any]:
        values = self.state.to_py() or {}
        lies_in = dict[str, list[tuple[Rule, Shared]]]()
        for key, rule, shared in self._named(values):
            lies_in.setdefault(key, []).append((rule, shared))
        for key, roots in lies_in.items():
            if key not in values or is_marker(values[key]):
                found = self._find(key, values.get(key), roots)
                if found is not None:
                    values[key] = found
        return values

    def mark(self, key: str, rule: Rule, container_tag: str) -> MergedValue:
        """Have the map say that `key` lies under `rule`, and return what it is."""
        mark = marker(rule, container_tag)
        if key not in self.state or self.state[key] != mark:
            self.state[key] = mark
        return MergedValue(rule, container_tag, rule.read(self.get(key, rule)))

    def restore(self, key: str, rule: Rule, update: bytes) -> None:
        """Set what a first value lacks of its entries: in a map, one may lose against a former one that was deleted."""
        shared = self.get(key, rule)
        if isinstance(shared, Map):
            first: Doc[Any] = Doc()
            first.apply_update(update)
            entries = first.get(f"{rule.name}:{key}", type=Map).to_py() or {}
            for name in sorted(entries.keys() - shared.keys()):
                shared[name] = entries[name]

    def clear(self, key: str) -> None:
        """Empty the root types of `key`, of whatever rule."""
        for rule in RULES.values():
            name = f"{rule.name}:{key}"
            if name in self._known:
                shared = self._known[name] if rule.kind is Map else self._as_it_is(name)
                if len(shared):
                    shared.clear()

    def _as_it_is(self, name: str) -> Shared:
        """Return a sequence as what is in it: pycrdt counts the places of a text in an array wrong, and vice versa."""
        text: Text = self._doc.get(name, type=Text)
        array: Array[Any] = self._doc.get(name, type=Array)
        return text if str(text) else array

    def of(self, key: str) -> list[Shared]:
        """Return the root types of `key` that are there, of whatever rule."""
        names = (f"{name}:{key}" for name in RULES)
        return [self._known[name] for name in names if name in self._known]

    def _named(self, values: dict[str, Any]) -> Iterator[tuple[str, Rule, Shared]]:
        """Yield the root types that are there, or that a marker names: an empty one comes with no update."""
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
        """Return what the marker names, or without one the first root type that holds something.

        First in the order of the rules: pycrdt lists root types in an order of chance.
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
        """Read a root type; None if another program made it of another kind, and it cannot be read."""
        name = f"{rule.name}:{key}"
        if name not in self._contents:
            self._contents[name] = self._read_again(rule, shared, key)
        return self._contents[name]

    def _read_again(self, rule: Rule, shared: Shared, key: str) -> Any:
        try:
            with refuse_panics():
                if rule.kind is Array and not isinstance(self._as_it_is(f"{rule.name}:{key}"), Array):
                    return None  # pycrdt 0.14.13 reads a text as an array for ever
                return rule.read(shared)
        except UpdateRefusedError as error:
            _log.debug("a root type of the rule %s cannot be read: %s", rule.name, error)
            return None


def _read_marker(mark: Any) -> tuple[str | None, str]:
    named = mark[MARKER] if is_marker(mark) else None
    if isinstance(named, list) and len(named) == 2 and all(isinstance(word, str) for word in named):
        return named[0], named[1]
    return None, ""
