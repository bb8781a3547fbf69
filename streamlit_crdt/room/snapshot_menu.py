"""`room.snapshot_menu`: a popover with the snapshots of a room, a download of the room and a file upload.

The content is rendered only while the menu is open. With a closed menu, a hundred snapshots cost a script run nothing,
and a new snapshot causes no rerun. All widgets have private keys, also inside a room's block.

The menu is not a fragment. In a browser, a fragment that ends with a request for a full run, as a restore does,
sometimes broke the page ("Bad delta path index").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

from streamlit_crdt.access.participant import MAX_CHARS
from streamlit_crdt.access.room_context import PRIVATE_PREFIX
from streamlit_crdt.document.snapshots import Snapshot
from streamlit_crdt.errors import CrdtError, SnapshotMissingError
from streamlit_crdt.room.plain_text import escape, printable
from streamlit_crdt.room.room import Room
from streamlit_crdt.room.room_file import MAX_FILE_BYTES
from streamlit_crdt.room.snapshots import MAX_NAME_CHARS, MAX_SNAPSHOTS, is_valid_name

MAX_VISIBLE_SNAPSHOTS: Final = 5
"""A longer list scrolls, so that the elements below it stay visible."""

LIST_HEIGHT_PX: Final = 340


def show_snapshot_menu(room: Room, label: str, key: str, options: Mapping[str, Any]) -> None:
    """Show the menu at the script's present position. See `Room.snapshot_menu`."""
    menu = _Menu(room, key)
    popover = st.popover(
        label, icon=":material/bookmark:", key=menu.key("open"), on_change="rerun", **options
    )
    if not popover.open:
        menu.clear_result()
        return
    with popover:
        menu.render()


class _Menu:
    """One menu of one room in one script run."""

    def __init__(self, room: Room, key: str) -> None:
        self._room = room
        self._prefix = f"{PRIVATE_PREFIX}snapshots:{room.name}:{key}:"
        self._is_viewer = room.role == "viewer"

    def key(self, name: str) -> str:
        return self._prefix + name

    def render(self) -> None:
        self._load_upload()
        self._render_form()
        self._render_list()
        self._render_result()
        self._render_files()

    def clear_result(self) -> None:
        st.session_state.pop(self.key("result"), None)

    # -- elements ------------------------------------------------------------------------------------------------

    def _render_form(self) -> None:
        if self._is_viewer:
            st.caption("View only: saving, restoring, deleting and loading need the role of an editor.")
            return
        with (
            st.form(self.key("form"), clear_on_submit=True, border=False),
            st.container(horizontal=True, vertical_alignment="bottom"),
        ):
            st.text_input("Save as", key=self.key("name"), max_chars=MAX_NAME_CHARS, placeholder="Name")
            st.form_submit_button("Save", key=self.key("save"), on_click=self._save)

    def _render_list(self) -> None:
        snapshots = [one for one in self._room.snapshots if is_valid_name(one.name)][:MAX_SNAPSHOTS]
        if not snapshots:
            st.caption("No snapshots yet.")
        is_scrolling = len(snapshots) > MAX_VISIBLE_SNAPSHOTS
        with st.container(height=LIST_HEIGHT_PX if is_scrolling else "content", border=False):
            for snapshot in snapshots:
                self._render_snapshot(snapshot)

    def _render_snapshot(self, snapshot: Snapshot) -> None:
        name, is_viewer = snapshot.name, self._is_viewer
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            with st.container(gap=None):
                st.text(printable(name))
                st.caption(f"{escape(snapshot.who[:MAX_CHARS])} · {_local_time(snapshot.when)}")
            st.button(
                "Restore",
                key=self.key(f"restore:{name}"),
                on_click=self._restore,
                args=(name,),
                disabled=is_viewer,
            )
            st.button(
                "",
                icon=":material/delete:",
                help="Delete for everyone",
                key=self.key(f"delete:{name}"),
                on_click=self._delete,
                args=(name,),
                disabled=is_viewer,
            )

    def _render_result(self) -> None:
        """Show the result of the last action."""
        result = st.session_state.get(self.key("result"))
        if result is not None:
            is_success, text = result
            (st.success if is_success else st.error)(escape(text))

    def _render_files(self) -> None:
        st.download_button(
            "Download",
            self._room.export,
            file_name=f"{self._room.name or 'room'}.json",
            mime="application/json",
            key=self.key("download"),
            on_click="ignore",
            icon=":material/download:",
            width="stretch",
        )
        st.file_uploader(
            "Load a file",
            type=["json", "yjs"],
            max_upload_size=MAX_FILE_BYTES // 1024**2,
            key=self.key("upload"),
            disabled=self._is_viewer,
        )

    # -- actions -------------------------------------------------------------------------------------------------

    def _save(self) -> None:
        name = str(st.session_state.get(self.key("name")) or "").strip()
        self._attempt(lambda: self._room.snapshots.save(name), f"Saved {name}")

    def _restore(self, name: str) -> None:
        self._attempt(lambda: self._room.snapshots.restore(name), f"Restored {name}")

    def _delete(self, name: str) -> None:
        def delete() -> None:
            with suppress(SnapshotMissingError):  # another participant has deleted it
                self._room.snapshots.delete(name)

        self._attempt(delete, f"Deleted {name}")

    def _load_upload(self) -> None:
        """Load the uploaded file once, in the first run after the upload."""
        upload = st.session_state.get(self.key("upload"))
        if upload is None or st.session_state.get(self.key("loaded")) == upload.file_id:
            return
        st.session_state[self.key("loaded")] = upload.file_id
        self._attempt(lambda: self._room.load(upload.getvalue()), f"Loaded {upload.name}")

    def _attempt(self, action: Callable[[], object], success: str) -> None:
        """Run `action`, and keep its outcome for `_render_result`."""
        try:
            action()
        except CrdtError as error:
            st.session_state[self.key("result")] = (False, str(error))
        else:
            st.session_state[self.key("result")] = (True, success)


def _local_time(when: datetime) -> str:
    local = when.astimezone(_browser_zone())
    return f"{local.day} {local:%b %Y, %H:%M}"


def _browser_zone() -> tzinfo | None:
    """Return the browser's time zone. None, if the browser does not report one, means the server's zone."""
    try:
        return ZoneInfo(st.context.timezone) if st.context.timezone else None
    except (ZoneInfoNotFoundError, ValueError):
        return None
