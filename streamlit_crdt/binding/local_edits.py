"""Local edits: the changes in session state that are written into the replica (R4, R9, P1, P3).

What code makes in a run that no person caused is *held*: it stays in session state and is not written (R9). A remote
write replaces it, or the end of a run by a person writes it.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from streamlit_crdt.binding import form_drafts, in_flight
from streamlit_crdt.binding.key_state import ABSENT, REMOVED, SCALARS, KeyState, KeyStates
from streamlit_crdt.binding.widgets import REFUSED, TEXT_INPUTS, ClientState
from streamlit_crdt.codec import values as codec
from streamlit_crdt.codec.equality import deep_copy, equal
from streamlit_crdt.errors import ValueNotShareableError
from streamlit_crdt.merge import Rule
from streamlit_crdt.merge.editors import ListEditor, RecordsEditor
from streamlit_crdt.merge.item_keys import token


@dataclass(frozen=True, slots=True)
class PushContext:
    """Circumstances of a push.

    Attributes:
        client_state: what the browser sent with this run; None if code alone caused the run.
        is_synced: the room's content has arrived. Nothing is written before (R4).
        is_by_person: a person caused the run. Otherwise what code made is held (R9).
        is_at_top: the script has not made anything yet.
        has_trigger: the client state has a click, a submit or a chat input.
        assigned: keys that code assigned since the client state. The browser did not echo those (P1).
    """

    client_state: ClientState | None
    is_synced: bool
    is_by_person: bool
    is_at_top: bool
    has_trigger: bool
    assigned: Container[str]

    @property
    def confirms(self) -> bool:
        """True if the push writes what was held: it follows the script of a run by a person."""
        return self.is_by_person and not self.is_at_top

    def is_by_code(self, state: KeyState) -> bool:
        """Return whether code made the value of a key, in a run that no person caused.

        At the top, the browser has made the values of widgets, and callbacks have made plain values. A run without a
        client state has no callbacks: the script made them, above its call of `crdt_sync`.
        """
        if self.is_by_person:
            return False
        if state.widget is None:
            return not self.is_at_top or self.client_state is None
        is_sent = self.client_state is not None and self.client_state.contains(state.widget)
        return state.key in self.assigned or not (self.is_at_top or is_sent)


def push(keys: KeyStates, values: Mapping[str, Any], context: PushContext) -> list[ValueNotShareableError]:
    """Write the local edits in session state into the replica, as one update.

    Returns:
        The errors of the values that cannot be shared. The other values were written.
    """
    errors: list[ValueNotShareableError] = []
    open_values = keys.open_values(values)
    held_back = keys.held_back()
    for key in held_back:
        keys[key].is_held_back = False
    if not keys.is_read_only:
        edits, errors = _find_edits(keys, open_values, context, held_back)
        if not context.is_synced:
            return errors
        deleted = _find_deletions(keys, values, context)
        if edits or deleted:
            with keys.replica.transaction():
                errors += _write_edits(keys, edits, context)
                if deleted:
                    _write_deletions(keys, deleted)
    if any(state.is_submitted for state in keys.values()):
        form_drafts.end_submit(keys)
    for key, value in open_values.items():
        if type(value) is list and (written := keys.get(key)) is not None:  # it may be parked now
            written.list_seen = value
    return errors


def note_callbacks(keys: KeyStates, values: Mapping[str, Any]) -> None:
    """Record the lists and dicts that callbacks have changed. Call it after them and before the script (R9)."""
    for key, value in keys.open_values(values).items():
        if type(value) in (list, dict):
            state = keys[key]
            before = state.last_seen if state.held is ABSENT else state.held
            state.is_from_callback = state.widget is None and state.is_shared and not equal(value, before)


def hold_leftovers(keys: KeyStates, values: Mapping[str, Any]) -> None:
    """Hold what the script of a superseded run made. Call it before the callbacks of its successor (R9)."""
    for key, value in values.items():
        state = keys[key]
        is_plain = state.is_shared and state.widget is None and not state.is_unkeyed
        if is_plain and not is_held(state, value) and not equal(value, state.last_seen):
            with suppress(ValueNotShareableError):
                codec.encode(value, key=key)
                keys.hold(state, value)


def replaces_all(before: Any, after: Any) -> bool:
    """Return whether a list has no item of the list before it (R9)."""
    if type(after) is not list:
        return False
    with suppress(ValueNotShareableError):  # such an edit is rejected
        former = {token(codec.encode(item, key=None)) for item in before} if type(before) is list else set()
        return not any(token(codec.encode(item, key=None)) in former for item in after)
    return False


def ignore_existing(keys: KeyStates, values: Mapping[str, Any]) -> None:
    """Count the plain values in session state as seen: the session had them before it entered the room.

    The room's own values take precedence. A value that the room lacks stays in the session until it changes.
    """
    for key, value in values.items():
        state = keys[key]
        if state.is_shared and state.widget is None and not state.is_unkeyed:
            keys.see(state, value)


def restore_overwritten(
    keys: KeyStates, commits: Mapping[str, tuple[str, str]], values: Mapping[str, Any]
) -> None:
    """Write texts that a user committed and that a remote write replaced before the browser sent them.

    Args:
        commits: digest of the text that the draft began with, and the committed text, by class name of the widget.
        values: the session state.
    """
    if not commits or keys.is_read_only:
        return
    with keys.replica.transaction():
        for name, (base_digest, text) in commits.items():
            lost = keys.drafts.find_lost(name, text, base_digest)
            if lost is None:
                continue
            key, base = lost
            state = keys[key]
            rule = keys.rule(state, text)
            is_text = state.widget is not None and state.widget.kind in TEXT_INPUTS
            is_bound = is_text and state.is_registered and state.is_shared
            if is_bound and rule is not None and values.get(key) != text:
                keys.replica.edit(key, base, text, rule)
                keys.drafts.note_commit(key, text)


def _find_edits(
    keys: KeyStates, values: Mapping[str, Any], context: PushContext, held_back: Container[str]
) -> tuple[list[tuple[KeyState, Any]], list[ValueNotShareableError]]:
    """Return the edited keys with their shared values, and the errors of values without a shared value.

    Args:
        values: the values in session state whose keys are not parked.
        held_back: the keys with an edit that waited for the first sync (R4).
    """
    edits, errors = [], []
    for key, value in values.items():
        state = keys[key]
        is_scalar = type(value) in SCALARS and type(value) is type(state.last_seen)
        if not state.is_shared or (is_scalar and value == state.last_seen):
            state.held = ABSENT
            continue
        try:
            current = _shared_value(state, value, context.client_state)
        except ValueNotShareableError as error:
            errors.append(error)
            continue
        if current is REFUSED or (not context.confirms and is_held(state, current)):
            continue
        if not _is_pushed(keys, state, current, context):
            continue
        if state.last_seen is not ABSENT and not (context.is_at_top or context.has_trigger):
            state.is_computed = True
        if key in held_back or not context.is_by_code(state):
            edits.append((state, current))
            continue
        try:
            codec.encode(current, key=key)
        except ValueNotShareableError as error:
            errors.append(error)
        else:
            keys.hold(state, current)
    return edits, errors


def _is_pushed(keys: KeyStates, state: KeyState, current: Any, context: PushContext) -> bool:
    """Return whether the value is an edit that must be written now."""
    if keys.has_fields and state.is_field and form_drafts.is_draft(state, context.assigned):
        return False
    is_new = state.last_seen is ABSENT and state.widget is None
    if is_new and not context.is_synced and state.value_before_sync is ABSENT:
        state.value_before_sync = deep_copy(current)
    if not _is_edit(keys, state, current, context):
        return False
    if context.is_synced:
        return True
    with suppress(ValueNotShareableError):  # such an edit can never be made
        codec.encode(current, key=state.key)
        state.is_held_back = True
    return False


def is_held(state: KeyState, current: Any) -> bool:
    """Return whether code made the shared value `current` in an earlier run, and no person has confirmed it (R9)."""
    return state.held is not ABSENT and state.held is not REMOVED and equal(current, state.held)


def _shared_value(state: KeyState, value: Any, client_state: ClientState | None) -> Any:
    """Return the shared value; `REFUSED` if the key has no local edits (P3, P6)."""
    widget = state.widget
    if widget is None:
        return REFUSED if state.is_unkeyed else value
    is_on_page = state.is_registered or (client_state is not None and client_state.contains(widget))
    return widget.to_shared_value(value) if widget.is_settable and is_on_page else REFUSED


def _is_edit(keys: KeyStates, state: KeyState, current: Any, context: PushContext) -> bool:
    if state.last_seen is ABSENT:
        return _is_first_edit(keys, state, current)
    if equal(current, state.last_seen):
        state.held = ABSENT
        return False
    flight = state.in_flight
    if flight is not None:
        if flight.replaces(current) and _is_echo(state, context):
            return False  # P1
        in_flight.supersede(keys, flight, current)
    return True


def _is_first_edit(keys: KeyStates, state: KeyState, current: Any) -> bool:
    """Return whether a key's first value is an edit (R4)."""
    if state.widget is not None and not state.is_assigned:
        keys.see(state, current)  # a default
        return False
    first = current if state.value_before_sync is ABSENT else state.value_before_sync
    # The room's value overrides a first value, but not a later one.
    return not (state.key in keys.replica and equal(current, first))


def _is_echo(state: KeyState, context: PushContext) -> bool:
    """Return whether a former value came together with another change (P1).

    It did not if code assigned it. Nor if nothing else changed and no trigger is set: a user moved this widget back.
    """
    if state.key in context.assigned:
        return False
    if context.client_state is None or state.widget is None:
        return True
    return not context.client_state.is_caused_only_by(state.widget)


def _write_edits(
    keys: KeyStates, edits: list[tuple[KeyState, Any]], context: PushContext
) -> list[ValueNotShareableError]:
    errors = []
    for state, current in edits:
        try:
            _write(keys, state, current, context)
        except ValueNotShareableError as error:
            errors.append(error)
    return errors


def _append(keys: KeyStates, state: KeyState, current: Any) -> bool:
    """Write the items that a script has appended to a list, in time that depends on these. Return whether it did.

    The replica is locked. Otherwise another participant's edit could come between.
    """
    keys.take_changes()
    rule = keys.rule(state, current)
    if state.key not in keys.appended or rule is None or keys.replica.rule_name(state.key) != rule.name:
        return False
    known, count = keys.appended.pop(state.key)
    items, length = current[-count:], len(current) - count

    def insert(editor: ListEditor | RecordsEditor) -> bool:
        if len(editor) == length:
            editor.insert(length, items)
        return len(editor) == length + count

    if not keys.replica.operate(state.key, rule, [], insert):
        return False
    keys.take_changes(own=state.key)
    state.held = ABSENT
    state.last_seen.extend(deep_copy(items))
    found = known.with_appended(current, count)
    if found is not None:
        keys.park(state, current, found)
    return True


def _write(keys: KeyStates, state: KeyState, current: Any, context: PushContext) -> None:
    held = state.held
    is_appended = state.key in keys.appended and held is ABSENT
    if is_appended and _is_by_person(keys, state, current, None, context) and _append(keys, state, current):
        state.is_from_callback, state.list_seen = False, current
        return
    rule = keys.rule(state, current)
    base = _base(keys, state, current, rule)
    is_by_person = _is_by_person(keys, state, current, rule, context)
    if is_by_person and rule is not None and rule.accepts(held):
        keys.replica.edit(state.key, base, held, rule, is_by_person=False)
        base = held
    keys.replica.edit(state.key, base, current, rule, is_by_person=is_by_person)
    state.is_from_callback = False
    state.room_value = ABSENT
    if state.key in keys.drafts.texts or (state.widget is not None and type(current) is str):
        keys.drafts.note_edit(state.key, current)
    keys.see(state, current)
    if rule is not None and _is_merged(rule, keys.read(state), current):
        state.is_merged = True
    state.is_assigned = False
    state.is_in_room = True
    state.value_before_sync = state.refused = ABSENT


def _is_by_person(
    keys: KeyStates, state: KeyState, current: Any, rule: Rule | None, context: PushContext
) -> bool:
    """Return whether a person made the edit, so that the equal edit of another person is a second one (R9).

    A callback is a person's. So is what the script makes after a click, unless it may compute it from another key that
    has just arrived: another session computes it too. A list that only clicks have changed, and that this one extends
    in place, is not computed. A text, a widget's value and a new list are: two people who press "Start" start once.
    """
    if is_held(state, current):
        return False
    if rule is not None and rule.name == "counter":
        return True
    if state.widget is not None or type(current) is str:
        return False
    before = state.last_seen if state.held is ABSENT else state.held
    if not state.is_from_callback:
        if not context.has_trigger:
            return False
        is_fed = any(other.is_unread for other in keys.values() if other is not state)
        if is_fed and (state.is_computed or current is not state.list_seen or not _extends(before, current)):
            return False
    return current is state.list_seen or not replaces_all(before, current)


def _extends(before: Any, after: Any) -> bool:
    """Return whether a list begins with all items of the list before it."""
    return type(before) is list and equal(before, after[: len(before)])


def _is_merged(rule: Rule, held: Any, current: Any) -> bool:
    """Return whether the room's value differs from the edit by its rule, in which the order of a set does not count."""
    if held is REFUSED or equal(held, current):
        return False
    return not rule.accepts(held) or bool(rule.distance(held, current))


def _base(keys: KeyStates, state: KeyState, current: Any, rule: Rule | None) -> Any:
    """Return the value that the author of an edit saw.

    For a draft it is the text that the tab names. While a value is in flight, it is that value or a former one.
    """
    seen = state.value_before_sync if state.last_seen is ABSENT else state.last_seen
    seen = None if seen is ABSENT else seen
    is_cleared = state.widget is not None and state.widget.form is not None and state.widget.form.clears
    if rule is None or is_cleared:
        return seen
    draft_base = None if state.withheld is ABSENT else state.withheld
    if draft_base is None:
        draft_base = keys.drafts.base(state.key)
    if draft_base is not None and rule.accepts(draft_base):
        return draft_base
    if state.in_flight is None:
        return seen
    former = [
        value
        for value in (seen, *reversed(state.in_flight.before))
        if rule.accepts(value) and not equal(value, current)
    ]
    return min(former, key=lambda value: rule.distance(value, current), default=seen)


def _find_deletions(keys: KeyStates, values: Mapping[str, Any], context: PushContext) -> list[KeyState]:
    """Return the plain values that session state does not have any more. Empty records are discarded."""
    absent = [state for state in keys.values() if state.key not in values and state.widget is None]  # P3
    deleted = []
    for state in absent:
        if state.last_seen is not ABSENT and not state.is_unkeyed and state.is_shared:
            if context.is_by_code(state):
                keys.hold(state, REMOVED)
            elif state.held is not REMOVED or context.confirms:
                deleted.append(state)
        else:
            state.held = ABSENT
            keys.discard_if_empty(state)
    return deleted


def _write_deletions(keys: KeyStates, deleted: list[KeyState]) -> None:
    keys.take_changes()
    for state in deleted:
        if state.key in keys.replica and equal(keys.read(state), state.last_seen):
            keys.replica.delete(state.key)
        state.last_seen = state.held = ABSENT
        state.list_seen = None
        state.is_in_room = state.is_unshown = False
