"""Wrap Streamlit's functions, once per process.

Which Streamlit this is made for.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

import streamlit

from streamlit_crdt._compat import script_runs, widget_hooks
from streamlit_crdt._compat.hooks import Hooks
from streamlit_crdt.errors import StreamlitTooOldError

MIN_STREAMLIT: Final[tuple[int, int]] = (1, 65)


def require_streamlit(minimum: tuple[int, int] = MIN_STREAMLIT) -> None:
    """Raise `StreamlitTooOldError` below `minimum`, by default the floor that pyproject.toml names."""
    found = tuple(int(part) for part in streamlit.__version__.split(".")[:2] if part.isdigit())
    if len(found) == 2 and found < minimum:
        raise StreamlitTooOldError(streamlit.__version__, ".".join(map(str, minimum)))


_log = logging.getLogger("streamlit_crdt")

_WRAPPERS: Final[dict[str, Callable[[Hooks], None]]] = {
    "the identity of elements moved (_compute_element_id)": widget_hooks.wrap_identity,
    "the rules for session state moved (check_session_state_rules)": widget_hooks.wrap_rules,
    "the registration of widgets moved (SessionState.register_widget)": widget_hooks.wrap_register,
    "the making of forms moved (DeltaGenerator._block)": widget_hooks.wrap_block,
    "the beginning of a run moved (SessionState.on_script_will_rerun)": script_runs.wrap_begin,
    "the browser's message moved (SessionState.set_widgets_from_proto)": script_runs.wrap_message,
    "what a run leaves moved (SessionState.on_script_finished)": script_runs.wrap_finish,
    "the end of a run moved (exec_func_with_error_handling)": script_runs.wrap_end,
    "the request for a run moved (AppSession.request_rerun)": script_runs.wrap_request,
    "the queue to the page moved (AppSession._clear_queue)": script_runs.wrap_queue,
    "the start of a script's thread moved (AppSession._create_scriptrunner)": script_runs.wrap_runner,
}
"""What is wrapped, by what is said where it is missing."""

_lock = threading.Lock()
_installed = False


def install(hooks: Hooks) -> None:
    """Wrap Streamlit's functions, once per process; warn once where one is missing."""
    global _installed
    with _lock:
        if _installed:
            return
        _installed = True
    missing = [name for name, wrap in _WRAPPERS.items() if not _try(wrap, hooks)]
    if missing:
        _log.warning(
            "streamlit-crdt does not know Streamlit %s well enough: %s. Widgets without a key may not be shared, and "
            "values may travel one run late. Install a version of streamlit-crdt made for it.",
            streamlit.__version__,
            "; ".join(missing),
        )


def _try(wrap: Callable[[Hooks], None], hooks: Hooks) -> bool:
    try:
        wrap(hooks)
    except (ImportError, AttributeError):
        return False
    return True
