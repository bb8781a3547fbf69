"""The wrapped functions with which a run takes the session's state and leaves it, one run after the other."""

from __future__ import annotations

import functools
import threading
from contextlib import ExitStack
from typing import Any, Final

from streamlit.runtime.scriptrunner import StopException, get_script_run_ctx

from streamlit_crdt._compat.browser_message import read_message, take_number, without
from streamlit_crdt._compat.hooks import Hooks, guarded

_present: Final = threading.local()
"""The turn that this thread's run has, see `wrap_begin`."""


def wrap_begin(hooks: Hooks) -> None:
    """`SessionState.on_script_will_rerun`: a run resets what was clicked and takes what the browser sent (1.65+).

    With fast reruns two runs of a session can be at it at the same moment. Then the older one would put its own,
    older message over the newer one, and with it the edit that the newer one is for. So they go one after the
    other, and one that was overtaken before its turn ends here, as at a yield point of Streamlit's own.

    Once it returns, callbacks have run and the script has not.
    """
    from streamlit.runtime.state.session_state import SessionState

    native = SessionState.on_script_will_rerun

    @functools.wraps(native)
    def begin(self: Any, *arguments: Any, **options: Any) -> None:
        with ExitStack() as turn:
            if _take_turn(hooks, turn) is False:
                raise StopException
            _present.turn = turn
            native(self, *arguments, **options)
        ctx = get_script_run_ctx(suppress_warning=True)
        if ctx is not None:
            guarded(lambda: hooks.run_begins(ctx))

    SessionState.on_script_will_rerun = begin  # type: ignore[method-assign]


def wrap_message(hooks: Hooks) -> None:
    """`SessionState.set_widgets_from_proto`: what the browser says each widget holds (1.65+)."""
    from streamlit.runtime.state.session_state import SessionState

    native = SessionState.set_widgets_from_proto

    @functools.wraps(native)
    def receive(self: Any, widget_states: Any) -> None:
        # First the hook: once it returns, no older run can write over what the browser sent.
        ctx = get_script_run_ctx(suppress_warning=True)
        number = take_number(widget_states)
        if ctx is not None:
            outdated = guarded(lambda: hooks.browser_message(ctx, *read_message(widget_states), number))
            widget_states = without(widget_states, outdated or frozenset())
        native(self, widget_states)
        turn = getattr(_present, "turn", None)
        if turn is not None:
            turn.close()  # callbacks come next, and may take long

    SessionState.set_widgets_from_proto = receive  # type: ignore[method-assign]


def wrap_finish(hooks: Hooks) -> None:
    """`SessionState.on_script_finished`: a run resets what was clicked, and drops widgets that were not drawn (1.65+).

    An older run that ends beside a newer one would do that to what the newer one has just been sent.
    """
    from streamlit.runtime.state.session_state import SessionState

    native = SessionState.on_script_finished

    @functools.wraps(native)
    def finish(self: Any, *arguments: Any, **options: Any) -> None:
        with ExitStack() as turn:
            if _take_turn(hooks, turn) is not False:
                native(self, *arguments, **options)

    SessionState.on_script_finished = finish  # type: ignore[method-assign]


def _take_turn(hooks: Hooks, turn: ExitStack) -> bool | None:
    """Keep the session's other runs from its state until `turn` is closed; False if a newer one has had it."""
    ctx = get_script_run_ctx(suppress_warning=True)
    return None if ctx is None else guarded(lambda: turn.enter_context(hooks.turn(ctx)))
