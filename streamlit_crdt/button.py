"""`room.button`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from streamlit_crdt.session.room_session import PendingClicks


def button(clicks: PendingClicks, label: str, key: str, options: Mapping[str, Any]) -> bool:
    """Show a button, and say whether a click of it waits for this run."""
    options = dict(options)
    on_click = options.pop("on_click", None)
    args, kwargs = options.pop("args", None) or (), options.pop("kwargs", None) or {}

    def note() -> None:
        clicks.clicked(key)
        if callable(on_click):
            on_click(*args, **kwargs)

    st.button(label, key=key, on_click=note, **options)
    return clicks.take(key)
