"""What a session shows of a room: what a person would see in its widgets, and what its script reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from streamlit_crdt.binding.key_state import KeyStates, Volatility
from streamlit_crdt.binding.widgets import REFUSED, UNKEYED_PREFIX
from streamlit_crdt.codec import values
from streamlit_crdt.errors import ValueNotShareableError


class Absent:
    """The type of `ABSENT`: there is no value."""

    def __repr__(self) -> str:
        return "nothing"


ABSENT: Final = Absent()


@dataclass(frozen=True, slots=True)
class VisibleValue:
    """One key, as a session shows it.

    Attributes:
        value: in shared form.
        in_room: the value in the session's replica, as its widget orders it; `ABSENT` if there is none.
        why: the rule by which the two may differ: the widget cannot show it (P2), or it is new on each run (P4).
    """

    value: Any
    in_room: Any
    why: Literal["P2", "P4"] | None


class Inspector:
    """Reads the state as `Plan` does, and notes nothing."""

    def __init__(self, memory: KeyStates, volatility: Volatility) -> None:
        self._memory = memory
        self._volatility = volatility

    def shown(self, state: Mapping[str, Any]) -> dict[str, VisibleValue]:
        """Return what the session shows of each shared key; see `Mirror.shown`."""
        memory, found = self._memory, {}
        for key in state:
            value = self._value(key, state[key]) if memory.shares(key) else REFUSED
            in_room = memory.read(key) if key in memory.replica else ABSENT
            if value is not REFUSED and in_room is not REFUSED:
                found[key] = VisibleValue(values.deep_copy(value), in_room, self._why(key, in_room))
        return found

    def _value(self, key: str, value: Any) -> Any:
        widget = self._memory.widgets.get(key)
        if widget is not None:
            is_shown = widget.is_settable and self._memory.is_drawn(key)
            return widget.shared_or_refused(value) if is_shown else REFUSED
        if key.startswith(UNKEYED_PREFIX):
            return REFUSED
        try:
            values.encode(value, key=key)
        except ValueNotShareableError:
            return REFUSED
        return value

    def _why(self, key: str, in_room: Any) -> Literal["P2", "P4"] | None:
        if in_room is not ABSENT and self._memory.is_refused(key, in_room):
            return "P2"
        return "P4" if key in self._volatility else None
