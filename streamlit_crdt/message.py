"""What a browser sent with a run: the value of each widget that it shows, and what was clicked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from streamlit_crdt.widgets import Widget

CHANNEL_KEY_PREFIX: Final = "crdt-channel:"
"""Keys of the library's own components; their triggers are not clicks."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message, compared with the one before it.

    Attributes:
        states: serialized value by widget id, all widgets that the browser shows.
        triggers: ids of the triggers that are set.
        previous: the states of the message before.
        is_timers: whether nobody has sent it: the timers of fragments did.
        changed: ids of the widgets for which the page may have sent it, where that is known (see `asking`): it can be
            for one that a timer's message has told of already.
    """

    states: Mapping[str, bytes]
    triggers: frozenset[str] = frozenset()
    previous: Mapping[str, bytes] = field(default_factory=dict)
    is_timers: bool = False
    changed: frozenset[str] | None = None

    def holds(self, widget: Widget | None) -> bool:
        """Say whether the browser shows `widget`."""
        return widget is not None and widget.element_id in self.states

    def is_new(self, element_id: str) -> bool:
        """Say whether the browser sent another value of this widget than in the message before."""
        return element_id in self.states and self.states[element_id] != self.previous.get(element_id)

    @property
    def has_news(self) -> bool:
        """Whether somebody has acted: a trigger is set, or a widget holds another value than in the message before."""
        return bool(self.triggers) or self.states != self.previous

    def only_explained_by(self, widget: Widget) -> bool:
        """Say whether nothing but `widget` can have caused this message: no trigger, no other change.

        A message without any change is `widget` moved back to where the browser last reported it. What a timer's
        message holds is no move: the page sends that for itself, and may have put a value over it meanwhile.
        """
        return not (self.triggers or self.is_timers or self._changed() - {widget.element_id})

    def _changed(self) -> frozenset[str]:
        if self.changed is not None:
            return self.changed
        ids = {*self.states, *self.previous}
        return frozenset(i for i in ids if self.states.get(i) != self.previous.get(i))
