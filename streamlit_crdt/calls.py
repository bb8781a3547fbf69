"""What a session's widgets are called with: their kind and arguments, between the two places where they are made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamlit_crdt import _compat
from streamlit_crdt.forms import Forms
from streamlit_crdt.message import CHANNEL_KEY_PREFIX
from streamlit_crdt.widgets import JUDGED_BY, SETTABLE, SUBMIT_BUTTON, Widget


class Calls:
    """The calls of one session's widgets, by key. A widget's identity is computed first, then it is registered.

    Attributes:
        forms: the forms that its widgets stand in.
    """

    def __init__(self) -> None:
        self.forms = Forms()
        self._calls: dict[str, tuple[str, Mapping[str, Any], str]] = {}

    def note(self, key: str, kind: str, arguments: Mapping[str, Any], form_id: str = "") -> None:
        self._calls[key] = (kind, {name: arguments[name] for name in JUDGED_BY if name in arguments}, form_id)

    def forget(self, key: str) -> None:
        """Drop what is known of a widget's call once the widget is made; its next call comes with its own."""
        self._calls.pop(key, None)

    def widget(self, metadata: Any, key: str) -> Widget | None:
        """Describe the widget that is being registered, or None for the library's own."""
        kind, arguments, form_id = self._calls.get(key, ("", {}, ""))
        if not kind or key.startswith(CHANNEL_KEY_PREFIX):
            return None
        settable = kind in SETTABLE and not is_password(kind)
        if kind == SUBMIT_BUTTON:
            self.forms.has_button(metadata.id, form_id)
        return Widget(
            key,
            metadata.id,
            kind,
            settable,
            metadata.serializer,
            metadata.deserializer,
            arguments,
            self.forms.get(form_id),
        )


def is_password(kind: str) -> bool:
    """Say whether the widget that is being made hides what is typed; it is private by default (rule P8)."""
    return kind == "text_input" and _compat.caller_argument("_text_input", "type") == "password"
