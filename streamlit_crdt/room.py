"""A room as the script sees it."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from streamlit_crdt.identity import Role
from streamlit_crdt.replica import Replica

Status = Literal["connecting", "connected", "offline"]


class Membership(Protocol):
    """What a room needs of the session that is in it."""

    replica: Replica

    @property
    def status(self) -> Status: ...

    @property
    def role(self) -> Role: ...

    @property
    def saved(self) -> bool: ...

    @property
    def unsaved_count(self) -> int: ...

    def flush(self, timeout_s: float) -> bool: ...

    def show_badge(self) -> None: ...

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

    @property
    def role(self) -> Role:
        """What this session may do in the room: "editor", or "viewer", which the room server enforces (rule A1)."""
        return self._membership.role

    @property
    def saved(self) -> bool:
        """Whether every edit of this session is saved.

        Saved means committed to disk, where rooms are kept on disk: neither a crash of the app nor of the room server
        loses it (rule S5). In memory it means that the room has it. What the script has assigned so far counts; it is
        pushed for that; until the room's content is here nothing is pushed, and so it is not saved. A session that has
        edited nothing has nothing to lose, and counts as saved. In no room nothing is ever saved.
        """
        return self.name is not None and self._membership.saved

    @property
    def unsaved_count(self) -> int:
        """How many edits of this session are not saved; what was edited in one run, or block, counts as one.

        Until the room's content is here, it is the number of keys that were edited.
        """
        return self._membership.unsaved_count

    def flush(self, timeout: float = 5.0) -> bool:
        """Push what the script has assigned so far, wait until it is saved, and say whether it is.

        With a stand-alone server (`server=`) the edits travel through the tab, which hears of them only after this run:
        then it does not wait. Nor does it while the room cannot be reached.

        Args:
            timeout: seconds to wait.
        """
        return self._membership.flush(timeout) and self.name is not None

    def status_badge(self) -> None:
        """Show in words whether edits are saved, and update that in the page without running the script.

        *Saved*, *Saving…*, *In memory only* (the server has the edits and keeps no file of them), *View only*,
        *Offline*, *Offline, n edits not saved yet*, *Connecting…*, *Connected* (to a server that does not say what it
        has saved) or *Room deleted*. What was not taken or not stored is *Not saved: the room is full*, *Not saved: the
        room refused n edits* or *Not saved: the room's storage fails*.
        """
        self._membership.show_badge()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._membership.leave(error)

    def __repr__(self) -> str:
        return f"Room({self.name!r})"
