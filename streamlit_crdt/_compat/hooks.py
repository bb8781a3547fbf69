"""What the session side does where Streamlit's functions are wrapped, and how its faults are kept out of the app."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from streamlit_crdt._compat.session_state import RawState

_log = logging.getLogger("streamlit_crdt")


class Hooks(Protocol):
    """What the session side does at the eleven places; see `hooks.py` beside this package."""

    def key_for(self, ctx: Any, element_type: str, native_hash: Callable[[], str]) -> str | None:
        """Name the key of an unkeyed widget, or None to leave it alone."""

    def form_opened(self, ctx: Any, form_id: str, *, clears: bool) -> None:
        """Remember that the script makes a form, and whether it is cleared when it is submitted."""

    def scope_of(self, ctx: Any, element_type: str, key: str) -> str | None:
        """Name what tells a shared widget from the same one in another room; None if it is not shared."""

    def see_identity(
        self, ctx: Any, element_type: str, key: str, arguments: Mapping[str, Any], form_id: str
    ) -> None:
        """Remember the arguments under which a keyed widget is about to be made, and the form that it is in."""

    def before_rules(self, ctx: Any, key: str, *, writes_allowed: bool) -> bool:
        """Say whether the value that waits for `key` was written by this library."""

    def before_register(self, ctx: Any, state: RawState, metadata: Any, key: str) -> None:
        """Check the value that waits for widget `key`."""

    def withholds(self, ctx: Any, metadata: Any, key: str, value: Any, *, assigned: bool) -> bool:
        """Say whether the page is not to be told of the value of widget `key`."""

    def after_register(self, ctx: Any, metadata: Any, key: str, value: Any, assigned: bool) -> None:
        """Learn what widget `key` shows."""

    def turn(self, ctx: Any) -> AbstractContextManager[bool]:
        """Keep the session's other runs from its state meanwhile; False if a newer one has had it already."""

    def browser_message(
        self, ctx: Any, states: Mapping[str, bytes], triggers: frozenset[str], number: int | None
    ) -> frozenset[str]:
        """Keep the widget states that the browser sent with this run, and the number of its request.

        Returns those that the session is not to take.
        """

    def run_begins(self, ctx: Any) -> None:
        """Bring state and room together where no `crdt_sync` will: callbacks have run, and a fragment comes next."""

    def run_ended(self, ctx: Any, *, complete: bool, reruns: bool) -> None:
        """Push what the run assigned; `complete` if it was a full run, `reruns` if another follows at once."""

    def needs_whole_run(self, session_id: str, triggers: frozenset[str]) -> bool:
        """Say whether a click is among these, which are not of the fragment asked for. In the event loop's thread."""

    def requested(self, session_id: str, states: Mapping[str, bytes], *, is_timers: bool) -> int | None:
        """Number a request of the page, if its session is known. In the event loop's thread."""

    def knows(self, session_id: str) -> bool:
        """Say whether a session is in a room, or was. In the event loop's thread."""

    def output_dropped(self, session_id: str) -> None:
        """Note that the page may lack what the last run drew. In the event loop's thread."""


def guarded(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception:
        # The outer edge between Streamlit and us: an app must not fail because sharing did.
        _log.exception("streamlit-crdt failed beside a Streamlit call; the app goes on without it")
        return None
