"""Root types of a document, and the lookup of a key's value in them.

The map "state" has the value of a key itself, or a marker. A marker names the rule whose root type, `rule:KEY`, has the
value. A concurrent deletion and edit may leave content in a root type without a marker; the key exists then. A plain
value in the map is newer than any root type of the key.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from pycrdt import Array, Doc, Map, Text

from streamlit_crdt.codec.scalars import Stored
from streamlit_crdt.document.panic_guard import refuse_panics
from streamlit_crdt.document.shared_content import Path, SharedContent, editable_length
from streamlit_crdt.errors import UpdateRefusedError
from streamlit_crdt.merge import RULES, MergedValue, Rule
from streamlit_crdt.merge.editors import Editor, new_editor
from streamlit_crdt.merge.rule import MARKER, Foreign, Shared, is_marker, marker

_log = logging.getLogger("streamlit_crdt")


class RootTypes:
    """The root types of merged values in one document. A type is read again only after a change. Not thread-safe.

    Attributes:
        state: the root map "state".
        keys: the keys that have a root type under any rule, also an empty one.
    """

    def __init__(self, doc: Doc[Any], state: Map[Any], content: SharedContent) -> None:
        self.state = state
        self.keys: set[str] = set()
        self._doc = doc
        self._types: dict[str, Shared] = {}
        self._content = content
        self._cache: dict[str, Stored] = {}
        self._editors: dict[str, Editor] = {}
        self._edited: dict[str, Editor] = {}
        self._reported: set[str] = set()
        self._subscriptions: list[object] = []

    def get(self, key: str, rule: Rule) -> Shared:
        """Return the root type of `key` under `rule`. It is created if it does not exist."""
        name = f"{rule.name}:{key}"
        if name not in self._types:
            shared, cache = self._doc.get(name, type=rule.kind), self._cache
            # `observe_deep` reads the changes of nested XML, on which yrs 0.28 can panic. A callback that refers to
            # `self` would keep the document alive for ever.
            self._subscriptions.append(shared.integrated.observe(lambda _event: cache.pop(name, None)))
            self._types[name] = shared
            self.keys.add(key)
        return self._types[name]

    def read_all(self) -> dict[str, Any]:
        """Return all values by key. A value of a rule is a `MergedValue`.

        One transaction covers all reads. Otherwise pycrdt opens one for each call, which takes most of the time.
        """
        with self._doc.transaction():
            values = self._read_all()
        for path, kind in self._content.end_read():
            self._report(path, kind)
        return values

    def _report(self, path: Path, kind: str) -> None:
        """Log an item without a value, once per key."""
        name, *places = path
        key = str(places[0]) if name == "state" else str(name).partition(":")[2]
        if key in self._reported:
            return
        self._reported.add(key)
        place = "".join(f"[{place!r}]" for place in (places[1:] if name == "state" else places))
        _log.warning(
            "key %r: another program stored a %s%s, which has no value. It is left out.",
            key,
            kind,
            f" at {place}" if place else "",
        )

    def _read_all(self) -> dict[str, Any]:
        values: dict[str, Any] = self._content.read("state", Map)
        rules_by_key = dict[str, list[Rule]]()
        for key, rule in self._existing(values):
            rules_by_key.setdefault(key, []).append(rule)
        for key, rules in rules_by_key.items():
            if key not in values or is_marker(values[key]):
                found = self._find(key, values.get(key), rules)
                if found is not None:
                    values[key] = found
        return values

    def forget(self) -> None:
        """Read every root type again, because a type nested in one of them may have changed."""
        self._cache.clear()

    def mark(self, key: str, rule: Rule, container_tag: str) -> MergedValue:
        """Set the marker of `key` to `rule`. Return the merged value."""
        self._set_marker(key, rule, container_tag)
        self._cache.pop(f"{rule.name}:{key}", None)  # the observer is called when the transaction ends
        self._edited.pop(f"{rule.name}:{key}", None)
        return MergedValue(rule, container_tag, self.content(key, rule))

    def _set_marker(self, key: str, rule: Rule, container_tag: str) -> None:
        mark = marker(rule, container_tag)
        if key not in self.state or self.state[key] != mark:
            self.state[key] = mark

    def has_editor(self, key: str, rule: Rule) -> bool:
        """Return whether the root type has an editor that is valid for its present content."""
        name = f"{rule.name}:{key}"
        return name in self._editors and self._editors[name].content is self._cache.get(name)

    def editor(
        self, key: str, rule: Rule, container_tag: str, author: int, open_shared: Callable[[], Shared]
    ) -> Editor:
        """Return the editor of a root type. It is created again only after a change that it did not make."""
        name, content = f"{rule.name}:{key}", self.content(key, rule)
        editor = self._editors.get(name)
        if editor is None or editor.content is not content:
            editor = self._editors[name] = new_editor(rule, content, container_tag, author, open_shared)
        editor.container_tag = container_tag
        return editor

    def end_operation(self, key: str, rule: Rule, editor: Editor) -> MergedValue:
        """Keep the content of an editor, which has changed the root type. Return the merged value."""
        name = f"{rule.name}:{key}"
        self._set_marker(key, rule, editor.container_tag)
        self._cache[name] = editor.content
        self._editors[name] = self._edited[name] = editor
        return MergedValue(rule, editor.container_tag, editor.content)

    def end_transaction(self) -> None:
        """Keep the contents of editors. The observers have dropped them when the transaction ended."""
        for name, editor in self._edited.items():
            self._cache[name] = editor.content
        self._edited.clear()

    def content(self, key: str, rule: Rule) -> Stored:
        """Return the content of the root type of `key` under `rule`. It is read again only after a change."""
        name = f"{rule.name}:{key}"
        self.get(key, rule)
        if name not in self._cache:
            self._cache[name] = self._read(name, rule)
        return self._cache[name]

    def _read(self, name: str, rule: Rule) -> Stored:
        """Return the content of a root type, or None if pycrdt fails."""
        try:
            with refuse_panics():
                content = self._content.read(name, rule.kind)
        except UpdateRefusedError as error:
            _log.warning("the root type %r is unreadable: %s", name, error)
            return None
        if not isinstance(content, dict):
            return content
        return {entry: value for entry, value in content.items() if not isinstance(value, Foreign)}

    def needs_preparation(self, key: str, rule: Rule) -> bool:
        """Return whether `prepare_edit` changes the root type."""
        shared, content = self.get(key, rule), self.content(key, rule)
        if rule.kind is Array:
            return self._content.foreign_texts(f"{rule.name}:{key}") is not None
        if not isinstance(shared, Text) or len(shared) == len(str(content).encode()):
            return False
        return editable_length(shared) != len(shared)

    def prepare_edit(self, key: str, rule: Rule) -> Shared:
        """Return the root type of `key` under `rule`, without content that pycrdt cannot edit around.

        From a list, the texts of other programs are deleted: positions behind them are not reliable. A text with
        items that are neither characters nor embedded objects is replaced by its characters.
        """
        shared, name = self.get(key, rule), f"{rule.name}:{key}"
        if rule.kind is Array:
            self.content(key, rule)
            texts = self._content.foreign_texts(name)
            if texts is not None:
                self._doc.apply_update(texts)
                self._cache.pop(name, None)
        elif isinstance(shared, Text) and editable_length(shared) != len(shared):
            characters = str(shared)
            self._clear_sequence(name)
            shared.insert(0, characters)
            self._cache.pop(name, None)
        return shared

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
            shared = self._types.get(name)
            self._cache.pop(name, None)
            self._edited.pop(name, None)
            if isinstance(shared, Map):
                self._clear_map(shared)
            elif shared is not None:
                self._clear_sequence(name)

    def _clear_map(self, shared: Map[Any]) -> None:
        with self._doc.transaction() as transaction:
            for key in shared.integrated.keys(transaction._txn):
                with suppress(KeyError):  # a format, which is removed nevertheless
                    shared.integrated.remove(transaction._txn, key)

    def _clear_sequence(self, name: str) -> None:
        """Clear a text or an array. Each view of the type deletes what the other one cannot."""
        text: Text = self._doc.get(name, type=Text)
        array: Array[Any] = self._doc.get(name, type=Array)
        if length := editable_length(text):
            del text[:length]
        if len(array):
            array.clear()

    def of_key(self, key: str) -> list[Shared]:
        """Return the existing root types of `key` under all rules."""
        names = (f"{name}:{key}" for name in RULES)
        return [self._types[name] for name in names if name in self._types]

    def _existing(self, values: dict[str, Any]) -> Iterator[tuple[str, Rule]]:
        """Yield the root types in the document, and those that a marker names: an update has no empty root types."""
        names = dict.fromkeys(self._doc.keys())
        names.update(
            (f"{_read_marker(value)[0]}:{key}", None) for key, value in values.items() if is_marker(value)
        )
        for name in names:
            prefix, colon, key = name.partition(":")
            rule = RULES.get(prefix)
            if rule is not None and colon:
                self.get(key, rule)
                yield key, rule

    def _find(self, key: str, mark: Any, rules: list[Rule]) -> MergedValue | None:
        """Return the value of the rule that the marker names, or without a marker of the first nonempty root type.

        The order is that of `RULES`, because pycrdt lists root types in a random order.
        """
        wanted, container_tag = _read_marker(mark)
        order = list(RULES.values())
        for rule in sorted(rules, key=order.index):
            if wanted is None or rule.name == wanted:
                content = self.content(key, rule)
                if content or wanted is not None:
                    return MergedValue(rule, container_tag, content)
        return None


def _read_marker(mark: Any) -> tuple[str | None, str]:
    """Return rule name and container tag of a marker, or None and "" if it is none or is malformed."""
    parts = mark[MARKER] if is_marker(mark) else None
    if isinstance(parts, list) and len(parts) == 2 and all(isinstance(part, str) for part in parts):
        return parts[0], parts[1]
    return None, ""
