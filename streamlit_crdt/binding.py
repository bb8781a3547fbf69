"""One session in one room: the replica, its mirror in the session's state, its link to the tab, its way to the room."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import streamlit as st
from streamlit.errors import StreamlitAPIException

from streamlit_crdt import _compat
from streamlit_crdt.assets import build_id
from streamlit_crdt.channel import Frame, TabLink, read_report
from streamlit_crdt.door import Door
from streamlit_crdt.errors import FrameError, UpdateRefusedError, ValueNotShareableError, ViewOnlyError
from streamlit_crdt.identity import Part, draw_guest
from streamlit_crdt.message import CHANNEL_KEY_PREFIX, Message
from streamlit_crdt.mirror import Mirror
from streamlit_crdt.place import Place
from streamlit_crdt.replica import LOCAL, ROOM, Replica
from streamlit_crdt.room import Status
from streamlit_crdt.saving import Saving
from streamlit_crdt.selection import Selection
from streamlit_crdt.ticket import Ticket
from streamlit_crdt.widgets import REFUSED

_log = logging.getLogger("streamlit_crdt")

HOLD_S: Final = 3.0
"""How long a first run waits for a tab to reach a stand-alone server before it goes on with local values."""

_TAB_ERRORS: Final = {
    "mixed-content": "the page is served over https, so the browser refuses the room server's plain ws:// address; "
    "serve the app with  streamlit-crdt run app.py  or st.App(..., **crdt_app()), which use the page's own port.",
    "old-build": "a tab still runs an older build of the frontend; it asks its user to reload the page.",
    "refused": "the room server refused the tab's socket; its log and its /metrics say why.",
    "other-epoch": "the room was deleted while a tab was in it; the tab shows what was not saved and offers to reload.",
    "denied": "the room server takes a tab for a viewer's, though this session's role is editor.",
}


class Binding:
    """A session's membership in a room. Made by the first `crdt_sync` of the session for that room."""

    def __init__(self, room: str, place: Place) -> None:
        self.room = room
        self.place = place
        self.selection = Selection()
        self.part = Part("editor", draw_guest())
        self.door = Door(room, place)
        self.ticket = Ticket(room, place.keys)
        self._mounted_version = 0
        self._take_replica(Replica())
        self.mirror = Mirror(self.replica, lambda key: self.selection.shares(key))
        self.channel_fragment: str | None = None
        self.status_was_read = False
        self.saved_was_read = False
        self._badges = 0
        self._held_since: float | None = None
        self._rerun_owed = False
        self._explained: set[str] = set()
        self._was_elsewhere = False
        self._was_synced = False
        self._abandoned: Replica | None = None
        self._private_later: tuple[str, ...] = ()
        self._reported: set[str] = set()

    def select(self, selection: Selection, part: Part, *, again: bool) -> None:
        """Choose what is shared. What only a later call of a run names as private stays so at the top of the next."""
        self.part = self.part.joined(part) if again else part
        self.mirror.is_read_only = self.part.is_viewer
        if again:
            self._private_later = tuple({*self._private_later, *selection.private})
            self.selection = self.selection.joined(selection)
        else:
            self.selection = selection.joined(Selection(selection.keys, self._private_later))

    # -- the way to the room -------------------------------------------------------------------------------------

    def attach(self) -> None:
        """Join the room where it lives in this process, and take over what it holds."""
        peer = self.door.open(self._begin_anew)
        version = self.replica.version
        if peer is not None and version and not self.part.is_viewer:
            self.door.push(peer, self.replica.diff(), range(version + 1))
        self.drain()

    def _begin_anew(self) -> None:
        """Start from nothing: the room was deleted, and histories of two rooms are never merged."""
        unsaved = self.door.saving.unsaved_keys()
        _log.warning(
            "room %r was deleted and begun anew; this session begins anew in it%s",
            self.room,
            f", without its unsaved edits of {', '.join(map(repr, unsaved))}" if unsaved else "",
        )
        self._abandoned = self.replica
        self._take_replica(Replica())

    def _take_replica(self, replica: Replica) -> None:
        self.replica = replica
        self.link = TabLink(replica, build=build_id())
        self.door.saving = Saving()
        self._mounted_version = 0
        replica.subscribe(functools.partial(self._write_through, replica))

    def step_out(self) -> None:
        """Leave the room because the session is in another one now."""
        self.detach()
        self._was_elsewhere = True

    def detach(self) -> None:
        self.door.close()

    def drain(self) -> None:
        """Apply what others wrote into the room in this process."""
        peer, replica = self.door.peer, self.replica
        if peer is None or peer is not self.door.peer:
            return  # nor may what a deleted room left behind come into the replica that begins anew
        if update := peer.drain():
            try:
                replica.apply(update, origin=ROOM)
            except UpdateRefusedError:
                _log.exception("room %r sent an update that cannot be applied", self.room)

    def _write_through(self, replica: Replica, update: bytes, origin: str) -> None:
        peer, saving, version = (
            self.door.peer,
            self.door.saving,
            replica.version,
        )  # before the next line looks
        if replica is not self.replica or origin == ROOM:
            return
        if origin == LOCAL:
            saving.edited(version, replica.take_edited())
        if peer is not None and not self.part.is_viewer:
            self.door.push(peer, update, range(version, version + 1) if origin == LOCAL else range(0))

    @property
    def unsaved_count(self) -> int:
        """How many edits of this session are not saved; the run is shown a change of it as it is one of the status."""
        self.saved_was_read = True
        return self.door.saving.unsaved_count

    def flush(self, timeout_s: float) -> bool:
        """Wait until what this session wrote is saved; say whether it is."""
        return self.door.saving.wait(timeout_s)

    @property
    def synced(self) -> bool:
        """Whether the room's content has been here; before that nothing is written (rule R4).

        It stays so when a tab that reloads, or is mounted anew, has yet to find the room again.
        """
        self._was_synced = self._was_synced or self.door.peer is not None or self.link.synced
        return self._was_synced

    @property
    def status(self) -> Status:
        return "connected" if self.door.peer is not None else self.link.status

    # -- a run ---------------------------------------------------------------------------------------------------

    def begin_run(self, message: Message | None, *, remote: bool) -> list[str]:
        """Local first, then merge, then write remote values. Returns the keys that were written."""
        self.status_was_read = self.saved_was_read = False
        self._badges = 0
        if self._was_elsewhere:
            self._was_elsewhere = False
            self.mirror.start_over()
        if self._abandoned is not None:
            self._forget_values(self._abandoned)
            self._abandoned = None
        state = st.session_state.to_dict()
        self._report(self._push(state, message, remote=remote, at_top=True))
        self.drain()
        self.mirror.begin_run()
        return self._write_remote(state)

    def _forget_values(self, former: Replica) -> None:
        """Take the plain values of a deleted room out of the state, or they would come into the new one."""
        self.mirror.start_over(self.replica)
        for key in former:
            if key in st.session_state and key not in self.mirror.widgets and self.selection.shares(key):
                del st.session_state[key]

    def _write_remote(self, state: Mapping[str, Any]) -> list[str]:
        written = []
        for write in self.mirror.plan(state):
            try:
                if write.delete:
                    del st.session_state[write.key]
                else:
                    st.session_state[write.key] = write.value
            except StreamlitAPIException as error:
                self.mirror.cannot_write(write, error)
                continue
            self.mirror.wrote(write, state)
            if not write.put_back:
                written.append(write.key)
        return written

    def assign(self, key: str, value: Any) -> None:
        """Set one shared value; this session's script sees it from its next run on.

        Raises:
            ValueNotShareableError: the value has no shared form, or the key is private (rule P8).
            ViewOnlyError: the session may only look (rule A1).
        """
        self._check_may_write(key)
        if not self.selection.shares(key):
            raise ValueNotShareableError(type(value).__name__, "its key is private", key=key)
        self.replica.set(key, value)

    def remove(self, key: str) -> None:
        self._check_may_write(key)
        self.replica.delete(key)

    def _check_may_write(self, key: str) -> None:
        if self.part.is_viewer:
            raise ViewOnlyError(self.room, key)

    def push_now(self, message: Message | None, *, remote: bool) -> list[ValueNotShareableError]:
        """Push what the block assigned."""
        state = st.session_state.to_dict()
        self.mirror.check_drawn(state)
        return self._push(state, message, remote=remote)

    def _push(
        self, state: Mapping[str, Any], message: Message | None, *, remote: bool = False, at_top: bool = False
    ) -> list[ValueNotShareableError]:
        ctx = _compat.script_context()
        assigned = {key for key in state if ctx.session_state.is_new_state_value(key)}
        for key in _compat.widget_keys(ctx) - self.mirror.widgets.keys():
            self.mirror.exclude_key(key)  # a widget all the same, if one that its making did not tell us of
        return self.mirror.push(
            state, message, synced=self.synced, remote=remote, at_top=at_top, assigned=assigned
        )

    def end_run(
        self, ctx: Any, state: Mapping[str, Any], message: Message | None, *, complete: bool, remote: bool
    ) -> None:
        """Close a full run, however it ended."""
        self.mirror.check_drawn(state)
        self._report(self._push(state, message, remote=remote))
        self.mirror.end_run(complete=complete, remote=remote)
        self._request_runs(ctx)

    def end_fragment(self, ctx: Any, state: Mapping[str, Any], message: Message | None) -> None:
        """Push what a rerun of one of the app's own fragments changed."""
        self.mirror.check_drawn(state)
        self._report(self._push(state, message))
        if self.part.is_viewer and self.mirror.plan(state):
            self._rerun_owed = True  # only a full run puts back what was changed here
        self._request_runs(ctx)

    def _report(self, errors: list[ValueNotShareableError]) -> None:
        """Log each refusal once: the value is there at every run."""
        for error in errors:
            if (text := str(error)) not in self._reported:
                self._reported.add(text)
                _log.warning("%s", text)

    def _request_runs(self, ctx: Any) -> None:
        if self._rerun_owed:
            self._rerun_owed = False
            _compat.request_rerun(ctx, None)
        elif (
            self.door.peer is None and self.channel_fragment and self.replica.version > self._mounted_version
        ):
            _compat.request_rerun(ctx, self.channel_fragment)

    def replace_waiting(self, state: _compat.RawState, key: str, local: Any) -> None:
        """Put the value that a widget can show in the place of the one that waits for it."""
        if local is REFUSED:
            state.discard(key)
        else:
            state.replace(key, local)

    # -- the tab -------------------------------------------------------------------------------------------------

    @property
    def channel_key(self) -> str:
        return CHANNEL_KEY_PREFIX + self.room

    def count_badge(self) -> int:
        """Number the badges of this run, which tells them apart."""
        self._badges += 1
        return self._badges

    def holds(self) -> bool:
        """Say whether this first run should wait for the tab to bring the room's values (no flash of defaults)."""
        if self.synced or self.link.status == "offline" or not self.place.tab_brings_the_room:
            return False
        if self._held_since is None:
            self._held_since = time.monotonic()
        return time.monotonic() - self._held_since < HOLD_S

    def frame(self) -> bytes:
        """Return the next frame to the tab."""
        self._mounted_version = self.replica.version
        has_peer = self.door.peer is not None
        return self.link.frame(
            room=self.room,
            socket=self.place.socket(self.room),
            poll_s=self.place.poll_s,
            settle=False,
            confirm=self.mirror.deliveries if self.mirror.awaits_confirmation else None,
            own=[self.replica.replica_id],
            with_update=not (
                has_peer and self.link.status == "connected"
            ),  # else it hears of it from the room
            token=self.ticket.show(self.part),
            token_expires_in_s=self.ticket.expires_in_s,
            role=self.part.role,
            epoch=self.door.epoch,
            wants_saved=not has_peer,
            unsaved=self.door.saving.unsaved_count if has_peer else 0,
        )

    def receive(self, frame: Frame, message: Message | None) -> bool:
        """Apply a frame of the tab; return whether the script must run."""
        was = self.link.status, self.link.synced
        self._check_epoch(frame)
        self.drain()  # first, or what the room has already would be offered to it once more
        self.link.receive(self.without_edits(frame))
        self._explain(self.link.error)
        if self.link.report.why == "token":
            self.ticket.renew()
        newly_saved = self._note_saved(frame)
        missed = self.mirror.confirm(self.link.confirmed, message, st.session_state.to_dict())
        changed = (self.link.status, self.link.synced) != was
        if self._held_since is not None and (self.synced or self.link.status == "offline"):
            self._held_since = None
            return True
        if changed and (self.status_was_read or self.link.synced != was[1]) and self.door.peer is None:
            return True
        if newly_saved and self.saved_was_read:
            return True
        return missed or self.mirror.needs_run()

    def _check_epoch(self, frame: Frame) -> None:
        """Refuse a frame with the history of a room that was deleted since: two histories are never merged."""
        epoch = read_report(frame).epoch
        if epoch is not None and self.door.epoch not in (None, epoch):
            raise FrameError("it comes from before the room was deleted")
        self.door.epoch = self.door.epoch or epoch

    def _note_saved(self, frame: Frame) -> bool:
        """Take the tab's word for what is saved, where it is the only one who hears of it; return whether some is."""
        saving, before = self.door.saving, self.door.saving.unsaved_count
        if self.door.peer is None and frame.ack_of == self.replica.replica_id:
            saving.confirmed(min(read_report(frame).saved_v, frame.ack))
        return saving.unsaved_count != before

    def without_edits(self, frame: Frame) -> Frame:
        """Take from a viewer's frame what it would change, where the room comes from this process anyway (rule A1)."""
        if not self.part.is_viewer or self.place.tab_brings_the_room:
            return frame
        return replace(frame, update=b"")

    def _explain(self, error: str | None) -> None:
        if error is not None and error not in self._explained:
            self._explained.add(error)
            _log.warning("room %r: %s", self.room, _TAB_ERRORS.get(error, error))

    def owe_rerun(self) -> None:
        """Ask for a full run once the present one is over."""
        self._rerun_owed = True
