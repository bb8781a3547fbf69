"""The shared form of what a widget shows, where a widget that cannot say is no error."""

from __future__ import annotations

from typing import Any

from streamlit_crdt.errors import ValueNotShareableError
from streamlit_crdt.widgets import REFUSED, Widget


def form_of(widget: Widget, value: Any) -> Any:
    """Return what travels for `value`, `REFUSED` if nothing does."""
    try:
        return widget.shared(value)
    except ValueNotShareableError:
        return REFUSED


def default_of(widget: Widget) -> Any:
    """Return what `widget` shows untouched; None where its own code cannot say."""
    try:
        return widget.deserialize(None)
    except Exception:
        return None  # as in `Widget.local`: an app's format function may raise anything
