"""Every private name of Streamlit that this library touches, and nothing else.

Why here: private names change without notice. Each entry says since when it looks like this (checked on 1.65 and
1.67) and what is lost without it. `install()` wraps eleven functions of Streamlit once per process; where one of them
is gone, the library says so in a single warning and goes on with what is left.

The wrapped functions never raise because of us: a fault on our side is logged with its traceback and Streamlit's own
function runs as if we were not there.

Nothing outside imports from the modules of this package, only from the package. Inside it, imports run one way:
`wrapping → runs, turns, widget_making → forms → hooks → widget_state`, `waking → hooks`, and
`runs, turns → browser_message, context → app_test`.
"""

from __future__ import annotations

from streamlit_crdt._compat.app_test import key_of_app_test, rerun_app_test, state_of_app_test
from streamlit_crdt._compat.install import install, require_streamlit
from streamlit_crdt._compat.launch import command_line, load_config, makes_its_own_app
from streamlit_crdt._compat.run_context import (
    fragment_id,
    fragments_of_run,
    is_app_test,
    is_superseded,
    request_rerun,
    run_identity,
    running_session_key,
    script_context,
    script_folder,
    session_key,
    state_lock,
)
from streamlit_crdt._compat.script_runs import request_fragment_rerun, watch_end
from streamlit_crdt._compat.session_state import (
    RawState,
    caller_argument,
    drop_values,
    first_message,
    unseen_widgets,
    widget_keys,
)

__all__ = [
    "RawState",
    "caller_argument",
    "command_line",
    "drop_values",
    "first_message",
    "fragment_id",
    "fragments_of_run",
    "install",
    "is_app_test",
    "is_superseded",
    "key_of_app_test",
    "load_config",
    "makes_its_own_app",
    "request_fragment_rerun",
    "request_rerun",
    "require_streamlit",
    "rerun_app_test",
    "run_identity",
    "running_session_key",
    "script_context",
    "script_folder",
    "session_key",
    "state_lock",
    "state_of_app_test",
    "unseen_widgets",
    "watch_end",
    "widget_keys",
]
