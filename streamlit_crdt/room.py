"""A room as the script sees it."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from streamlit_crdt.replica import Replica

Status = Literal["connecting", "connected", "offline"]


class Membership(Protocol):
    """What a room needs of the session that is in it."""

    replica: Replica

    @property
    def status(self) -> Status: ...

    def write(self, key: str, value: Any) -> None: ...

    def remove(self, key: str) -> None: ...

    def leave(self, error: BaseException | None) -> None: ...


class SharedState(MutableMapping[str, Any]):
    """The shared values of a room by key: what everybody has, private keys left out.

    Values are copies: assign to share a change. Raises `ValueNotShareableError` on assignment of what cannot be shared,
    `ValueUnreadableError` on reading what this Python cannot represent, `KeyError` for an absent key.
    """

    def __init__(self, membership: Membership) -> None:
        self._membership = membership

    def __getitem__(self, key: str) -> Any:
        return self._membership.replica.get(key)

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


class Room:
    """A room that this session is in; also a context manager, which shares the widgets of its block.

    Leaving the block pushes what it assigned, also when it ends by `st.stop()`, `st.rerun()` or an error.
    """

    def __init__(self, name: str | None, membership: Membership) -> None:
        self.name = name
        self._membership = membership
        self.state = SharedState(membership)

    @property
    def status(self) -> Status:
        """Whether edits reach the others now: "connecting", "connected" or "offline".

        Offline, the script goes on with local values and what is edited merges when the room is back.
        """
        return self._membership.status

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._membership.leave(error)

    def __repr__(self) -> str:
        return f"Room({self.name!r})"
