"""`Room`, the public object of a room, and `SharedState`, its values by key."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, MutableMapping
from types import TracebackType
from typing import Any, Final, Literal, Self, overload

from streamlit_crdt.access.participant import Role
from streamlit_crdt.document.events import Event
from streamlit_crdt.room import room_file
from streamlit_crdt.room.membership import Membership
from streamlit_crdt.room.shared_types import (
    SharedCounter,
    SharedList,
    SharedMap,
    SharedRecords,
    SharedSet,
    SharedText,
)
from streamlit_crdt.room.shared_types.live_values import Change, live_value
from streamlit_crdt.room.snapshots import Snapshots
from streamlit_crdt.transport.frame import Status

_ABSENT: Final = object()


class SharedState(MutableMapping[str, Any]):
    """The shared values of a room by key, without private keys.

    Reading a dict, list or set returns a live one: its changes are shared, at any depth. Any other value, such as a
    DataFrame, is a copy: assign it again to share a change of it.

    Raises:
        SharedItemDeletedError: a live value was changed after its deletion.
        KeyError: the room has no value of this key.
        ValueNotShareableError: the assigned value cannot be shared, or its key is private.
        ValueUnreadableError: this version of Python or of the library cannot decode the value.
        ViewOnlyError: the role is "viewer" and a value was assigned or deleted.
    """

    def __init__(self, membership: Membership) -> None:
        self._membership = membership

    def __getitem__(self, key: str) -> Any:
        value = self._membership.replica.get(key, _ABSENT)
        if value is _ABSENT:
            raise KeyError(key)
        return live_value(key, value, self._writer_of(key))

    def _writer_of(self, key: str) -> Callable[[Change], None]:
        """Return the function that writes a change of a live value."""

        def write(change: Change) -> None:
            membership = self._membership
            value = membership.replica.get(key)
            membership.change(key, membership.rule(key, value), None, change)

        return write

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
    """A room that this session is in.

    As a context manager, a room shares the widgets of its block. The end of the block pushes the values that the block
    assigned, also after `st.stop()`, `st.rerun()` or an error.

    Attributes:
        name: the room's name, None outside of any room.
        state: the shared values by key.
    """

    def __init__(self, name: str | None, membership: Membership) -> None:
        self.name = name
        self._membership = membership
        self.state = SharedState(membership)

    @functools.cached_property
    def snapshots(self) -> Snapshots:
        """The named copies of the room."""
        return Snapshots(self._membership)

    @property
    def status(self) -> Status:
        """Connection to the room: "connecting", "connected" or "offline".

        While the room is offline, the script continues with local values. Its edits merge after the reconnect.
        """
        return self._membership.status

    @property
    def role(self) -> Role:
        """This session's role, "editor" or "viewer". The room server enforces it (rule A1)."""
        return self._membership.role

    @property
    def saved(self) -> bool:
        """True if every edit of this session is saved.

        With a store on disk, an edit is saved once it is committed: no crash of the app or the room server loses it
        (rule S5). With a store in memory, an edit is saved once the room has received it.

        Reading this property pushes the values that the script has assigned so far. Before the first sync nothing is
        pushed, so edits are unsaved. A session without edits counts as saved. Outside of any room the value is False.
        """
        return self.name is not None and self._membership.saved

    @property
    def unsaved_count(self) -> int:
        """Number of this session's unsaved edits. All edits of one run, or of one `with` block, count as one.

        Before the first sync, it is the number of edited keys.
        """
        return self._membership.unsaved_count

    def flush(self, timeout: float = 5.0) -> bool:
        """Push the values that the script has assigned so far, and wait until they are saved.

        Returns at once while the room is unreachable, and with a stand-alone server (`server=`): there, edits reach the
        server through the tab, which receives them only after this run.

        Args:
            timeout: seconds to wait at most.

        Returns:
            True if every edit of this session is saved.
        """
        return self._membership.flush(timeout) and self.name is not None

    def text(self, key: str) -> SharedText:
        """Return the text of `key`. Concurrent edits of it merge by character.

        This and the other shared types are views of a key, and the key needs no value yet. Every use raises
        `SharedTypeError` if the value has another type. A change raises `ValueNotShareableError` and `ViewOnlyError` as
        `room.state` does.
        """
        return SharedText(self._membership, key)

    def list(self, key: str) -> SharedList:
        """Return the list of `key`. Concurrent inserts are all kept."""
        return SharedList(self._membership, key)

    def records(self, key: str) -> SharedRecords:
        """Return the list of records of `key`. Each record has a stable id, and its fields merge one by one."""
        return SharedRecords(self._membership, key)

    def map(self, key: str) -> SharedMap:
        """Return the dict of `key`. Concurrent edits merge by entry."""
        return SharedMap(self._membership, key)

    def set(self, key: str) -> SharedSet:
        """Return the set of `key`. An addition wins over a concurrent removal."""
        return SharedSet(self._membership, key)

    def counter(self, key: str) -> SharedCounter:
        """Return the counter of `key`. Concurrent additions all count."""
        return SharedCounter(self._membership, key)

    @property
    def can_undo(self) -> bool:
        """True if this session has an edit to undo in this room."""
        return self._membership.replica.can_undo

    @property
    def can_redo(self) -> bool:
        """True if this session has undone an edit, and has made no edit since."""
        return self._membership.replica.can_redo

    def undo(self) -> None:
        """Undo the edits of this session's last run that made any. Later edits of other participants stay.

        As a callback it takes effect in the same run: `st.button("Undo", on_click=room.undo)`. In the body of the
        script it causes a rerun. Without an edit to undo it does nothing.
        """
        self._membership.undo_or_redo("undo")

    def redo(self) -> None:
        """Repeat the edits that were undone last. Takes effect as `undo` does."""
        self._membership.undo_or_redo("redo")

    def broadcast(self, name: str, payload: Any = None) -> None:
        """Send an event to every session that is in the room now, including this one. Each receives it once.

        Args:
            name: name of the event, for `events`.
            payload: any value that can be shared.

        Raises:
            ValueNotShareableError: the payload cannot be shared.
            ViewOnlyError: the role is "viewer" (rule A1).
        """
        self._membership.broadcast(name, payload)

    def events(self, name: str) -> Iterator[Event]:
        """Yield each event that was broadcast under `name` since this session entered the room, once.

        A new event reruns the scripts that call this method. A session receives no events from before it entered::

            for event in room.events("balloons"):
                st.balloons()
        """
        return self._membership.events(name)

    def button(self, label: str, *, key: str | None = None, **options: Any) -> bool:
        """Show a button whose click returns True in exactly one run of this session, even if runs are interrupted.

        A click of `st.button` is lost if a newer run, for example one caused by a remote edit, supersedes the click's
        run before the script reaches the button. If the script itself ends above the button, by `st.stop()` or an
        error, the click of `room.button` is dropped.

        Args:
            label: as in `st.button`.
            key: identifies the button. None uses the label.
            options: as in `st.button`: `on_click`, `args`, `kwargs`, `help`, `disabled`, `width`, …

        Returns:
            True in one run for each click.
        """
        return self._membership.button(label, key or label, options)

    @overload
    def export(self, format: Literal["json"] = "json") -> str: ...
    @overload
    def export(self, format: Literal["yjs"]) -> bytes: ...
    def export(self, format: Literal["json", "yjs"] = "json") -> str | bytes:
        """Return the room's values and snapshots as the content of a file.

        Args:
            format: "json" returns readable text. "yjs" returns the document as a Yjs update (version 1), which any Yjs
                program can apply.

        Raises:
            RoomNotLoadedError: the room is not synced yet.
            ValueUnreadableError: a value cannot be decoded here, so it cannot be written as JSON.
            ValueError: `format` has another value.
        """
        return room_file.export(self.name, self._membership, format)

    def load(self, data: room_file.Data) -> None:
        """Replace the room's values by those of a file that `export` wrote.

        This is one edit, as in `room.snapshots.restore`. Snapshots of the file are added, except those whose names the
        room already uses. Keys that are private to this session stay unchanged.

        Args:
            data: the file's content in either format, as str or bytes, or an open file, for example an upload.

        Raises:
            RoomFileError: the data is not such a file. The room is unchanged.
            RoomNotLoadedError: the room is not synced yet.
            ViewOnlyError: the role is "viewer" (rule A1).
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
        """Show a button that opens a menu to save, restore and delete snapshots, download the room and load a file.

        A viewer can open the menu and download the room.

        Args:
            label: as in `st.popover`.
            key: distinguishes several menus of one room. None uses the label.
            help: as in `st.popover`.
            disabled: as in `st.popover`.
            width: as in `st.popover`.
        """
        options = {"help": help, "disabled": disabled, "width": width}
        self._membership.show_snapshot_menu(self, label, key or label, options)

    def status_badge(self) -> None:
        """Show the save status of this session's edits. The tab updates it without a rerun.

        The badge shows one of: *Saved*, *Saving…*, *In memory only* (the server has the edits but no store on disk),
        *View only*, *Offline*, *Offline, n edits not saved yet*, *Connecting…*, *Connected* (the server does not report
        what it saves) or *Room deleted*. For edits that were rejected or not stored: *Not saved: the room is full*,
        *Not saved: the room rejected n edits* or *Not saved: the room's storage fails*.
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
