"""Values by key in the document of one replica: encoded, merged, decoded and compared.

Not thread-safe and without subscribers. `Replica` holds its lock around each call, opens a transaction of the document
around each edit, and publishes the updates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

from streamlit_crdt.codec.live_values import plain
from streamlit_crdt.codec.values import decode, deep_copy, encode, equal, is_constant, is_leaf
from streamlit_crdt.document.document import Document
from streamlit_crdt.document.edits import LocalEdit
from streamlit_crdt.errors import SharedTypeError, ValueNotShareableError, ValueUnreadableError
from streamlit_crdt.merge import Edit, MergedValue, Rule
from streamlit_crdt.merge.editors import Editor, copied_editor, follow_rule, trial_editor
from streamlit_crdt.merge.rule import Foreign
from streamlit_crdt.merge.tree.tree_rule import TreeRule
from streamlit_crdt.merge.tree.versions import Versions

_MAX_KEY_BYTES = 4096
"""Limit of a key in bytes of UTF-8. A longer key is rejected."""

Returned = TypeVar("Returned")


class KeyedValues:
    """Values of one replica by key.

    Attributes:
        edits: the local edits since the replica last took them. None if it does not record them.
        changed: the keys whose value changed, by a local edit or a remote one, since the replica last took them. None
            if it never took them: a headless client would collect keys without end.
    """

    def __init__(self, document: Document) -> None:
        self._document = document
        self.edits: list[LocalEdit] | None = None
        self.changed: set[str] | None = None
        self._stored: dict[str, Any] = {}
        self._document.refresh(self._stored)
        self._unread: set[str] = set()
        self._has_merged = False
        self._cache: dict[str, Any] = {}
        self._seen: dict[str, Versions] = {}

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
        value = plain(value)
        stored = encode(value, key=key)
        is_plain = key in self._stored and not isinstance(self._stored[key], MergedValue)
        if is_plain and self._has_equal_value(key, value):
            return False
        self._note_edit(LocalEdit("set", key, after=stored))
        self._unread.discard(key)
        self._stored[key] = self._document.set(key, stored)
        return True

    def delete(self, key: str) -> bool:
        """See `Replica.delete`."""
        if key not in self._stored:
            return False
        self._note_edit(LocalEdit("delete", key))
        self._document.delete(key)
        self._unread.discard(key)
        del self._stored[key]
        self._seen.pop(key, None)
        return True

    def edit(
        self, key: str, before: object, after: object, rule: Rule | None, *, is_by_person: bool = True
    ) -> bool:
        """See `Replica.edit`."""
        before, after = plain(before), plain(after)
        if rule is None or not rule.accepts(after):
            return self.set(key, after)
        check_key(key)
        encode(after, key=key)
        before = before if rule.accepts(before) and _is_shareable(before) else None
        was_stored = self._is_stored_by(key, rule)
        base = self._seed(key, rule, before, after)
        if was_stored and equal(base, after):
            return False
        if self.edits is not None:
            base, kept = _kept(base), _kept(after)
            self.note(LocalEdit("edit", key, base, kept, rule, is_by_person=is_by_person))
        self._note_change(key)
        versions = self._versions(key, rule)
        self._document.edit(key, rule, Edit(base, after, self._document.replica_id, is_by_person, versions))
        self._has_merged = True
        if was_stored:
            self._unread.add(key)
        else:
            self._stored[key] = self._document.read(key)
        return True

    def set_by_rule(self, key: str, value: object, *, is_by_person: bool = True) -> bool:
        """See `Replica.set_by_rule`."""
        stored = self._stored.get(key)
        if (
            isinstance(stored, MergedValue)
            and stored.rule.accepts(value)
            and self._is_stored_by(key, stored.rule)
        ):
            return self.edit(key, self._read(key), value, stored.rule, is_by_person=is_by_person)
        return self.set(key, value)

    def inspect(self, key: str, rule: Rule, empty: Any, read: Callable[[Any], Returned]) -> Returned:
        """See `Replica.inspect`."""
        stored = self._stored_by(key, rule)
        if stored is None:
            return read(self._trial(key, rule, empty))
        return read(follow_rule(self._document.editor(key, rule, stored.container_tag), rule))

    def rehearse(self, key: str, rule: Rule, empty: Any, operation: Callable[[Any], Returned]) -> Returned:
        """See `Replica.rehearse`."""
        return operation(self._trial(key, rule, empty))

    def operate(
        self, key: str, rule: Rule, empty: Any, operation: Callable[[Any], Returned], *, is_by_person: bool
    ) -> Returned:
        """See `Replica.operate`."""
        check_key(key)
        try:
            stored = self._stored_by(key, rule)
            if stored is None or not is_by_person:
                trial = self._trial(key, rule, empty)
                returned = operation(trial)
                if not trial.has_changed:
                    return returned
                value = self.get(key, empty)
                if not is_by_person:
                    after = rule.value(trial.content, trial.container_tag)
                    self.edit(key, value, after, rule, is_by_person=False)
                    return returned
                self._seed(key, rule, value, value)
                self._stored[key] = self._document.read(key)
            tag = rule.container_tag(value) if stored is None else stored.container_tag
            editor = follow_rule(self._document.prepare_editor(key, rule, tag), rule)
            editor.begin()
            try:
                return operation(editor)
            finally:
                if editor.has_changed:
                    self._note_edit(LocalEdit("operation", key, empty, tuple(editor.steps), rule))
                    self._unread.discard(key)
                    self._unread.discard(key)
                    self._stored[key] = self._document.end_operation(key, rule, editor)
        except ValueNotShareableError as error:
            error.key = key
            raise

    def _trial(self, key: str, rule: Rule, empty: Any) -> Editor:
        stored = self._stored_by(key, rule)
        if stored is not None:
            present = self._get_stored(key)
            editor = copied_editor(stored.rule, present.content, present.container_tag)
        else:
            value = self.get(key, empty)
            if not rule.accepts(value):
                raise SharedTypeError(key, rule.name, type(value).__name__)
            editor = trial_editor(rule, value)
        editor.begin()
        return follow_rule(editor, rule)

    def _stored_by(self, key: str, rule: Rule) -> MergedValue | None:
        """Return the value of `key` if it is stored by `rule` and was readable when its content was read."""
        stored = self._stored.get(key)
        if not isinstance(stored, MergedValue) or stored.rule.name != rule.name:
            return None
        if self._document.has_editor(key, rule) or self._is_stored_by(key, rule):
            return stored
        return None

    def stored(self) -> dict[str, Any]:
        """Return all values in their encoded form: trees as pycrdt reads them, or `MergedValue`."""
        return {key: _copy(self._get_stored(key)) for key in self._stored}

    def refresh(self) -> frozenset[str]:
        """Read what has changed in the document. Return the keys whose value has changed."""
        self._unread.clear()
        self._has_merged = False
        changed = self._document.refresh(self._stored)
        for key in changed:
            self._cache.pop(key, None)
        if self.changed is not None:
            self.changed |= changed
        return changed

    def repeat(self, edit: LocalEdit) -> None:
        """Make an edit of another document."""
        if edit.kind == "delete":
            self.delete(edit.key)
        elif edit.rule is None:
            self.set(edit.key, decode(edit.after))
        elif edit.kind == "operation":
            self.operate(
                edit.key, edit.rule, edit.before, lambda editor: editor.repeat(edit.after), is_by_person=True
            )
        else:
            self.edit(edit.key, edit.before, _kept(edit.after), edit.rule, is_by_person=edit.is_by_person)

    def note_step(self, changed: Iterable[str], previous: Mapping[str, Any]) -> None:
        """Record a step of the undo history by the values before and after it."""
        for key in changed if self.edits is not None else ():
            before, after = previous.get(key), self._stored.get(key)
            if after is None:
                self.note(LocalEdit("delete", key))
                continue
            with suppress(ValueUnreadableError):
                value = _value(after)
                is_merged = isinstance(before, MergedValue) and isinstance(after, MergedValue)
                if is_merged and before is not None and before.rule is after.rule:
                    self.note(LocalEdit("edit", key, _value(before), value, after.rule))
                else:
                    self.note(LocalEdit("set", key, after=encode(value, key=key)))

    def note(self, edit: LocalEdit) -> None:
        """Record an edit."""
        if self.edits is not None:
            self.edits.append(edit)

    def end_transaction(self) -> None:
        """Read what local edits by merge rules have changed. The document has no open transaction."""
        if self._has_merged:
            self.refresh()

    def _get_stored(self, key: str) -> Any:
        """Return the encoded value of `key`. It is read again if the open transaction has edited it by a rule."""
        if key in self._unread:
            self._unread.discard(key)
            self._stored[key] = self._document.read(key)
        return self._stored[key]

    def _note_edit(self, edit: LocalEdit) -> None:
        self.note(edit)
        self._note_change(edit.key)

    def _note_change(self, key: str) -> None:
        if self.changed is not None:
            self.changed.add(key)
        self._cache.pop(key, None)

    def _seed(self, key: str, rule: Rule, before: object, after: object) -> Any:
        """Ensure that the root type of `key` has a value. Return the base of the edit."""
        if self._is_stored_by(key, rule):
            return (
                rule.value(self._get_stored(key).content, rule.container_tag(after))
                if before is None
                else before
            )
        first = after if before is None else before
        with suppress(ValueUnreadableError):
            if key in self._stored and rule.accepts(current := self._read(key)):
                first = current
        self._document.seed(key, rule, first)
        return first if before is None else before

    def _is_stored_by(self, key: str, rule: Rule) -> bool:
        """Return whether the value of `key` is stored by `rule` and is readable."""
        stored = self._stored.get(key)
        if not isinstance(stored, MergedValue) or stored.rule.name != rule.name:
            return False
        with suppress(ValueUnreadableError):
            self._read(key)
            return True
        return False

    def _read(self, key: str) -> Any:
        """Return the value of `key`. The caller must not change it."""
        if key in self._cache:
            return self._cache[key]
        try:
            value = _value(self._get_stored(key))
        except ValueUnreadableError as error:
            error.key = key
            raise
        stored = self._stored[key]
        if isinstance(stored, MergedValue) and (versions := self._versions(key, stored.rule)) is not None:
            versions.note(stored.content)
        if is_constant(value):
            self._cache[key] = value
        return value

    def _versions(self, key: str, rule: Rule) -> Versions | None:
        """Return the remembered contents of a key whose items have an identity."""
        return self._seen.setdefault(key, Versions()) if isinstance(rule, TreeRule) else None

    def rule_name(self, key: str) -> str | None:
        """Return the name of the rule that stores the value of `key`. None if it is stored as a whole."""
        stored = self._stored.get(key)
        return stored.rule.name if isinstance(stored, MergedValue) else None

    def _has_equal_value(self, key: str, value: object) -> bool:
        try:
            return equal(self._read(key), value)
        except ValueUnreadableError:
            return False


def _kept(value: Any) -> Any:
    """Return a value that its owner cannot change."""
    return value if is_leaf(value) else deep_copy(value)


def _copy(stored: Any) -> Any:
    """Return a value of `stored` that later operations do not change."""
    if isinstance(stored, MergedValue) and isinstance(stored.content, list | dict):
        return replace(stored, content=stored.content.copy())
    return stored


def _value(stored: Any) -> Any:
    if isinstance(stored, Foreign):
        raise ValueUnreadableError(f"another program stored a {stored.kind}, which has no value")
    if not isinstance(stored, MergedValue):
        return decode(stored)
    try:
        return stored.value()
    except Exception as error:  # another program may have written any content
        raise ValueUnreadableError(f"{type(error).__name__}: {error}") from error


def _is_shareable(value: object) -> bool:
    try:
        encode(value, key=None)
    except ValueNotShareableError:
        return False
    return True


def check_key(key: object) -> None:
    """Raise ValueNotShareableError if `key` is not a str of valid Unicode within the size limit."""
    if type(key) is not str:
        raise ValueNotShareableError(type(key).__name__, "a shared key must be a str")
    try:
        size = len(key.encode())
    except UnicodeEncodeError as error:
        raise ValueNotShareableError("str", "the key itself is not valid Unicode", key=ascii(key)) from error
    if size > _MAX_KEY_BYTES:
        raise ValueNotShareableError(
            "str", f"the key itself is longer than {_MAX_KEY_BYTES} bytes", key=key[:40]
        )
