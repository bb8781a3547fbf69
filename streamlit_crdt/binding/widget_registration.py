"""What widgets make of their values while they are made: show them, bend them (P2), or start from a default (R4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from streamlit_crdt.binding.in_flight import InFlightValues
from streamlit_crdt.binding.key_state import KeyStates
from streamlit_crdt.binding.widgets import REFUSED, UNKEYED_PREFIX, Widget
from streamlit_crdt.codec import values


class WidgetRegistration:
    """Learns what is drawn, and judges what waits for it. Its methods are described at `Mirror`'s of the same name."""

    def __init__(self, memory: KeyStates, deliveries: InFlightValues) -> None:
        self._memory = memory
        self._deliveries = deliveries
        self._unchecked: dict[str, Any] = {}

    def begin_run(self) -> None:
        memory = self._memory
        memory.drawn |= memory.drawn_now  # of a run that a newer one replaced before its end
        memory.drawn_now = set()
        memory.written_now = set()
        self._unchecked = {}

    def end_run(self, *, complete: bool) -> None:
        memory = self._memory
        memory.drawn = memory.drawn_now if complete else memory.drawn | memory.drawn_now
        memory.drawn_now = set()
        if complete:
            self._drop_outdated()

    def start_over(self) -> None:
        self._unchecked.clear()

    def waiting(self, widget: Widget, value: Any) -> Any:
        key, seen = widget.key, self._memory.seen
        if key not in seen or not self._was_written(widget, value):
            return value
        local = widget.to_widget_value(seen[key])
        if local is REFUSED:
            self._memory.refuse(key, seen.pop(key))
            self._deliveries.drop(key)
        return local

    def first_value(self, widget: Widget) -> Any:
        memory, key = self._memory, widget.key
        known = memory.widgets.get(key)
        is_new_here = known is not None and not known.is_settable and key not in memory.seen
        if not (is_new_here and widget.is_settable and key in memory.replica and memory.shares(key)):
            return REFUSED
        remote = memory.read(key)
        local = REFUSED if remote is REFUSED else widget.to_widget_value(remote)
        if local is not REFUSED:
            self._deliveries.begin(key, widget.shared_or_refused(widget.default_value()), remote)
            memory.see(key, remote)
            memory.in_room.add(key)
            memory.written_now.add(key)
            local = values.deep_copy(local)
        return local

    def is_untold(self, key: str) -> bool:
        return key in self._memory.untold or (key in self._memory.seen and not self._memory.is_drawn(key))

    def comes_back(self, widget: Widget) -> None:
        key, seen = widget.key, self._memory.seen
        if key in seen and key not in self._deliveries:
            self._deliveries.begin(
                key, widget.shared_or_refused(widget.default_value()), values.deep_copy(seen[key])
            )

    def forgotten(self, widget: Widget) -> Any:
        memory, key = self._memory, widget.key
        if not widget.is_settable or not memory.shares(key) or key not in memory.replica:
            return REFUSED
        remote = memory.read(key)
        local = (
            REFUSED if remote is REFUSED or memory.is_refused(key, remote) else widget.to_widget_value(remote)
        )
        if local is not REFUSED:
            memory.in_room.add(key)
            memory.see(key, remote)
            self.comes_back(widget)
        return local

    def drew(self, widget: Widget, value: Any, *, assigned: bool, carried: bool) -> None:
        memory, key = self._memory, widget.key
        memory.widgets[key] = widget
        memory.drawn_now.add(key)
        memory.untold.discard(key)
        if not widget.is_settable or not memory.shares(key):
            return
        shared = widget.shared_or_refused(value)
        if shared is REFUSED:
            return
        if memory.is_read_only and key not in memory.replica and widget.is_default(value):
            memory.see(key, shared)
        elif key in memory.seen:
            if key in memory.written_now:
                self._unchecked[key] = values.deep_copy(shared)
        elif assigned or (carried and not widget.is_default(value)):
            memory.assigned.add(key)
        else:
            memory.see(key, shared)

    def check_drawn(self, state: Mapping[str, Any]) -> None:
        memory = self._memory
        for key, shown in self._unchecked.items():
            if key not in state or not values.equal(shown, memory.seen.get(key)):
                continue  # code assigned something else: an edit, not a refusal
            current = memory.widgets[key].shared_or_refused(state[key])
            if current is not REFUSED and not values.equal(current, shown):
                memory.refuse(key, memory.seen[key])
                memory.see(key, current)
                self._deliveries.drop(key)
        self._unchecked = {}

    def is_ours(self, key: str) -> bool:
        memory = self._memory
        # Written by this run, on its way to the browser, or written by a run that ended above the widget.
        if key in memory.written_now or key in self._deliveries or key in memory.untold:
            return True
        return key in memory.seen and key not in memory.widgets and key in memory.in_room

    def exclude(self, widget: Widget) -> None:
        if widget.key not in self._memory.drawn_now:
            self._memory.widgets[widget.key] = replace(widget, is_settable=False)

    def exclude_key(self, key: str) -> None:
        if not key.startswith(UNKEYED_PREFIX):
            self._memory.widgets.setdefault(key, Widget(key, "", "", False, _identity, _identity))

    def forget(self, key: str) -> None:
        self._memory.seen.pop(key, None)
        self._deliveries.drop(key)

    def _was_written(self, widget: Widget, value: Any) -> bool:
        seen = self._memory.seen[widget.key]
        return values.equal(value, seen) or values.equal(widget.shared_or_refused(value), seen)

    def _drop_outdated(self) -> None:
        """Forget unkeyed widgets that are gone and that nobody changed: each new set of options is another key."""
        memory = self._memory
        for key in [key for key in memory.widgets if key.startswith(UNKEYED_PREFIX)]:
            if key not in memory.drawn and key not in memory.replica:
                memory.forget(key)
                self._deliveries.drop(key)


def _identity(value: Any) -> Any:
    return value
