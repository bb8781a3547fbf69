"""Installation of the wrapped functions, and the oldest supported Streamlit."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable
from typing import Final

import streamlit

from streamlit_crdt._compat import script_runs, widget_hooks
from streamlit_crdt._compat.hooks import Hooks
from streamlit_crdt.errors import StreamlitTooOldError

MIN_STREAMLIT: Final[tuple[int, int]] = (1, 65)


@functools.cache
def require_streamlit(minimum: tuple[int, int] = MIN_STREAMLIT) -> None:
    """Raise `StreamlitTooOldError` if Streamlit is older than `minimum`, by default the floor in pyproject.toml."""
    found = tuple(int(part) for part in streamlit.__version__.split(".")[:2] if part.isdigit())
    if len(found) == 2 and found < minimum:
        raise StreamlitTooOldError(streamlit.__version__, ".".join(map(str, minimum)))


_log = logging.getLogger("streamlit_crdt")

_WRAPPERS: Final[dict[str, Callable[[Hooks], None]]] = {
    "the identity of elements (_compute_element_id)": widget_hooks.wrap_identity,
    "the rules for session state (check_session_state_rules)": widget_hooks.wrap_rules,
    "the registration of widgets (SessionState.register_widget)": widget_hooks.wrap_register,
    "the creation of forms (DeltaGenerator._block)": widget_hooks.wrap_block,
    "the begin of a run (SessionState.on_script_will_rerun)": script_runs.wrap_begin,
    "the client state (SessionState.set_widgets_from_proto)": script_runs.wrap_message,
    "the reset after a run (SessionState.on_script_finished)": script_runs.wrap_finish,
    "the end of a run (exec_func_with_error_handling)": script_runs.wrap_end,
    "rerun requests (AppSession.request_rerun)": script_runs.wrap_request,
    "the queue to the browser (AppSession._clear_queue)": script_runs.wrap_queue,
    "the start of a script thread (AppSession._create_scriptrunner)": script_runs.wrap_runner,
}
"""The wrappers, by the text for the warning about a missing function."""

_lock = threading.Lock()
_is_installed = False


def install(hooks: Hooks) -> None:
    """Wrap Streamlit's functions, once per process. One warning names the functions that are missing."""
    global _is_installed
    with _lock:
        if _is_installed:
            return
        _is_installed = True
    missing = [name for name, wrap in _WRAPPERS.items() if not _try(wrap, hooks)]
    if missing:
        _log.warning(
            "Streamlit %s lacks internal functions that streamlit-crdt wraps: %s. Widgets without a key may not be "
            "shared, and values may arrive one run late. Install a version of streamlit-crdt that supports "
            "this Streamlit.",
            streamlit.__version__,
            "; ".join(missing),
        )


def _try(wrap: Callable[[Hooks], None], hooks: Hooks) -> bool:
    try:
        wrap(hooks)
    except (ImportError, AttributeError):
        return False
    return True
