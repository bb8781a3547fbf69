"""App under test, and the settings of a page before its first run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from streamlit.testing.v1 import AppTest

from streamlit_crdt import _compat


class Opening(TypedDict, total=False):
    """Settings of a page before its first run.

    Attributes:
        args: positional arguments of an app that is a function.
        kwargs: keyword arguments of an app that is a function.
        query_params: query parameters of the page's address.
        session_state: initial content of `st.session_state`.
        secrets: content of `st.secrets`.
        user: content of `st.user` (Streamlit 1.67 or newer).
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    query_params: Mapping[str, Any]
    session_state: Mapping[str, Any]
    secrets: Mapping[str, Any]
    user: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class App:
    """An app under test.

    Attributes:
        script: a file, or a function whose body is the script.
        default_timeout: maximum seconds of one run.
        opening: default settings of each page.
    """

    script: Path | Callable[..., Any]
    default_timeout: float
    opening: Opening

    def open(self, opening: Opening) -> AppTest:
        """Return a new page that has not run yet.

        Raises:
            StreamlitTooOldError: `user` is given, and AppTest of the installed Streamlit does not support it.
        """
        merged: dict[str, Any] = {**self.opening, **opening}
        page = self._create_page(merged.get("args"), merged.get("kwargs"))
        if "user" in merged and not hasattr(page, "user"):
            _compat.require_streamlit((1, 67))
        for name in ("query_params", "secrets", "user"):
            if name in merged:
                getattr(page, name).update(merged[name])
        for key, value in merged.get("session_state", {}).items():
            page.session_state[key] = value
        return page

    def _create_page(self, args: tuple[Any, ...] | None, kwargs: dict[str, Any] | None) -> AppTest:
        if not callable(self.script):
            return AppTest.from_file(self.script, default_timeout=self.default_timeout)
        return AppTest.from_function(
            self.script, default_timeout=self.default_timeout, args=args, kwargs=kwargs
        )
