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
        of_fragment: whether it asks for a rerun of fragments only.
    """

    states: Mapping[str, bytes]
    triggers: frozenset[str] = frozenset()
    previous: Mapping[str, bytes] = field(default_factory=dict)
    of_fragment: bool = False

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

        A message without any change may be `widget` moved back to where the browser last reported it; for a rerun of
        fragments it is rather the timer of one.
        """
        own = widget.element_id
        if self.triggers or (self.of_fragment and self.states.get(own) == self.previous.get(own)):
            return False
        ids = set(self.states) | set(self.previous)
        return all(self.states.get(i) == self.previous.get(i) for i in ids if i != own)
