"""Edits that came along with one of the library's own frames, and that the script has not seen.

A page sends what happens within one timer as one message, and if one of it belongs to a fragment, all of it asks for
that fragment's rerun alone. On a busy machine somebody's edit and a frame of the tab meet like that again and again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from streamlit_crdt import _compat
from streamlit_crdt.message import Message
from streamlit_crdt.mirror import Mirror


def holds_unseen_edit(
    ctx: Any, message: Message, state: Mapping[str, Any], mirrors: Iterable[Mirror]
) -> bool:
    """Say whether `message`, with which one of the library's fragments ran, holds an edit that needs a full run.

    What the browser still sends from before a value on its way to it is none (P1), and neither is what it has sent
    before: a value that never equals itself would ask for runs without end.

    Args:
        state: the session's state at the end of that run.
        mirrors: those of the rooms that the session is in.
    """
    return any(
        message.is_new(widget) and not any(mirror.is_echo(key, state) for mirror in mirrors)
        for widget, key in _compat.unseen_widgets(ctx).items()
    )
