"""A session's tab, as the session knows it: what it is told in a frame, and what its frames say.

What a script has read of how much is saved, and whether a change of it is worth a run.

Only a change of what the script was told is: a script that showed "all is saved" need not hear of it once more (P4).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import streamlit as st

from streamlit_crdt.access.participant import Participant
from streamlit_crdt.access.room_context import CHANNEL_KEY_PREFIX
from streamlit_crdt.access.tab_token import TabToken
from streamlit_crdt.backend.backend import RoomBackend
from streamlit_crdt.binding import StateBinding
from streamlit_crdt.binding.widgets import ClientState
from streamlit_crdt.errors import FrameError
from streamlit_crdt.transport.channel import Frame, read_report
from streamlit_crdt.transport.connection import RoomConnection
from streamlit_crdt.transport.frame import Status
from streamlit_crdt.transport.unsaved_edits import UnsavedEdits


class SaveStatusObserver:
    """What one session's present run was told of what is saved."""

    def __init__(self, saving: Callable[[], UnsavedEdits], mirror: StateBinding) -> None:
        self._saving = saving
        self._mirror = mirror
        self._saved: bool | None = None
        self._count: int | None = None
        self._has_asked = False

    def begin_run(self, message: ClientState | None) -> None:
        """Forget what the former run was told.

        Args:
            message: what the browser sent with this run. If somebody has acted, that is its cause.
        """
        self._saved = self._count = None
        self._saving().is_echo = self._has_asked and not (message is not None and message.has_changes)
        self._has_asked = False

    def end_run(self) -> None:
        """Take what is edited from now on for somebody's own edit again, as in a fragment."""
        self._saving().is_echo = False

    def asked(self) -> None:
        """Note that the next run is asked for only because the script was told something else."""
        self._has_asked = True

    def count(self) -> int:
        """Tell the script how many edits are not saved."""
        self._count = self._now()
        return self._count

    def is_saved(self) -> bool:
        """Tell the script whether all are."""
        self._saved = self._now() == 0
        return self._saved

    def wants_run(self, by_cause_before: int) -> bool:
        """Say whether the script was told something else than what is so now, and a run is worth it.

        Args:
            by_cause_before: how many unsaved edits there were that are worth it (`UnsavedEdits.unsaved_by_cause`).
        """
        if self._saving().unsaved_by_cause == by_cause_before:
            return False
        now = self._now()
        return self._count not in (None, now) or self._saved not in (None, now == 0)

    def _now(self) -> int:
        return self._saving().unsaved_count + len(self._mirror.held_back)


_log = logging.getLogger("streamlit_crdt")

HOLD_S: Final = 3.0
"""How long a first run waits for a tab to reach a stand-alone server before it goes on with local values."""

_ERRORS: Final = {
    "mixed-content": "the page is served over https, so the browser refuses the room server's plain ws:// address; "
    "serve the app with  streamlit-crdt run app.py  or st.App(..., **crdt_app()), which use the page's own port.",
    "old-build": "a tab still runs an older build of the frontend; it asks its user to reload the page.",
    "refused": "the room server refused the tab's socket; its log and its /metrics say why.",
    "other-epoch": "the room was deleted while a tab was in it; the tab shows what was not saved and offers to reload.",
    "denied": "the room server takes a tab for a viewer's, though this session's role is editor.",
}


class TabConnection:
    """One tab in one room.

    Attributes:
        channel_fragment: the fragment in which the channel is mounted.
        status_was_read: whether the script has asked for the status, so that a change of it is worth a run.
        shown: what the script was told of what is saved; likewise.
        owes_frame: whether the tab waits for a frame that no run has drawn yet.
    """

    def __init__(
        self,
        place: RoomBackend,
        way: RoomConnection,
        mirror: StateBinding,
        part: Callable[[], Participant],
        has_news: Callable[[], bool] = lambda: False,
    ) -> None:
        self.ticket = TabToken(way.room, place.keys, session=way.door.session)
        self.channel_fragment: str | None = None
        self.status_was_read = False
        self.shown = SaveStatusObserver(lambda: way.door.saving, mirror)
        self._place = place
        self._way = way
        self._mirror = mirror
        self._part = part
        self._has_news = has_news
        self._badges = 0
        self._is_asked = False
        self.owes_frame = False
        self._held_since: float | None = None
        self._explained: set[str] = set()

    def begin_run(self, message: ClientState | None) -> None:
        """Forget what the former run has read and mounted."""
        self.status_was_read = False
        self.shown.begin_run(message)
        self._badges = 0

    @property
    def channel_key(self) -> str:
        return f"{CHANNEL_KEY_PREFIX}{self._way.room}{self._way.history}"

    def count_badge(self) -> int:
        """Number the badges of this run, which tells them apart."""
        self._badges += 1
        return self._badges

    def holds(self) -> bool:
        """Say whether this first run should wait for the tab to bring the room's values (no flash of defaults)."""
        way = self._way
        if way.synced or way.link.status == "offline" or not self._place.tab_brings_the_room:
            return False
        if self._held_since is None:
            self._held_since = time.monotonic()
        return time.monotonic() - self._held_since < HOLD_S

    def is_to_fetch(self) -> bool:
        """Say whether only the tab can bring the room what the session wrote, and was not asked to come for it yet."""
        asked, self._is_asked = self._is_asked, self._way.tab_is_behind
        return self._is_asked and not asked

    def owe_frame(self) -> None:
        """Note that the tab waits for a frame which the present run does not draw."""
        self.owes_frame = True

    def frame(self) -> bytes:
        """Return the next frame to the tab."""
        self._is_asked = self.owes_frame = False
        way, part = self._way, self._part()
        way.mounted()
        has_peer, is_deleted = way.door.peer is not None, way.is_deleted
        hears_from_room = has_peer and way.link.status == "connected"
        return way.link.frame(
            room=way.room,
            socket=None if is_deleted else self._place.socket(way.room),
            poll_s=None if is_deleted else self._place.poll_s,
            settle=False,
            confirm=self._mirror.deliveries if self._mirror.awaits_confirmation else None,
            own=[way.replica.replica_id],
            with_update=not hears_from_room,
            token=self.ticket.show(part),
            token_expires_in_s=self.ticket.expires_in_s,
            role=part.role,
            epoch=way.door.epoch,
            wants_saved=not (has_peer or is_deleted),
            unsaved=way.door.saving.unsaved_count if has_peer else 0,
            refused_edits=way.door.saving.refused_count,
            deleted=is_deleted,
        )

    def receive(self, frame: Frame, message: ClientState | None) -> bool:
        """Apply a frame of the tab; return whether the script must run."""
        way = self._way
        was = way.link.status, way.link.synced
        self._check_epoch(frame)
        way.drain()  # first, or what the room has already would be offered to it once more
        way.link.receive(self.without_edits(frame))
        self._explain(way.link.error)
        if way.link.error == "other-epoch":
            way.door.note_deleted()
        report, state = way.link.report, st.session_state.to_dict()
        self._mirror.note_drafts(report.drafts)
        self._mirror.note_unsubmitted(report.unsubmitted)
        self._mirror.take_overwritten(report.overwritten, state, synced=way.synced)
        if report.why == "token":
            self.ticket.renew()
        shows_other = self._note_saved(frame)
        missed = self._mirror.confirm(way.link.confirmed, message, state)
        if self._hold_ends() or self._shows_change(*was) or missed or self._mirror.needs_run():
            return True
        if self._has_news():
            return True
        if shows_other:
            self.shown.asked()
        return shows_other

    def without_edits(self, frame: Frame) -> Frame:
        """Take from a viewer's frame what it would change, where the room comes from this process anyway (rule A1)."""
        if not self._part().is_viewer or self._place.tab_brings_the_room:
            return frame
        return replace(frame, update=b"")

    def _check_epoch(self, frame: Frame) -> None:
        """Refuse a frame with the history of a room that was deleted since: two histories are never merged."""
        epoch, door = read_report(frame).epoch, self._way.door
        if epoch is not None and door.epoch not in (None, epoch):
            raise FrameError("it comes from before the room was deleted")
        door.epoch = door.epoch or epoch

    def _note_saved(self, frame: Frame) -> bool:
        """Take the tab's word for what is saved, where only it hears of that; say if the script shows else."""
        saving, before = self._way.door.saving, self._way.door.saving.unsaved_by_cause
        hears_of_it = self._way.door.peer is None and not self._way.is_deleted
        if hears_of_it and frame.ack_of == self._way.replica.replica_id:
            saving.confirmed(min(read_report(frame).saved_v, frame.ack))
        return self.shown.wants_run(before)

    def _hold_ends(self) -> bool:
        """Say whether the first run has waited long enough: the room is here, or cannot be."""
        if self._held_since is None or not (self._way.synced or self._way.link.status == "offline"):
            return False
        self._held_since = None
        return True

    def _shows_change(self, status: Status, synced: bool) -> bool:
        """Say whether the script shows, or depends on, what has changed since the tab had this status."""
        link = self._way.link
        changed = (link.status, link.synced) != (status, synced)
        return changed and (self.status_was_read or link.synced != synced) and self._way.door.peer is None

    def _explain(self, error: str | None) -> None:
        if error is not None and error not in self._explained:
            self._explained.add(error)
            _log.warning("room %r: %s", self._way.room, _ERRORS.get(error, error))
