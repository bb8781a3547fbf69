"""What was written here and the browser has not confirmed: what it may still send is an echo, not an edit (P1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from streamlit_crdt.binding.key_state import KeyStates
from streamlit_crdt.binding.widgets import ClientState
from streamlit_crdt.codec import values

CONFIRM_TRIES: Final = 3
"""So often a delivery may be found unconfirmed before the browser is taken at its word (P1)."""

_FORMER_VALUES: Final = 8
"""So many values that the browser may still send are remembered for each delivery."""


@dataclass(slots=True)
class InFlightValue:
    """A value written here that the browser has not confirmed; `before` is what it may still send (P1)."""

    before: list[Any]
    value: Any
    tries: int = 0

    def was(self, current: Any) -> bool:
        """Say whether `current` is a value from before this one."""
        return any(values.equal(current, old) for old in self.before)


class InFlightValues:
    """The open deliveries, by key.

    Attributes:
        count: grows with each delivery; the tab confirms by this number.
    """

    def __init__(self, memory: KeyStates) -> None:
        self.count = 0
        self._memory = memory
        self._in_flight: dict[str, InFlightValue] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._in_flight

    def __len__(self) -> int:
        return len(self._in_flight)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._in_flight))

    def get(self, key: str) -> InFlightValue | None:
        return self._in_flight.get(key)

    def begin(self, key: str, before: Any, value: Any) -> None:
        """Note that `value` was written where `before` was; if that is under way already, as one more try."""
        flight = self._in_flight.get(key)
        former = [] if flight is None else [*flight.before, flight.value]
        tries = flight.tries if flight is not None and values.equal(flight.value, value) else 0
        self._in_flight[key] = InFlightValue(
            [*former, values.deep_copy(before)][-_FORMER_VALUES:], value, tries
        )
        self.count += 1

    def overtake(self, flight: InFlightValue, current: Any) -> None:
        """A person's edit met a value on its way: the page may still put that one over the edit (P1)."""
        flight.before = [*flight.before, flight.value][-_FORMER_VALUES:]
        flight.value = values.deep_copy(current)
        flight.tries = 0
        self.count += 1

    def is_echo(self, key: str, value: Any) -> bool:
        """Say whether `value` is older than the one that is on its way to this widget."""
        flight, widget = self._in_flight.get(key), self._memory.widgets.get(key)
        if flight is None or widget is None:
            return False
        shown = widget.shared_or_refused(value)
        return flight.was(shown) and not values.equal(shown, flight.value)

    def drop(self, key: str) -> None:
        self._in_flight.pop(key, None)

    def start_over(self) -> None:
        self._in_flight.clear()

    def receive(self, state: Mapping[str, Any], message: ClientState) -> None:
        """Close what the browser's message shows."""
        for key in [key for key in self._in_flight if self._has_arrived(key, state, message)]:
            del self._in_flight[key]

    def confirm(self, delivery: int | None, message: ClientState | None, state: Mapping[str, Any]) -> bool:
        """See `Mirror.confirm`."""
        if delivery != self.count or message is None:
            return False
        missed = [key for key in list(self._in_flight) if self._has_missed(key, message, state)]
        if self._in_flight:
            self.count += 1  # ask once more
        return bool(missed)

    def _has_missed(self, key: str, message: ClientState, state: Mapping[str, Any]) -> bool:
        flight = self._in_flight[key]
        flight.tries += 1
        arrived = self._has_arrived(key, state, message)
        if arrived or flight.tries >= CONFIRM_TRIES or not self._memory.is_drawn(key):
            del self._in_flight[key]
            return False
        return message.contains(self._memory.widgets.get(key)) and key in state

    def _has_arrived(self, key: str, state: Mapping[str, Any], message: ClientState) -> bool:
        widget = self._memory.widgets.get(key)
        if widget is None or not message.contains(widget) or key not in state:
            return False
        return values.equal(widget.shared_or_refused(state[key]), self._in_flight[key].value)
