"""`room.snapshot_menu`: a button that opens a menu of snapshots, with a file to download and one to load.

What is in it is drawn only while it is open: a script with a closed menu takes no longer for a hundred snapshots, and
is not run when somebody saves another one. All of its widgets have private keys, also inside of a room's block.

It is no fragment, which would run by itself. Tried in a browser, a fragment whose end asks for a run of the whole
script, as a restore does, broke the page now and then ("Bad delta path index").
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

from streamlit_crdt.access.room_context import PRIVATE_PREFIX
from streamlit_crdt.document.snapshots import Snapshot
from streamlit_crdt.errors import CrdtError, SnapshotMissingError
from streamlit_crdt.room.room import Room
from streamlit_crdt.room.room_file import MAX_FILE_BYTES
from streamlit_crdt.room.snapshots import MAX_NAME_CHARS

SHOWN_AT_ONCE: Final = 5
"""A list of more snapshots than this scrolls, so that what stands below it stays in sight."""

LIST_PX: Final = 340

_MARKDOWN: Final = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:&])")


def snapshot_menu(room: Room, label: str, key: str, options: Mapping[str, Any]) -> None:
    """Show the menu where the script stands; see `Room.snapshot_menu`."""
    menu = _Menu(room, key)
    popover = st.popover(
        label, icon=":material/bookmark:", key=menu.key("open"), on_change="rerun", **options
    )
    if not popover.open:
        menu.forget_said()
        return
    with popover:
        menu.draw()


class _Menu:
    """One menu of one room, as one run draws it."""

    def __init__(self, room: Room, key: str) -> None:
        self._room = room
        self._prefix = f"{PRIVATE_PREFIX}snapshots:{room.name}:{key}:"
        self._is_viewer = room.role == "viewer"

    def key(self, part: str) -> str:
        return self._prefix + part

    def draw(self) -> None:
        self._load_upload()
        self._draw_saving()
        self._draw_list()
        self._draw_said()
        self._draw_files()

    def forget_said(self) -> None:
        st.session_state.pop(self.key("said"), None)

    # -- what it shows -------------------------------------------------------------------------------------------

    def _draw_saving(self) -> None:
        if self._is_viewer:
            st.caption("You may look only: saving, restoring, deleting and loading are for editors.")
            return
        with (
            st.form(self.key("form"), clear_on_submit=True, border=False),
            st.container(horizontal=True, vertical_alignment="bottom"),
        ):
            st.text_input("Save as", key=self.key("name"), max_chars=MAX_NAME_CHARS, placeholder="Name")
            st.form_submit_button("Save", key=self.key("save"), on_click=self._save)

    def _draw_list(self) -> None:
        snapshots = list(self._room.snapshots)
        if not snapshots:
            st.caption("No snapshots yet.")
        with st.container(height=LIST_PX if len(snapshots) > SHOWN_AT_ONCE else "content", border=False):
            for snapshot in snapshots:
                self._draw_snapshot(snapshot)

    def _draw_snapshot(self, snapshot: Snapshot) -> None:
        name, is_viewer = snapshot.name, self._is_viewer
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            with st.container(gap=None):
                st.text(name)
                st.caption(f"{_plain(snapshot.who)} · {_moment(snapshot.when)}")
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
                help="Delete, for everybody",
                key=self.key(f"delete:{name}"),
                on_click=self._delete,
                args=(name,),
                disabled=is_viewer,
            )

    def _draw_said(self) -> None:
        """Show how the last action went."""
        said = st.session_state.get(self.key("said"))
        if said is not None:
            went_well, text = said
            (st.success if went_well else st.error)(_plain(text))

    def _draw_files(self) -> None:
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

    # -- what it does --------------------------------------------------------------------------------------------

    def _save(self) -> None:
        name = str(st.session_state.get(self.key("name")) or "").strip()
        self._attempt(lambda: self._room.snapshots.save(name), f"Saved {name}")

    def _restore(self, name: str) -> None:
        self._attempt(lambda: self._room.snapshots.restore(name), f"Restored {name}")

    def _delete(self, name: str) -> None:
        def delete() -> None:
            with suppress(SnapshotMissingError):  # somebody else was faster
                self._room.snapshots.delete(name)

        self._attempt(delete, f"Deleted {name}")

    def _load_upload(self) -> None:
        """Load what was uploaded, once, in whichever run comes to it first."""
        upload = st.session_state.get(self.key("upload"))
        if upload is None or st.session_state.get(self.key("loaded")) == upload.file_id:
            return
        st.session_state[self.key("loaded")] = upload.file_id
        self._attempt(lambda: self._room.load(upload.getvalue()), f"Loaded {upload.name}")

    def _attempt(self, action: Callable[[], object], done: str) -> None:
        try:
            action()
        except CrdtError as error:
            st.session_state[self.key("said")] = (False, str(error))
        else:
            st.session_state[self.key("said")] = (True, done)


def _plain(text: str) -> str:
    """Return a text that Markdown shows as it is."""
    return _MARKDOWN.sub(r"\\\1", text)


def _moment(when: datetime) -> str:
    local = when.astimezone(_zone())
    return f"{local.day} {local:%b %Y, %H:%M}"


def _zone() -> tzinfo | None:
    """Return the zone of whoever looks, as the browser says; the server's own if it does not."""
    try:
        return ZoneInfo(st.context.timezone) if st.context.timezone else None
    except (ZoneInfoNotFoundError, ValueError):
        return None
