"""A room as the script sees it.

`room.state`: the shared values by key.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from types import TracebackType
from typing import Any, Final, Literal, Self, overload

from streamlit_crdt.access.participant import Role
from streamlit_crdt.document.events import Event
from streamlit_crdt.room import room_file
from streamlit_crdt.room.membership import Membership
from streamlit_crdt.room.shared_types import SharedCounter, SharedList, SharedMap, SharedSet, SharedText
from streamlit_crdt.room.snapshots import Snapshots
from streamlit_crdt.transport.frame import Status

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


class Room:
    """A room that this session is in; also a context manager, which shares the widgets of its block.

    Leaving the block pushes what it assigned, also when it ends by `st.stop()`, `st.rerun()` or an error.
    """

    def __init__(self, name: str | None, membership: Membership) -> None:
        self.name = name
        self._membership = membership
        self.state = SharedState(membership)
        self.snapshots = Snapshots(membership)

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

    def text(self, key: str) -> SharedText:
        """Return the text of `key`, in which what several people write at once is kept.

        This and the other shared types are views: they can be made before there is a value. Using one raises
        `SharedTypeError` if the value is of another kind, changing it `ValueNotShareableError` and `ViewOnlyError` as
        `room.state` does.
        """
        return SharedText(self._membership, key)

    def list(self, key: str) -> SharedList:
        """Return the list of `key`, in which what several people put in at once is kept."""
        return SharedList(self._membership, key)

    def map(self, key: str) -> SharedMap:
        """Return the dict of `key`, which merges entry by entry."""
        return SharedMap(self._membership, key)

    def set(self, key: str) -> SharedSet:
        """Return the set of `key`, in which an addition wins over a removal at the same moment."""
        return SharedSet(self._membership, key)

    def counter(self, key: str) -> SharedCounter:
        """Return the counter of `key`, to which everybody's additions count."""
        return SharedCounter(self._membership, key)

    @property
    def can_undo(self) -> bool:
        """Whether this session has made an edit in this room that can be taken back."""
        return self._membership.replica.can_undo

    @property
    def can_redo(self) -> bool:
        """Whether this session has taken an edit back, and made none since."""
        return self._membership.replica.can_redo

    def undo(self) -> None:
        """Take back what this session's last run with an edit has edited; what others have done since stays.

        As a callback it takes effect in the same run: `st.button("Undo", on_click=room.undo)`. In the body of the
        script another run follows. With nothing to take back it does nothing.
        """
        self._membership.travel("undo")

    def redo(self) -> None:
        """Bring back what was undone last; likewise."""
        self._membership.travel("redo")

    def broadcast(self, name: str, payload: Any = None) -> None:
        """Tell everybody who is in the room now, this session as well, of something that happens once.

        Raises:
            ValueNotShareableError: the payload has no shared form.
            ViewOnlyError: the session may only look (rule A1).
        """
        self._membership.broadcast(name, payload)

    def events(self, name: str) -> Iterator[Event]:
        """Yield each event that was broadcast under `name` since this session came, once.

        A script that asks for events is run when one comes. Who joins later is not told of earlier ones::

            for event in room.events("balloons"):
                st.balloons()
        """
        return self._membership.events(name)

    def button(self, label: str, *, key: str | None = None, **options: Any) -> bool:
        """Show a button whose click is seen in exactly one run of this session, however often runs are interrupted.

        A click of `st.button` is lost if another run, such as one that a remote edit causes, takes the place of the
        click's run before the script has come to the button. If the script itself stops above the button, by
        `st.stop()` or an error, the click is over.

        Args:
            label: as of `st.button`.
            key: names the button; the label if None.
            options: as of `st.button`: `on_click`, `args`, `kwargs`, `help`, `disabled`, `width`, …
        """
        return self._membership.button(label, key or label, options)

    @overload
    def export(self, format: Literal["json"] = "json") -> str: ...
    @overload
    def export(self, format: Literal["yjs"]) -> bytes: ...
    def export(self, format: Literal["json", "yjs"] = "json") -> str | bytes:
        """Return the room's values and snapshots, to be kept as a file.

        Args:
            format: "json" is a text that people can read, "yjs" the whole document as a Yjs update (version 1), which
                any Yjs program can load.

        Raises:
            RoomNotLoadedError: the room's content is not here yet.
            ValueUnreadableError: a value of the room cannot be read here, and so not written as JSON.
            ValueError: the format is another word.
        """
        return room_file.export(self.name, self._membership, format)

    def load(self, data: room_file.Data) -> None:
        """Have the room hold the values of a file that `export` has written, and no others.

        It is one edit, as `room.snapshots.restore` is. Snapshots of the file come along, unless the room has one of the
        same name. Keys that are private to this session are left out.

        Args:
            data: the file's content in either format, as str or bytes, or an open file such as an upload.

        Raises:
            RoomFileError: it is no such file. The room is as it was.
            RoomNotLoadedError, ViewOnlyError: as `room.snapshots.save` does.
        """
        room_file.load(self.name, self._membership, data)

    def snapshot_menu(
        self,
        label: str = "Snapshots",
        *,
        key: str | None = None,
        help: str | None = None,
        disabled: bool = False,
        width: int | Literal["content", "stretch"] = "content",
    ) -> None:
        """Show a button that opens a menu: save, restore and delete snapshots, download the room, load a file.

        Viewers see it and can download.

        Args:
            label: as of `st.popover`.
            key: tells several menus of one room apart; the label if None.
            help: as of `st.popover`, as are `disabled` and `width`.
        """
        options = {"help": help, "disabled": disabled, "width": width}
        self._membership.show_snapshot_menu(self, label, key or label, options)

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
