"""Where a key's value lies in a room's document.

The map "state" says so: it holds the value itself, or a marker that names the rule whose root type, `rule:KEY`, holds
it. Where a deletion met an edit of the same moment the marker is gone and content is there: then the key is there.
A plain value in the map is newer than any root type, whoever wrote it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from pycrdt import Doc, Map

from streamlit_crdt.errors import UpdateRefusedError
from streamlit_crdt.guarding import refusing
from streamlit_crdt.merge import RULES, Merged, Rule
from streamlit_crdt.merge.rule import MARKER, Shared, is_marker, marker

_log = logging.getLogger("streamlit_crdt")


class Roots:
    """The root types of merged values in one document. Not thread-safe."""

    def __init__(self, doc: Doc[Any], state: Map[Any]) -> None:
        self.state = state
        self._doc = doc
        self._known: dict[str, Shared] = {}

    def get(self, key: str, rule: Rule) -> Shared:
        """Return the root type of `key` under `rule`; it is there as soon as it is asked for."""
        name = f"{rule.name}:{key}"
        if name not in self._known:
            self._known[name] = self._doc.get(name, type=rule.kind)
        return self._known[name]

    def read_all(self) -> dict[str, Any]:
        """Return all values by key, merged ones as `Merged`."""
        values = self.state.to_py() or {}
        lies_in = dict[str, list[tuple[Rule, Shared]]]()
        for key, rule, shared in self._named():
            lies_in.setdefault(key, []).append((rule, shared))
        for key, roots in lies_in.items():
            if key not in values and (found := self._first_held(roots)) is not None:
                values[key] = found
        for key, stored in values.items():
            if is_marker(stored):
                values[key] = self._marked(key, stored)
        return values

    def mark(self, key: str, rule: Rule, form: str) -> Merged:
        """Have the map say that `key` lies under `rule`, and return what it is."""
        mark = marker(rule, form)
        if key not in self.state or self.state[key] != mark:
            self.state[key] = mark
        return Merged(rule, form, rule.read(self.get(key, rule)))

    def clear(self, key: str) -> None:
        """Empty the root types of `key`, of whatever rule."""
        for name in RULES:
            shared = self._known.get(f"{name}:{key}")
            if shared is not None and len(shared):
                shared.clear()

    def _named(self) -> Iterator[tuple[str, Rule, Shared]]:
        for name in list(self._doc.keys()):
            prefix, colon, key = name.partition(":")
            rule = RULES.get(prefix)
            if rule is not None and colon:
                yield key, rule, self.get(key, rule)

    def _first_held(self, roots: list[tuple[Rule, Shared]]) -> Merged | None:
        """Return what the first root type holds that holds anything."""
        for rule, shared in roots:
            if content := _read(rule, shared):
                return Merged(rule, "", content)
        return None

    def _marked(self, key: str, mark: Any) -> Any:
        """Return what a marker names, and the marker itself if it names no rule that is known here."""
        named = mark[MARKER]
        if not (isinstance(named, list) and len(named) == 2 and all(isinstance(word, str) for word in named)):
            return mark
        rule = RULES.get(named[0])
        return mark if rule is None else Merged(rule, named[1], _read(rule, self.get(key, rule)))


def _read(rule: Rule, shared: Shared) -> Any:
    """Read a root type; None if another program made it of another kind, and it cannot be read."""
    try:
        with refusing():
            return rule.read(shared)
    except UpdateRefusedError as error:
        _log.debug("a root type of the rule %s cannot be read: %s", rule.name, error)
        return None
