"""What must be written into a session's state for it to show the room."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from streamlit_crdt.binding.form_drafts import FormDrafts
from streamlit_crdt.binding.in_flight import InFlightValues
from streamlit_crdt.binding.key_state import KeyStates, Volatility
from streamlit_crdt.binding.widgets import REFUSED, UNKEYED_PREFIX, Widget
from streamlit_crdt.codec import values


@dataclass(frozen=True, slots=True)
class StateWrite:
    """One assignment to make: `value` goes into the state, `shared` is its form in the room.

    `put_back`: it undoes what a viewer changed here, and is no news of others (rule A1).
    """

    key: str
    value: Any
    shared: Any
    delete: bool = False
    put_back: bool = False


class RemoteWrites:
    """Compares the room with what the session was shown."""

    def __init__(
        self, memory: KeyStates, deliveries: InFlightValues, volatility: Volatility, fields: FormDrafts
    ) -> None:
        self._memory = memory
        self._deliveries = deliveries
        self._fields = fields
        self._volatility = volatility

    def writes(self, state: Mapping[str, Any]) -> list[StateWrite]:
        """Return the writes that `state` needs."""
        memory = self._memory
        memory.merged.clear()
        writes = [write for key in memory.replica if (write := self._plan_key(key, state)) is not None]
        for key in self._gone():
            memory.in_room.discard(key)
            if key in memory.widgets and memory.is_drawn(key):
                writes += self._reset(key, state)
                continue
            memory.seen.pop(
                key, None
            )  # a hidden widget comes back with its default, which is nobody's edit (R4)
            if key in state and key not in memory.widgets:
                writes.append(StateWrite(key, None, None, delete=True))
        memory.in_room.update(write.key for write in writes if not write.delete)
        if memory.is_read_only:
            writes += self._untouched(state)
        return writes

    def wrote(self, write: StateWrite, state: Mapping[str, Any]) -> None:
        """Note that a planned write was made; `state` is the snapshot from before it."""
        if write.delete:
            return
        memory, key = self._memory, write.key
        widget = memory.widgets.get(key)
        if not self._fields.write(key) and widget is not None and key in state:
            # Of a field, what slipped out of a form before its submit is not what the page may still send.
            is_draft = self._fields.is_draft(key, ())
            before = memory.seen[key] if is_draft else widget.shared_or_refused(state[key])
            self._deliveries.begin(key, before, write.shared)
        memory.see(key, write.shared)
        memory.before_sync.pop(key, None)
        memory.written_now.add(key)
        memory.untold.add(key)

    def rewrite_echoes(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """See `Mirror.echoes`."""
        memory, written = self._memory, {}
        for key in self._deliveries:
            widget, flight = memory.widgets.get(key), self._deliveries.get(key)
            if widget is None or flight is None or key not in state or not memory.is_drawn(key):
                continue
            if self._deliveries.is_echo(key, state[key]):
                local = widget.to_widget_value(flight.value)
                if local is not REFUSED:
                    written[key] = values.deep_copy(local)
        memory.written_now.update(written)
        return written

    def cannot_write(self, write: StateWrite, reason: Exception) -> None:
        """Leave out a value that Streamlit does not let us assign."""
        key = write.key
        self._memory.refused[key] = values.deep_copy(write.shared)
        self._memory.warn(key, "unwritable", f"the room's value of {key!r} cannot be set here: {reason}")

    def has_news(self) -> bool:
        """Say whether the room holds a change that the session has not been shown and would use."""
        return next(self._news(), None) is not None

    def news(self) -> list[str]:
        """Return the keys of such changes, sorted."""
        return sorted(self._news())

    def _news(self) -> Iterator[str]:
        memory = self._memory
        yield from filter(self._is_news, memory.replica)
        for key in self._gone():
            if key in memory.seen and (key not in memory.widgets or memory.is_drawn(key)):
                yield key

    def displaced(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return what drawn widgets show, in shared form, where it is not what they were last told. Notes nothing."""
        memory, shown = self._memory, {}
        for key in (memory.drawn | memory.drawn_now) & memory.seen.keys() & state.keys():
            widget = memory.widgets.get(key)
            if widget is None or not widget.is_settable or not memory.shares(key):
                continue
            seen, form = memory.seen[key], widget.shared_or_refused(state[key])
            if not values.equal(form, seen) and widget.to_widget_value(seen) is not REFUSED:
                shown[key] = values.deep_copy(form)
        return shown

    def _gone(self) -> list[str]:
        """Return what the room had and has no more."""
        return [key for key in self._memory.in_room if key not in self._memory.replica]

    def _reset(self, key: str, state: Mapping[str, Any]) -> list[StateWrite]:
        """Have a widget show its default again: what somebody had chosen was undone, or deleted."""
        widget = self._memory.widgets[key]
        if not widget.is_settable or key not in state or not self._memory.shares(key):
            return []
        default = widget.default_value()
        shared = widget.shared_or_refused(default)
        if shared is REFUSED or _shows(widget, state[key], shared):
            return []
        return [StateWrite(key, values.deep_copy(default), values.deep_copy(shared))]

    def _plan_key(self, key: str, state: Mapping[str, Any]) -> StateWrite | None:
        memory = self._memory
        widget = memory.widgets.get(key)
        if not memory.shares(key) or (widget is not None and not widget.is_settable):
            return None
        remote = memory.read(key)
        if remote is REFUSED or memory.is_refused(key, remote):
            return None
        memory.in_room.add(key)
        if key in state and _shows(widget, state[key], remote) and not self._fields.is_owed(key):
            if key not in self._deliveries:
                memory.see(key, remote)
            memory.before_sync.pop(key, None)
            return None
        local = remote if widget is None else widget.to_widget_value(remote)
        if local is REFUSED:
            memory.refuse(key, remote)
            return None
        put_back = memory.is_read_only and key in memory.seen and values.equal(remote, memory.seen[key])
        return StateWrite(key, values.deep_copy(local), remote, put_back=put_back)

    def _untouched(self, state: Mapping[str, Any]) -> list[StateWrite]:
        """Put widgets that nobody in the room has touched back to what they showed untouched (rule A1)."""
        memory, writes = self._memory, []
        for key in (memory.drawn | memory.drawn_now) & memory.seen.keys() & state.keys():
            widget, seen = memory.widgets.get(key), memory.seen[key]
            if widget is None or not widget.is_settable or key in memory.replica or not memory.shares(key):
                continue
            local = REFUSED if _shows(widget, state[key], seen) else widget.to_widget_value(seen)
            if local is not REFUSED:
                writes.append(StateWrite(key, values.deep_copy(local), seen, put_back=True))
        return writes

    def _is_news(self, key: str) -> bool:
        memory = self._memory
        widget = memory.widgets.get(key)
        if not memory.shares(key) or key in self._volatility:
            return False
        if widget is not None and (not widget.is_settable or not memory.is_drawn(key)):
            return False  # on another page, or hidden
        if widget is None and key.startswith(UNKEYED_PREFIX):
            return False
        remote = memory.read(key)
        if remote is REFUSED or memory.is_refused(key, remote):
            return False
        return (
            key not in memory.seen or not values.equal(remote, memory.seen[key]) or self._fields.is_owed(key)
        )


def _shows(widget: Widget | None, value: Any, remote: Any) -> bool:
    return values.equal(value if widget is None else widget.shared_or_refused(value), remote)
