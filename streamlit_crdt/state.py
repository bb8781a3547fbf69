"""`room.state`: the shared values by key."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any, Final

from streamlit_crdt.membership_protocol import Membership

_ABSENT: Final = object()


class SharedState(MutableMapping[str, Any]):
    """The shared values of a room by key: what everybody has, private keys left out.

    Values are copies: assign to share a change. Raises `ValueNotShareableError` on assignment of what cannot be shared,
    `ValueUnreadableError` on reading what this Python cannot represent, `KeyError` for an absent key.
    """

    def __init__(self, membership: Membership) -> None:
        self._membership = membership

    def __getitem__(self, key: str) -> Any:
        value = self._membership.replica.get(key, _ABSENT)
        if value is _ABSENT:
            raise KeyError(key)
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        self._membership.write(key, value)

    def __delitem__(self, key: str) -> None:
        if key not in self._membership.replica:
            raise KeyError(key)
        self._membership.remove(key)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._membership.replica.keys()))

    def __len__(self) -> int:
        return len(self._membership.replica.keys())

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key in self._membership.replica

    def __repr__(self) -> str:
        return f"SharedState({', '.join(self)})"
