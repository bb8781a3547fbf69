"""Hooks that the wrapped functions of Streamlit call, and their isolation from the app."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from streamlit_crdt._compat.run_context import RunContext
    from streamlit_crdt._compat.session_state import RawState

_log = logging.getLogger("streamlit_crdt")


class WidgetHooks(Protocol):
    """One call of a widget function, from its identity to its registration."""

    @property
    def key(self) -> str:
        """Key of the widget. A widget without a key gets a deterministic one."""

    @property
    def scope(self) -> str | None:
        """Part of the widget's identity that differs between rooms; None if the widget is not shared."""

    def before_register(self, state: RawState, metadata: Any) -> None:
        """Validate the value that session state has for the widget."""

    def withholds(self, value: Any, *, assigned: bool) -> bool:
        """Return whether the browser does not get the value of the widget (rule P7)."""

    def after_register(self, value: Any, *, assigned: bool) -> None:
        """Record the value that the widget shows."""


class RunHooks(Protocol):
    """One run of a session that is in a room, or was in one."""

    def identify_widget(
        self,
        element_type: str,
        key: str | None,
        arguments: Mapping[str, Any],
        form_id: str,
        native_hash: Callable[[], str],
    ) -> WidgetHooks | None:
        """Begin the call of a widget function; return None for a widget without a key that is not shared.

        Args:
            form_id: id of the form around the widget, "" outside of forms.
            native_hash: returns a hash of the widget's identity that is equal in every process.
        """

    def widget(self, key: str) -> WidgetHooks | None:
        """Return the call that `identify_widget` began for this key."""

    def before_rules(self, key: str, fragment: str | None, *, writes_allowed: bool) -> bool:
        """Return whether this library wrote the value that session state has for `key`.

        Args:
            fragment: id of the fragment that calls the widget function.
        """

    def form_opened(self, form_id: str, *, clears: bool) -> None:
        """Record a form, and whether it is cleared when it is submitted."""

    def take_turn(self, turn: ExitStack) -> bool:
        """Exclude the session's other runs from its state until `turn` closes.

        Returns:
            False if the run is superseded.
        """

    def client_state_received(
        self, states: Mapping[str, bytes], triggers: frozenset[str], number: int | None
    ) -> frozenset[str]:
        """Take the client state of this run, and the number of its request.

        Returns:
            Ids of the widgets whose value in the client state is older than the one in session state.
        """

    def run_begins(self) -> None:
        """Synchronize session state and room before fragments run. Callbacks have run, the script has not."""


class Hooks(Protocol):
    """Session side of the wrapped functions."""

    def find_run(self, context: RunContext) -> RunHooks | None:
        """Return the hooks of a run; None if its session is in no room."""

    def run_ended(self, context: RunContext, *, complete: bool, reruns: bool) -> None:
        """Push what the run assigned.

        Args:
            complete: whether it was a full run that no newer run stopped.
            reruns: whether another run follows at once.
        """

    def needs_whole_run(self, session_key: str, triggers: frozenset[str]) -> bool:
        """Return whether a trigger outside of the requested fragment is a click. Runs in the event loop's thread."""

    def requested(
        self,
        session_key: str,
        states: Mapping[str, bytes],
        *,
        fragment: str,
        triggers: frozenset[str],
        is_timers: bool,
    ) -> int | None:
        """Number a rerun request of the browser; None in an unknown session. Runs in the event loop's thread."""

    def is_known(self, session_key: str) -> bool:
        """Return whether a session is in a room, or was in one. Runs in the event loop's thread."""

    def output_dropped(self, session_key: str) -> None:
        """Record that the browser may lack elements of the last run. Runs in the event loop's thread."""


def guarded(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Return the result of a call. A failure of the library must not stop the app: it is logged, and None returned."""
    try:
        return call(*arguments, **options)
    except Exception:
        log_failure()
        return None


def log_failure() -> None:
    """Log the exception that is being handled. Wrapped functions that every widget calls catch it themselves."""
    _log.exception("streamlit-crdt failed beside a Streamlit call; the app goes on without it")
