"""What in a session's state is somebody's edit, and so goes into the room."""

from __future__ import annotations

from collections.abc import Container, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from streamlit_crdt.binding.form_drafts import FormDrafts
from streamlit_crdt.binding.in_flight import InFlightValues
from streamlit_crdt.binding.key_state import KeyStates, Volatility
from streamlit_crdt.binding.widgets import REFUSED, UNKEYED_PREFIX, ClientState
from streamlit_crdt.codec import values
from streamlit_crdt.errors import ValueNotShareableError
from streamlit_crdt.merge import Rule

_TEXTS: Final = ("text_area", "text_input")


@dataclass(frozen=True, slots=True)
class PushContext:
    """On what occasion the state is looked at; see `Mirror.push`."""

    message: ClientState | None
    synced: bool
    remote: bool
    assigned: Container[str]


class LocalEdits:
    """Tells the replica what changed in the state."""

    def __init__(
        self, memory: KeyStates, deliveries: InFlightValues, volatility: Volatility, fields: FormDrafts
    ) -> None:
        self._memory = memory
        self._deliveries = deliveries
        self._fields = fields
        self._volatility = volatility

    def push(self, state: Mapping[str, Any], occasion: PushContext) -> list[ValueNotShareableError]:
        """Push all edits in `state`; return what cannot be shared."""
        errors = []
        self._memory.held_back.clear()
        for key in list(state):
            if self._memory.shares(key):
                try:
                    self._push_key(key, state[key], occasion)
                except ValueNotShareableError as error:
                    errors.append(error)
        if occasion.synced:
            self._push_deletions(state)
            self._fields.settle()
        return errors

    def hold(self, state: Mapping[str, Any]) -> None:
        """Take plain values for nobody's edit; see `Mirror.hold`."""
        memory = self._memory
        for key, value in state.items():
            if memory.shares(key) and key not in memory.widgets and not key.startswith(UNKEYED_PREFIX):
                memory.see(key, value)

    def _push_key(self, key: str, value: Any, occasion: PushContext) -> None:
        memory = self._memory
        current = self._shared(key, value, occasion.message)
        if current is REFUSED or self._fields.is_draft(key, occasion.assigned):
            return
        if not occasion.synced and key not in memory.seen and key not in memory.widgets:
            memory.before_sync.setdefault(key, values.deep_copy(current))
        if self._is_known(key, current, occasion):
            return
        if not occasion.synced:
            self._hold_back(key, current)
        elif not self._volatility.is_damped(key, remote=occasion.remote):
            self._write(key, current)

    def take_overwritten(self, commits: Mapping[str, tuple[str, str]], state: Mapping[str, Any]) -> None:
        """Take over texts that were committed and never sent; see `Mirror.take_overwritten`."""
        memory = self._memory
        for name, (base, text) in commits.items():
            lost = memory.drafts.lost(name, text, base)
            if lost is None:
                continue
            key, begun_on = lost
            widget, rule = memory.widgets.get(key), memory.rule(key, text)
            is_shown = widget is not None and widget.kind in _TEXTS and memory.is_drawn(key)
            if is_shown and memory.shares(key) and rule is not None and state.get(key) != text:
                memory.replica.edit(key, begun_on, text, rule)
                memory.drafts.recommitted(key, text)

    def _hold_back(self, key: str, current: Any) -> None:
        """Note an edit that may be made once the room's content is here; what cannot be shared never will."""
        with suppress(ValueNotShareableError):
            values.encode(current, key=key)
            self._memory.held_back.add(key)

    def _shared(self, key: str, value: Any, message: ClientState | None) -> Any:
        widget = self._memory.widgets.get(key)
        if widget is None:
            return REFUSED if key.startswith(UNKEYED_PREFIX) else value
        drawn = self._memory.is_drawn(key) or (message is not None and message.contains(widget))
        return widget.to_shared_value(value) if widget.is_settable and drawn else REFUSED  # P3, P6

    def _is_known(self, key: str, current: Any, occasion: PushContext) -> bool:
        if key not in self._memory.seen:
            return self._is_no_news(key, current)
        if values.equal(current, self._memory.seen[key]):
            return True
        flight = self._deliveries.get(key)
        if flight is None:
            return False
        if flight.was(current) and self._is_echo(key, occasion):
            return True  # P1
        self._deliveries.overtake(flight, current)
        return False

    def _is_no_news(self, key: str, current: Any) -> bool:
        """Judge a value that is seen for the first time (R4)."""
        memory = self._memory
        if key in memory.widgets and key not in memory.assigned:
            memory.see(key, current)  # a default
            return True
        first = memory.before_sync.get(key, current)
        return key in memory.replica and values.equal(current, first)  # the room wins over a first value

    def _is_echo(self, key: str, occasion: PushContext) -> bool:
        """Say whether the old value came along with something else (P1).

        It did not if code assigned it, or if the message holds no other change and no trigger: then this widget itself
        was moved back.
        """
        if key in occasion.assigned:
            return False
        widget, message = self._memory.widgets.get(key), occasion.message
        return message is None or widget is None or not message.is_caused_only_by(widget)

    def _write(self, key: str, current: Any) -> None:
        memory = self._memory
        rule = memory.rule(key, current)
        memory.replica.edit(key, self._base(key, current, rule), current, rule)
        memory.drafts.committed(key, current)
        memory.see(key, current)
        if rule is not None and self._was_merged(rule, memory.read(key), current):
            memory.merged.add(key)
        memory.assigned.discard(key)
        memory.before_sync.pop(key, None)
        memory.refused.pop(key, None)
        memory.in_room.add(key)

    def _was_merged(self, rule: Rule, held: Any, current: Any) -> bool:
        """Say whether the room holds another value than was put in, to the rule: a set has no order."""
        if held is REFUSED or values.equal(held, current):
            return False
        return not rule.accepts(held) or bool(rule.distance(held, current))

    def _base(self, key: str, current: Any, rule: Rule | None) -> Any:
        """Return what the author of an edit saw.

        For a draft it is what the page says. While a value is on its way to the browser, it is that or one before it.
        """
        memory = self._memory
        seen = memory.seen.get(key, memory.before_sync.get(key))
        flight = self._deliveries.get(key)
        if rule is None or self._fields.is_cleared(key):
            return seen
        begun_on = self._fields.begun_on(key)
        if begun_on is None:
            begun_on = memory.drafts.base(key)
        if begun_on is not None and rule.accepts(begun_on):
            return begun_on
        if flight is None:
            return seen
        former = (seen, *reversed(flight.before))
        held = [value for value in former if rule.accepts(value) and not values.equal(value, current)]
        return min(held, key=lambda value: rule.distance(value, current), default=seen)

    def _push_deletions(self, state: Mapping[str, Any]) -> None:
        memory = self._memory
        for key in [key for key in memory.seen if key not in state]:
            if key in memory.widgets or key.startswith(UNKEYED_PREFIX) or not memory.shares(key):
                continue  # P3: a widget that vanished was not deleted
            if key in memory.replica and values.equal(memory.read(key), memory.seen[key]):
                memory.replica.delete(key)
            del memory.seen[key]
            memory.in_room.discard(key)
