"""Turning a room into a state that was kept: an edit like any other, which merges and can be undone.

Only what differs is written, and through the rule under which it lies, so that it meets what others do at this moment
as an edit of a person would: of a text the differing part, of a counter the difference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from streamlit_crdt.errors import ValueUnreadableError
from streamlit_crdt.readable import Json, State, dump, entry_of, value_of
from streamlit_crdt.replica import Replica


def restore(replica: Replica, state: State, shares: Callable[[str], bool]) -> frozenset[str]:
    """Make `state` all that the room holds; return the keys whose value that changed.

    Args:
        shares: says of a key whether it is this session's to touch (P8); what is not stays as it is.

    Raises:
        ValueUnreadableError, ValueNotShareableError: a value of `state` can be no room's; nothing was changed.
    """
    shared = {key: entry for key, entry in state.items() if shares(key)}
    stored = replica.stored()
    wanted = {key: value_of(key, entry) for key, entry in shared.items() if not _holds(stored, key, entry)}
    with replica.transaction():
        gone = [key for key in replica if key not in shared and shares(key)]
        return frozenset(
            [key for key, value in wanted.items() if replica.turn_into(key, value)]
            + [key for key in gone if replica.delete(key)]
        )


def _holds(stored: Mapping[str, Any], key: str, entry: Json) -> bool:
    """Say whether the room has this very value; one that cannot be read here is another one."""
    try:
        return key in stored and dump({"": entry_of(key, stored[key])}) == dump({"": entry})
    except ValueUnreadableError:
        return False
