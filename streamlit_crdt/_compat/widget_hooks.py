"""Wrapped functions of widgets and forms: identity, rules for session state, registration."""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from streamlit.runtime.scriptrunner import get_script_run_ctx

from streamlit_crdt._compat.hooks import Hooks, guarded, log_failure
from streamlit_crdt._compat.run_context import current_hooks, fragment_id, page_name
from streamlit_crdt._compat.session_state import RawState


def wrap_block(hooks: Hooks) -> None:
    """Wrap `DeltaGenerator._block`, which creates every form, of `st` as well as of a column (1.65+).

    Only the browser gets `clear_on_submit`; the form's own object has just its id. Without it, a form that is cleared
    on submit counts as one that is not, and other sessions show what a session submitted (rule P7).
    """
    from streamlit.delta_generator import DeltaGenerator

    native = DeltaGenerator._block

    @functools.wraps(native)
    def block(self: Any, block_proto: Any = None, *arguments: Any, **options: Any) -> Any:
        if block_proto is not None and block_proto.WhichOneof("type") == "form":
            run, form = current_hooks(hooks), block_proto.form
            if run is not None:
                guarded(run.form_opened, form.form_id, clears=form.clear_on_submit)
        return native(self, block_proto, *arguments, **options)

    DeltaGenerator._block = block  # type: ignore[method-assign]


def form_of_caller() -> str:
    """Return the id of the form around the widget that is being identified, "" outside of forms (1.65+).

    The identity of a keyed widget does not contain it. The calling function has the widget's container as `dg`.
    """
    try:
        from streamlit.elements.lib.form_utils import current_form_id
    except ImportError:
        return ""
    container = caller_argument("compute_and_register_element_id", "dg")
    return "" if container is None else current_form_id(container)


def caller_argument(function: str, name: str) -> Any:
    """Return the local variable `name` of the nearest calling function named `function`; None without one.

    The wrapped functions get no argument with the type of `st.text_input(type="password")`, or with the form around a
    keyed widget (checked on 1.65 and 1.67).
    """
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == function:
            return frame.f_locals.get(name)
        frame = frame.f_back  # type: ignore[assignment]
    return None


def wrap_identity(hooks: Hooks) -> None:
    """Wrap `_compute_element_id`, which every widget calls, with a key or without (1.51 to 1.67).

    Without it, widgets without a key are not shared, and a widget in two rooms is one widget for the browser.
    """
    from streamlit.elements.lib import utils

    native = utils._compute_element_id

    @functools.wraps(native)
    def compute(element_type: str, user_key: str | None = None, **arguments: Any) -> str:
        element_id = native(element_type, user_key, **arguments)
        widget = None
        try:
            run = current_hooks(hooks)
            if run is not None:
                native_hash = functools.partial(stable_hash, element_type, arguments)
                widget = run.identify_widget(element_type, user_key, arguments, form_of_caller(), native_hash)
        except Exception:
            log_failure()
        if widget is None:
            return element_id
        if user_key is None:
            element_id = f"{element_id.removesuffix('None')}{widget.key}"
        return _scoped(element_id, widget.scope)

    def stable_hash(element_type: str, arguments: Mapping[str, Any]) -> str:
        ctx = get_script_run_ctx(suppress_warning=True)
        page = page_name(ctx, str(arguments.get("active_script_hash", "")))
        stable = native(element_type, None, **{**arguments, "active_script_hash": page})
        return stable.split("-")[1]

    utils._compute_element_id = compute


def _scoped(element_id: str, scope: str | None) -> str:
    """Return an id that differs between rooms. The browser keeps the value of a widget while its id is the same.

    An id consists of a prefix, a hash and the key; the browser parses the key.
    """
    prefix, dash, rest = element_id.partition("-")
    native, _, _ = rest.partition("-")
    if scope is None or not dash:
        return element_id
    digest = hashlib.blake2b(f"{native} {scope}".encode(), digest_size=16).hexdigest()
    return f"{prefix}-{digest}{rest.removeprefix(native)}"


def wrap_rules(hooks: Hooks) -> None:
    """Wrap `check_session_state_rules`, which refuses or reports values that this library wrote (1.65+).

    Without it, a shared widget with a default shows Streamlit's warning about a default beside a value, and a button
    with a value in the room raises.
    """
    from streamlit.elements.lib import policies

    native = policies.check_session_state_rules

    @functools.wraps(native)
    def check(default_value: Any, key: str | None, writes_allowed: bool = True) -> None:
        is_written = False
        try:
            run = None if key is None else current_hooks(hooks)
            if run is not None and key is not None:
                is_written = run.before_rules(key, fragment_id(), writes_allowed=writes_allowed)
        except Exception:
            log_failure()
        if is_written:
            if not writes_allowed:
                return
            default_value = None
        native(default_value, key, writes_allowed)

    policies.check_session_state_rules = check


def wrap_register(hooks: Hooks) -> None:
    """Wrap `SessionState.register_widget`, which has a widget's serializer and its value (1.65+).

    Without it, a widget's default counts as an edit, and a value that the widget cannot show makes the app fail.
    """
    from streamlit.runtime.state.session_state import SessionState

    native = SessionState.register_widget

    @functools.wraps(native)
    def register(self: Any, metadata: Any, user_key: str | None) -> Any:
        state = RawState(self)
        run = None if user_key is None else current_hooks(hooks)
        widget = None if run is None or user_key is None else run.widget(user_key)
        if widget is None:
            return native(self, metadata, user_key)
        was_assigned = user_key in self._new_session_state
        try:
            widget.before_register(state, metadata)
        except Exception:
            log_failure()
        is_assigned = user_key in self._new_session_state
        result = native(self, metadata, user_key)
        if result.value_changed and guarded(widget.withholds, result.value, assigned=was_assigned):
            result = replace(result, value_changed=False)
        try:
            widget.after_register(result.value, assigned=is_assigned)
        except Exception:
            log_failure()
        return result

    SessionState.register_widget = register  # type: ignore[method-assign]
