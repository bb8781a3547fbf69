"""The forms of one session's page: which are cleared when they are submitted, and which button submits which."""

from __future__ import annotations

from collections.abc import Iterable

from streamlit_crdt.widgets import Form


class Forms:
    """What a session knows of its forms, from the runs that drew them.

    A message of the browser names the button that submitted a form, also where somebody pressed Enter in a field.
    """

    def __init__(self) -> None:
        self._forms: dict[str, Form] = {}
        self._buttons: dict[str, str] = {}
        self._drawn: set[str] = set()

    def opened(self, form_id: str, *, clears: bool) -> None:
        """Note that a script has made a form."""
        self._forms[form_id] = Form(form_id, clears)
        self._drawn.add(form_id)

    def get(self, form_id: str) -> Form | None:
        """Return a form by its id; None for "", which is outside of all forms."""
        return self._forms.get(form_id, Form(form_id)) if form_id else None

    def has_button(self, element_id: str, form_id: str) -> None:
        """Note that the button of this element id submits the form."""
        self._buttons[element_id] = form_id

    def submitted(self, triggers: Iterable[str]) -> frozenset[str]:
        """Return the ids of the forms that were submitted, of all that was clicked."""
        return frozenset(self._buttons[trigger] for trigger in triggers if trigger in self._buttons)

    def end_run(self) -> None:
        """Forget the forms that a complete run of the whole script has not drawn: their names may never end."""
        self._forms = {form_id: form for form_id, form in self._forms.items() if form_id in self._drawn}
        self._buttons = {
            button: form_id for button, form_id in self._buttons.items() if form_id in self._forms
        }
        self._drawn = set()
