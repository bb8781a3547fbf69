"""Root types of a document, and the lookup of a key's value in them.

The map "state" has the value of a key itself, or a marker. A marker names the rule whose root type, `rule:KEY`, has the
value. A concurrent deletion and edit may leave content in a root type without a marker; the key exists then. A plain
value in the map is newer than any root type of the key.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, KeysView
from contextlib import suppress
from typing import Any, Final

from pycrdt import Array, Doc, Map, Text

from streamlit_crdt.codec.equality import equal
from streamlit_crdt.codec.scalars import Stored
from streamlit_crdt.document.panic_guard import refuse_panics
from streamlit_crdt.document.shared_content import Delta, Path, SharedContent, editable_length
from streamlit_crdt.document.struct_places import Changes
from streamlit_crdt.errors import UpdateRefusedError
from streamlit_crdt.merge import RULES, MergedValue, Rule
from streamlit_crdt.merge.editors import Editor, new_editor
from streamlit_crdt.merge.rule import MARKER, Foreign, Shared, is_marker, marker

_log = logging.getLogger("streamlit_crdt")

STATE: Final = "state"
"""Name of the root map with the values of all keys."""

MAX_READ_PLACES: Final = 256
"""Number of changed places up to which each is read by itself. If there are more, the whole document is read."""

_ABSENT: Final = object()


class RootTypes:
    """The root types of merged values in one document. Only what has changed is read again. Not thread-safe.

    The content of each type is kept. `refresh` changes it in place: it reads the changed entries of a map, and applies
    the deltas of an array. Between a change and the next `refresh`, the content is read as a whole.

    Attributes:
        state: the root map "state".
    """

    def __init__(self, doc: Doc[Any], state: Map[Any], content: SharedContent) -> None:
        self.state = state
        self._doc = doc
        self._types: dict[str, Shared] = {}
        self._rules: dict[str, list[Rule]] = {}
        self._content = content
        self._entries: dict[str, Stored] = {}
        self._contents: dict[str, Stored] = {}
        self._changed: set[str] = set()
        self._deltas: dict[str, list[Delta]] = {}
        self._editors: dict[str, Editor] = {}
        self._edited: dict[str, Editor] = {}
        self._is_forgotten = True
        self._reported: set[str] = set()
        self._subscriptions: list[object] = []

    @property
    def keys(self) -> KeysView[str]:
        """The keys that have a root type under any rule, also an empty one."""
        return self._rules.keys()

    def get(self, key: str, rule: Rule) -> Shared:
        """Return the root type of `key` under `rule`. It is created if it does not exist."""
        name = f"{rule.name}:{key}"
        if name not in self._types:
            shared = self._doc.get(name, type=rule.kind)
            self._subscriptions.append(shared.integrated.observe(self._observer(name, rule)))
            self._types[name] = shared
            self._rules.setdefault(key, []).append(RULES[rule.name])
        return self._types[name]

    def _observer(self, name: str, rule: Rule) -> Callable[[Any], None]:
        """Return the observer of a root type. It must not refer to `self`, which would keep the document alive.

        `observe_deep` would read the changes of nested XML, on which yrs 0.28 can panic.
        """
        changed, deltas, is_array = self._changed, self._deltas, rule.kind is Array

        def observe(event: Any) -> None:
            changed.add(name)
            if is_array and name in deltas:
                deltas[name].append(event.delta)

        return observe

    def read_all(self) -> dict[str, Any]:
        """Return all values by key. A value of a rule is a `MergedValue`."""
        values: dict[str, Any] = {}
        self.refresh(values, None)
        return values

    def refresh(self, values: dict[str, Any], changes: Changes | None) -> frozenset[str]:
        """Change `values` to the present values by key. Return the keys with another value.

        One transaction covers all reads. Otherwise pycrdt opens one for each call, which takes most of the time.

        Args:
            values: the values after the last call.
            changes: the changes since the last call. None if anything may have changed.
        """
        with self._doc.transaction():
            if changes is None or self._is_forgotten or len(changes.places) > MAX_READ_PLACES:
                keys, patched = {*self._read_all(), *values}, frozenset[str]()
            else:
                keys, patched = self._read_places(changes)
            changed = frozenset(key for key in keys if self._update(values, key, patched))
        for path, kind in self._content.end_read():
            self._report(path, kind)
        return changed

    def _report(self, path: Path, kind: str) -> None:
        """Log an item without a value, once per key."""
        name, *places = path
        key = str(places[0]) if name == STATE else str(name).partition(":")[2]
        if key in self._reported:
            return
        self._reported.add(key)
        place = "".join(f"[{place!r}]" for place in (places[1:] if name == STATE else places))
        _log.warning(
            "key %r: another program stored a %s%s, which has no value. It is left out.",
            key,
            kind,
            f" at {place}" if place else "",
        )

    def _read_all(self) -> set[str]:
        """Read the map "state", and open all root types. Return the keys."""
        self._is_forgotten = False
        self._contents.clear()
        self._deltas.clear()
        self._changed.clear()
        self._entries = self._content.read(STATE, Map)
        for name in self._doc.keys():  # noqa: SIM118
            self._open(name)
        for key, stored in self._entries.items():
            self._open_marked(key, stored)
        return {*self._entries, *self._rules}

    def _read_places(self, changes: Changes) -> tuple[set[str], frozenset[str]]:
        """Read the changed places. Return their keys, and the names of the root types with another content."""
        keys, patched = set[str](), set[str]()
        for root, entry in changes.places:
            is_regular = root not in changes.irregular_roots
            if root == STATE:
                if entry is not None:
                    self._read_entry(entry, is_regular=is_regular)
                    keys.add(entry)
            elif (key := self._open(root)) is not None:
                keys.add(key)
                if self._patch(root, entry, is_regular=is_regular):
                    patched.add(root)
        self._end_changes()
        return keys, frozenset(patched)

    def _end_changes(self) -> None:
        """Record that the contents are those of the document."""
        for name in self._changed:
            self._deltas.pop(name, None)
            if type(self._contents.get(name)) is list:
                self._deltas[name] = []
        self._changed.clear()

    def _read_entry(self, key: str, *, is_regular: bool = True) -> None:
        """Read one entry of the map "state"."""
        stored = self._content.read_entry(STATE, key, _ABSENT, is_regular=is_regular)
        if stored is _ABSENT:
            self._entries.pop(key, None)
        else:
            self._entries[key] = stored
            self._open_marked(key, stored)

    def _patch(self, name: str, entry: str | None, *, is_regular: bool) -> bool:
        """Change the content of a root type to the present one. Return whether it has changed.

        A content that cannot be changed in place is forgotten, and read when a key needs it.
        """
        content, editor = self._contents.get(name), self._editors.get(name)
        if type(content) in (dict, list) and (entry is None) is (type(content) is dict):
            return False  # a map has no items, and an array no entries
        if type(content) is dict and entry is not None:
            return self._patch_entry(name, content, entry)
        if type(content) is list and is_regular and name in self._deltas:
            is_changed = self._content.patch_items(name, content, self._deltas[name])
            if is_changed is not None:
                if is_changed and editor is not None:
                    editor.adapt(None)
                return is_changed
        self._contents.pop(name, None)
        return False

    def _patch_entry(self, name: str, content: dict[str, Stored], entry: str) -> bool:
        before = content.get(entry, _ABSENT)
        after = self._content.read_entry(name, entry, _ABSENT)
        if isinstance(after, Foreign):
            after = _ABSENT
        if not _is_different(before, after):
            return False
        if after is _ABSENT:
            del content[entry]
        else:
            content[entry] = after
        if name in self._editors:
            self._editors[name].adapt(entry)
        return True

    def _open(self, name: str) -> str | None:
        """Open a root type, and return its key. None if no rule has such a type."""
        prefix, colon, key = name.partition(":")
        if prefix not in RULES or not colon:
            return None
        self.get(key, RULES[prefix])
        return key

    def _open_marked(self, key: str, stored: Stored) -> None:
        """Open the root type that a marker names. An update does not contain an empty one."""
        wanted = _read_marker(stored)[0]
        if wanted is not None and wanted in RULES:
            self.get(key, RULES[wanted])

    def forget(self) -> None:
        """Read the whole document again, because a type nested in a root type may have changed."""
        self._is_forgotten = True

    def mark(self, key: str, rule: Rule, container_tag: str) -> None:
        """Set the marker of `key` to `rule`, which has edited the root type."""
        self._set_marker(key, rule, container_tag)
        self._note_change(f"{rule.name}:{key}")  # the observer is called when the transaction ends

    def _note_change(self, name: str) -> None:
        """Record that the content of a root type must be read again."""
        self._changed.add(name)
        self._edited.pop(name, None)

    def _set_marker(self, key: str, rule: Rule, container_tag: str) -> None:
        mark = marker(rule, container_tag)
        if key not in self.state or self.state[key] != mark:
            self.state[key] = mark

    def has_editor(self, key: str, rule: Rule) -> bool:
        """Return whether the root type has an editor that is valid for its present content."""
        name = f"{rule.name}:{key}"
        is_present = name not in self._changed and not self._is_forgotten
        return (
            is_present and name in self._editors and self._editors[name].content is self._contents.get(name)
        )

    def editor(
        self, key: str, rule: Rule, container_tag: str, author: int, open_shared: Callable[[], Shared]
    ) -> Editor:
        """Return the editor of a root type. It is created again only after a change that it cannot adapt to."""
        name, content = f"{rule.name}:{key}", self.content(key, rule)
        editor = self._editors.get(name)
        if editor is None or editor.content is not content:
            editor = self._editors[name] = new_editor(rule, content, container_tag, author, open_shared)
            self._contents[name] = editor.content
        editor.container_tag = container_tag
        return editor

    def end_operation(self, key: str, rule: Rule, editor: Editor) -> MergedValue:
        """Keep the content of an editor, which has changed the root type. Return the merged value."""
        name = f"{rule.name}:{key}"
        self._set_marker(key, rule, editor.container_tag)
        self._contents[name] = editor.content
        self._deltas.pop(name, None)  # the content has what the delta of the transaction would add
        self._editors[name] = self._edited[name] = editor
        return MergedValue(rule, editor.container_tag, editor.content)

    def end_transaction(self) -> None:
        """Keep the contents of editors, whose changes the observers have noted when the transaction ended."""
        for name, editor in self._edited.items():
            self._contents[name] = editor.content
            self._changed.discard(name)
            if type(editor.content) is list:
                self._deltas[name] = []
        self._edited.clear()

    def content(self, key: str, rule: Rule) -> Stored:
        """Return the content of the root type of `key` under `rule`. The caller must not change it."""
        name = f"{rule.name}:{key}"
        self.get(key, rule)
        if name not in self._contents or name in self._changed or self._is_forgotten:
            content = self._contents[name] = self._read(name, rule)
            self._deltas.pop(name, None)  # the delta of an open transaction would repeat what was read
            if type(content) is list and name not in self._changed:
                self._deltas[name] = []
        return self._contents[name]

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
                self._note_change(name)
        elif isinstance(shared, Text) and editable_length(shared) != len(shared):
            characters = str(shared)
            self._clear_sequence(name)
            shared.insert(0, characters)
            self._note_change(name)
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
            self._note_change(name)
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

    def read(self, key: str) -> Stored:
        """Return the present value of `key`, also inside of a transaction that has edited it."""
        self._read_entry(key)
        return self._value(key)

    def _update(self, values: dict[str, Any], key: str, patched: frozenset[str]) -> bool:
        """Change `values` to the present value of `key`. Return whether it is another value."""
        before, after = values.get(key, _ABSENT), self._value(key)
        if after is _ABSENT:
            values.pop(key, None)
            return before is not _ABSENT
        values[key] = after
        if type(before) is type(after) is MergedValue and before.content is after.content:
            return (
                before.container_tag != after.container_tag
                or before.rule.name != after.rule.name
                or f"{after.rule.name}:{key}" in patched
            )
        return before is _ABSENT or _is_different(before, after)

    def _value(self, key: str) -> Stored:
        """Return the value of `key`, whose entry in the map "state" was read. `_ABSENT` if there is none."""
        entry, rules = self._entries.get(key, _ABSENT), self._rules.get(key)
        if rules and (entry is _ABSENT or is_marker(entry)):
            found = self._find(key, None if entry is _ABSENT else entry, rules)
            return entry if found is None else found
        return entry

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


def _is_different(before: Stored, after: Stored) -> bool:
    """Return whether two values differ, as pycrdt reads them."""
    if before is after:
        return False
    kind = type(before)
    if kind is not type(after):
        return True
    if kind is MergedValue:
        return (before.rule.name, before.container_tag) != (
            after.rule.name,
            after.container_tag,
        ) or _is_different(before.content, after.content)
    return not equal(before, after) if kind in (list, dict, float) else bool(before != after)
