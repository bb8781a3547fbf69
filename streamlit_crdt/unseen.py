"""Edits that came with a frame of the tab, or with what happened in another fragment, and that no script has seen.

A page sends what happens within one timer as one message, and if one of it belongs to a fragment, all of it asks for
that fragment's rerun alone. On a busy machine somebody's edit and a frame of the tab meet like that again and again.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any

from streamlit_crdt import _compat
from streamlit_crdt.message import Message
from streamlit_crdt.mirror import Mirror


def holds_unseen_edit(
    ctx: Any, message: Message, state: Mapping[str, Any], mirrors: Iterable[Mirror], rewritten: Container[str]
) -> bool:
    """Say whether `message`, with which fragments ran, holds an edit that needs a full run.

    What the browser still sends from before a value on its way to it is none (P1), and neither is what it has sent
    before: a value that never equals itself would ask for runs without end.

    Args:
        state: the session's state at the end of that run.
        mirrors: those of the rooms that the session is in.
        rewritten: keys of which it held an old value, in the place of which the one on its way stands again.
    """
    return any(
        message.is_new(widget)
        and key not in rewritten
        and not any(mirror.is_echo(key, state) for mirror in mirrors)
        for widget, key in _compat.unseen_widgets(ctx).items()
    )
