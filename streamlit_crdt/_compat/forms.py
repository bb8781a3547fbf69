"""In which form a widget stands, and whether that form is cleared when it is submitted."""

from __future__ import annotations

import functools
from typing import Any

from streamlit.runtime.scriptrunner import get_script_run_ctx

from streamlit_crdt._compat.hooks import Hooks, guarded
from streamlit_crdt._compat.widget_state import caller_argument


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
