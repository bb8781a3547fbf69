"""How somebody opens an app: which script, and what its page has before the first run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from streamlit.testing.v1 import AppTest

from streamlit_crdt import _compat


class Opening(TypedDict, total=False):
    """What an AppTest has before its first run.

    Attributes:
        args: for an app that is a function.
        kwargs: likewise.
        query_params: what stands behind the `?` of the address.
        session_state: what `st.session_state` holds at first.
        secrets: what `st.secrets` holds.
        user: what `st.user` holds (Streamlit 1.67 or newer).
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    query_params: Mapping[str, Any]
    session_state: Mapping[str, Any]
    secrets: Mapping[str, Any]
    user: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class App:
    """An app that can be opened.

    Attributes:
        script: a file, or a function whose body is the script.
        default_timeout: seconds that one run may take.
        opening: how it is opened where nothing else is said.
    """

    script: Path | Callable[..., Any]
    default_timeout: float
    opening: Opening

    def open(self, opening: Opening) -> AppTest:
        """Return a new page, which has not run yet.

        Raises:
            StreamlitTooOldError: a user is given, and this Streamlit's AppTest knows none.
        """
        given: dict[str, Any] = {**self.opening, **opening}
        page = self._page(given.get("args"), given.get("kwargs"))
        if "user" in given and not hasattr(page, "user"):
            _compat.require_streamlit((1, 67))
        for name in ("query_params", "secrets", "user"):
            if name in given:
                getattr(page, name).update(given[name])
        for key, value in given.get("session_state", {}).items():
            page.session_state[key] = value
        return page

    def _page(self, args: tuple[Any, ...] | None, kwargs: dict[str, Any] | None) -> AppTest:
        if not callable(self.script):
            return AppTest.from_file(self.script, default_timeout=self.default_timeout)
        return AppTest.from_function(
            self.script, default_timeout=self.default_timeout, args=args, kwargs=kwargs
        )
