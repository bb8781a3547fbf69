"""The wrapped functions that a widget passes while it is made."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from streamlit.runtime.scriptrunner import get_script_run_ctx

from streamlit_crdt._compat.context import page_name
from streamlit_crdt._compat.forms import form_of_caller
from streamlit_crdt._compat.hooks import Hooks, guarded
from streamlit_crdt._compat.widget_state import RawState


def wrap_identity(hooks: Hooks) -> None:
    """`_compute_element_id`: the one place that every widget with or without a key passes (1.51 to 1.67)."""
    from streamlit.elements.lib import utils

    native = utils._compute_element_id

    @functools.wraps(native)
    def compute(element_type: str, user_key: str | None = None, **arguments: Any) -> str:
        element_id = native(element_type, user_key, **arguments)
        ctx = get_script_run_ctx(suppress_warning=True)
        if ctx is None:
            return element_id
        if user_key is not None:
            guarded(lambda: hooks.see_identity(ctx, element_type, user_key, arguments, form_of_caller()))
            return _scoped(hooks, ctx, element_type, user_key, element_id)
        key = guarded(
            lambda: hooks.key_for(ctx, element_type, lambda: _stable_hash(ctx, element_type, arguments))
        )
        if key is None:
            return element_id
        guarded(lambda: hooks.see_identity(ctx, element_type, key, arguments, form_of_caller()))
        return _scoped(hooks, ctx, element_type, key, f"{element_id.removesuffix('None')}{key}")

    def _stable_hash(ctx: Any, element_type: str, arguments: Mapping[str, Any]) -> str:
        page = page_name(ctx, str(arguments.get("active_script_hash", "")))
        stable = native(element_type, None, **{**arguments, "active_script_hash": page})
        return stable.split("-")[1]

    utils._compute_element_id = compute


def _scoped(hooks: Hooks, ctx: Any, element_type: str, key: str, element_id: str) -> str:
    """Make a shared widget another one in each room: the page keeps what it shows for as long as it is the same one.

    An id is a prefix, a hash and the key; the page reads the key from it.
    """
    scope = guarded(lambda: hooks.scope_of(ctx, element_type, key))
    prefix, dash, rest = element_id.partition("-")
    native, _, _ = rest.partition("-")
    if scope is None or not dash:
        return element_id
    digest = hashlib.blake2b(f"{native} {scope}".encode(), digest_size=16).hexdigest()
    return f"{prefix}-{digest}{rest.removeprefix(native)}"


def wrap_rules(hooks: Hooks) -> None:
    """`check_session_state_rules`: refuses, or complains about, values that this library wrote (1.65+)."""
    from streamlit.elements.lib import policies

    native = policies.check_session_state_rules

    @functools.wraps(native)
    def check(default_value: Any, key: str | None, writes_allowed: bool = True) -> None:
        ctx = get_script_run_ctx(suppress_warning=True)
        if (
            ctx is not None
            and key is not None
            and guarded(lambda: hooks.before_rules(ctx, key, writes_allowed=writes_allowed))
        ):
            if not writes_allowed:
                return
            default_value = None
        native(default_value, key, writes_allowed)

    policies.check_session_state_rules = check


def wrap_register(hooks: Hooks) -> None:
    """`SessionState.register_widget`: the one place where a widget's kind and value are both known (1.65+)."""
    from streamlit.runtime.state.session_state import SessionState

    native = SessionState.register_widget

    @functools.wraps(native)
    def register(self: Any, metadata: Any, user_key: str | None) -> Any:
        ctx = get_script_run_ctx(suppress_warning=True)
        if ctx is None or user_key is None:
            return native(self, metadata, user_key)
        state = RawState(self)
        was_assigned = state.is_new(user_key)
        guarded(lambda: hooks.before_register(ctx, state, metadata, user_key))
        assigned = state.is_new(user_key)
        result = native(self, metadata, user_key)
        if result.value_changed and guarded(
            lambda: hooks.withholds(ctx, metadata, user_key, result.value, assigned=was_assigned)
        ):
            result = replace(result, value_changed=False)
        guarded(lambda: hooks.after_register(ctx, metadata, user_key, result.value, assigned))
        return result

    SessionState.register_widget = register  # type: ignore[method-assign]
