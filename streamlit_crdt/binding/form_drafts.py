"""The fields of forms: what stands in them is a draft until the form is submitted (P7).

The page keeps what somebody does in a form to itself, and sends it with the submit. Every other message repeats what
each field held at the last submit, or was given since. So a field is edited by a submit, and by code, and by nothing
else the browser sends.

A value that is written into a field while there is a draft in it would be shown, and the draft be submitted: that is
how Streamlit's page does it. So such a value is *withheld* from the page: the script sees it, the field goes on to
show what it would submit. In a form that is cleared when it is submitted, all values of others are withheld: its
fields are there to be filled in, not to show what was submitted last.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable
from typing import Any

from streamlit_crdt.binding.in_flight import InFlightValues
from streamlit_crdt.binding.key_state import KeyStates
from streamlit_crdt.binding.widgets import Widget
from streamlit_crdt.codec import values


class FormDrafts:
    """Which fields hold drafts, what the page shows in them instead of the room's value, and what was submitted."""

    def __init__(self, memory: KeyStates, deliveries: InFlightValues) -> None:
        self._memory = memory
        self._deliveries = deliveries
        self._drafts: set[str] = set()
        self._withheld: dict[str, Any] = {}
        self._submitted: set[str] = set()

    # -- what the page says --------------------------------------------------------------------------------------

    def note_drafts(self, element_ids: Iterable[str]) -> None:
        """Learn in which fields the page has drafts, by the ids of their elements."""
        self._drafts = set(element_ids)

    def submit(self, forms: Collection[str]) -> None:
        """Note that forms are submitted: with that their drafts are edits, and the page shows what it has sent."""
        if not forms:
            return
        for key, widget in self._memory.widgets.items():
            if widget.form is not None and widget.form.id in forms:
                self._submitted.add(key)
                self._drafts.discard(widget.element_id)

    def settle(self) -> None:
        """Note that what was submitted has been looked at."""
        for key in self._submitted:
            self._withheld.pop(key, None)
        self._submitted.clear()

    def outdated(self, states: Container[str]) -> frozenset[str]:
        """Return of which elements the browser's message holds an older value than the session has."""
        elements = (
            self._memory.widgets[key].element_id
            for key in self._withheld
            if key in self._memory.widgets and key not in self._submitted
        )
        return frozenset(element_id for element_id in elements if element_id in states)

    # -- edits ---------------------------------------------------------------------------------------------------

    def is_draft(self, key: str, assigned: Container[str]) -> bool:
        """Say whether what the state holds for `key` is no edit, because its form was not submitted.

        The page sends a draft early if a field's place in the page has changed meanwhile.
        """
        memory = self._memory
        widget = memory.widgets.get(key)
        is_field = widget is not None and widget.form is not None and key in memory.seen
        return is_field and key not in self._submitted and key not in assigned

    def is_cleared(self, key: str) -> bool:
        """Say whether what is submitted was begun on nothing, and takes the place of what was submitted before."""
        widget = self._memory.widgets.get(key)
        return widget is not None and widget.form is not None and widget.form.clears

    def begun_on(self, key: str) -> Any:
        """Return what the draft of a field was begun on; None if that is what was written last."""
        return self._withheld.get(key)

    # -- what is written -----------------------------------------------------------------------------------------

    def write(self, key: str) -> bool:
        """Note that a value is written for `key`; say whether it is to be withheld from the page."""
        widget = self._memory.widgets.get(key)
        if widget is None or not self._is_private(widget):
            self._withheld.pop(key, None)
            return False
        self._withhold(widget, self._memory.seen.get(key))
        return True

    def withholds(self, widget: Widget, value: Any, *, assigned: bool) -> bool:
        """See `Mirror.withholds`."""
        memory, key = self._memory, widget.key
        is_ours = key in memory.seen and (key in memory.written_now or not assigned)
        if (
            is_ours
            and self._is_private(widget)
            and values.equal(widget.shared_or_refused(value), memory.seen[key])
        ):
            self._withhold(widget, widget.shared_or_refused(widget.default_value()))
            return True
        self._withheld.pop(key, None)
        return False

    def is_owed(self, key: str) -> bool:
        """Say whether a value was withheld for a draft that is gone without a submit."""
        widget = self._memory.widgets.get(key)
        if key not in self._withheld or key in self._submitted or widget is None:
            return False
        return self._memory.is_drawn(key) and not self._is_private(widget)

    def forget(self, key: str) -> None:
        self._withheld.pop(key, None)
        self._submitted.discard(key)

    def start_over(self) -> None:
        self._withheld.clear()
        self._submitted.clear()

    def _is_private(self, widget: Widget) -> bool:
        if widget.form is None or widget.form.clears:
            return widget.form is not None
        # A draft is gone with its field, though the tab may not have said so yet.
        return widget.element_id in self._drafts and self._memory.is_drawn(widget.key)

    def _withhold(self, widget: Widget, shown: Any) -> None:
        self._withheld.setdefault(widget.key, values.deep_copy(shown))
        self._deliveries.drop(widget.key)
