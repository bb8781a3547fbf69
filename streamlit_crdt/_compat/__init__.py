"""Private names of Streamlit. No other package uses them.

Private names change without notice. Each entry states since when it exists in this form (checked on 1.65 and 1.67), and
what fails without it. `install()` wraps eleven functions of Streamlit, once per process. If one is missing, a single
warning names it, and the library continues with the rest.

A wrapped function never raises because of the library: a failure is logged with its traceback, and Streamlit's own
function runs.

Other packages import from this package, not from its modules. Inside, imports run one way:
`install → script_runs, widget_hooks → session_state → run_context → hooks`, and `app_test → run_context`.
"""

from __future__ import annotations

from streamlit_crdt._compat.app_test import key_of_app_test, rerun_app_test, state_of_app_test
from streamlit_crdt._compat.hooks import RunHooks, WidgetHooks
from streamlit_crdt._compat.install import install, require_streamlit
from streamlit_crdt._compat.launch import command_line, load_config, makes_its_own_app
from streamlit_crdt._compat.run_context import (
    RunContext,
    current_run,
    fragment_id,
    has_server,
    is_app_test,
    run_context_of,
    script_folder,
)
from streamlit_crdt._compat.script_runs import request_fragment_rerun, watch_end
from streamlit_crdt._compat.session_state import (
    RawState,
    assigned_keys,
    drop_values,
    first_client_state,
    unread_widgets,
    widget_keys,
)
from streamlit_crdt._compat.widget_hooks import caller_argument

__all__ = [
    "RawState",
    "RunContext",
    "RunHooks",
    "WidgetHooks",
    "assigned_keys",
    "caller_argument",
    "command_line",
    "current_run",
    "drop_values",
    "first_client_state",
    "fragment_id",
    "has_server",
    "install",
    "is_app_test",
    "key_of_app_test",
    "load_config",
    "makes_its_own_app",
    "request_fragment_rerun",
    "require_streamlit",
    "rerun_app_test",
    "run_context_of",
    "script_folder",
    "state_of_app_test",
    "unread_widgets",
    "watch_end",
    "widget_keys",
]
