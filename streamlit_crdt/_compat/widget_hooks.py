"""The wrapped functions that a widget passes while it is made.

In which form a widget stands, and whether that form is cleared when it is submitted.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from streamlit.runtime.scriptrunner import get_script_run_ctx

from streamlit_crdt._compat.hooks import Hooks, guarded
from streamlit_crdt._compat.run_context import page_name
from streamlit_crdt._compat.session_state import RawState, caller_argument


def wrap_block(hooks: Hooks) -> None:
    """`DeltaGenerator._block`: every form is made by it, `st.form` as well as a column's (1.65+).

    What a form does when it is submitted is told to the page only; the form's own object knows no more than its id.
    """
    from streamlit.delta_generator import DeltaGenerator

    native = DeltaGenerator._block

    @functools.wraps(native)
    def block(self: Any, block_proto: Any = None, *arguments: Any, **options: Any) -> Any:
        ctx = get_script_run_ctx(suppress_warning=True)
        if ctx is not None and block_proto is not None and block_proto.WhichOneof("type") == "form":
            form = block_proto.form
            guarded(lambda: hooks.form_opened(ctx, form.form_id, clears=form.clear_on_submit))
        return native(self, block_proto, *arguments, **options)

    DeltaGenerator._block = block  # type: ignore[method-assign]


def form_of_caller() -> str:
    """Return the id of the form that the widget being identified stands in, "" outside of forms (1.65+).

    A keyed widget's identity does not hold it; the function that asks for the identity has the place of the widget.
    """
    try:
        from streamlit.elements.lib.form_utils import current_form_id
    except ImportError:
        return ""
    place = caller_argument("compute_and_register_element_id", "dg")
    return "" if place is None else current_form_id(place)


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
