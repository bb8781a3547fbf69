"""Connection of a session to its tab: status reports in, frames out."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import streamlit as st

from streamlit_crdt.access.room_context import CHANNEL_KEY_PREFIX
from streamlit_crdt.access.tab_token import TabToken
from streamlit_crdt.backend.backend import RoomBackend
from streamlit_crdt.binding import in_flight, local_edits
from streamlit_crdt.binding.binding import StateBinding
from streamlit_crdt.binding.widgets import ClientState
from streamlit_crdt.transport.connection import RoomConnection
from streamlit_crdt.transport.frame import Frame, Status, StatusReport

HOLD_S: Final = 3.0
"""Time in seconds that a first run waits for a tab to reach a remote server. Then it continues with local values."""

_ERRORS: Final = {
    "mixed-content": "the page is served over https, so the browser refuses the room server's plain ws:// address; "
    "serve the app with  streamlit-crdt run app.py  or st.App(..., **crdt_app()), which use the page's own port.",
    "old-build": "a tab still runs an older build of the frontend; it asks its user to reload the page.",
    "refused": "the room server refused the tab's socket; its log and its /metrics say why.",
    "other-epoch": "the room was deleted while a tab was in it; the tab lists its unsaved edits and offers to reload.",
    "rewritten": "the room was rewritten while nobody was in it; the session continues with its new document.",
    "denied": "the room server treats the tab as a viewer, but the role of this session is editor.",
}

_log = logging.getLogger("streamlit_crdt")


class SaveStatusObserver:
    """Save status as the script has read it in the current run.

    Only a change of a value that the script has read requests a run. A script that showed "saved" needs no run to
    show "saved" again (rule P4).
    """

    def __init__(self, connection: RoomConnection, binding: StateBinding) -> None:
        self._connection = connection
        self._binding = binding
        self._last_is_saved: bool | None = None
        self._last_count: int | None = None
        self._is_outdated = False
        self._has_requested_run = False

    def begin_run(self, client_state: ClientState | None) -> None:
        """Forget the values that the former run has read.

        Args:
            client_state: client state of this run. If it has changes, they caused the run, and not the save status.
        """
        self._last_is_saved = self._last_count = None
        is_status_run = self._has_requested_run and not (
            client_state is not None and client_state.has_changes
        )
        self._connection.unsaved.is_status_run = is_status_run
        self._has_requested_run = False

    def end_run(self) -> None:
        """Treat later edits, such as those of a fragment, as independent of the save status."""
        self._connection.unsaved.is_status_run = False

    def read_count(self) -> int:
        """Return the number of unsaved edits, and record that the script has read it."""
        self._last_count = self._count()
        return self._last_count

    def read_is_saved(self) -> bool:
        """Return whether every edit is saved, and record that the script has read it."""
        self._last_is_saved = self._count() == 0
        return self._last_is_saved

    def needs_run(self, count_before: int) -> bool:
        """Return whether a value that the script has read is outdated, other than by edits of status runs.

        Args:
            count_before: earlier value of `UnsavedEdits.count_outside_status_runs`.
        """
        if self._connection.unsaved.count_outside_status_runs == count_before:
            return False
        count = self._count()
        return self._last_count not in (None, count) or self._last_is_saved not in (None, count == 0)

    def compare(self, count_before: int) -> None:
        """Store the result of `needs_run` for `request_run`."""
        self._is_outdated = self.needs_run(count_before)

    def request_run(self) -> bool:
        """Return the result of the last `compare`. If it is true, the next run is a status run."""
        self._has_requested_run = self._has_requested_run or self._is_outdated
        return self._is_outdated

    def _count(self) -> int:
        with self._binding.locked() as keys:
            return self._connection.unsaved_count + len(keys.held_back())


class TabConnection:
    """Connection of a session to its tab, in one room.

    Attributes:
        token: token with which the tab enters the room.
        channel_fragment: id of the fragment in which the channel is mounted.
        status_read: the status that the script has read last. None if it has read none since its run began.
        save_status: save status as the script has read it.
        is_frame_due: whether the tab waits for a frame that no run has sent yet.
    """

    def __init__(self, backend: RoomBackend, connection: RoomConnection, binding: StateBinding) -> None:
        self.token = TabToken(connection.room, backend.keys, session=connection.session_id)
        self.channel_fragment: str | None = None
        self.status_read: Status | None = None
        self.save_status = SaveStatusObserver(connection, binding)
        self.is_frame_due = False
        self._backend = backend
        self._connection = connection
        self._binding = binding
        self._badge_count = 0
        self._is_fetch_requested = False
        self._held_since: float | None = None
        self._logged_errors: set[str] = set()

    def begin_run(self, client_state: ClientState | None) -> None:
        """Forget the values that the former run has read, and the badges that it mounted."""
        self.status_read = None
        self.save_status.begin_run(client_state)
        self._badge_count = 0

    @property
    def channel_key(self) -> str:
        return f"{CHANNEL_KEY_PREFIX}{self._connection.room}{self._connection.generation}"

    def next_badge_number(self) -> int:
        """Return a number for the key of the next badge of this run."""
        self._badge_count += 1
        return self._badge_count

    def should_hold(self) -> bool:
        """Return whether this first run waits for the tab to bring the room's values (no flash of defaults)."""
        if not self._backend.is_tab_only or self._is_room_settled():
            return False
        if self._held_since is None:
            self._held_since = time.monotonic()
        return time.monotonic() - self._held_since < HOLD_S

    def needs_fetch(self) -> bool:
        """Return whether the tab must fetch a frame with new edits, because only the tab reaches the room.

        True once only, until the next frame.
        """
        was_requested, self._is_fetch_requested = self._is_fetch_requested, self._connection.is_tab_behind
        return self._is_fetch_requested and not was_requested

    # -- frames to the tab -----------------------------------------------------------------------------------------

    def frame(self) -> bytes:
        """Return the next frame to the tab."""
        self._is_fetch_requested = self.is_frame_due = False
        connection, backend, binding = self._connection, self._backend, self._binding
        connection.mark_framed()
        with binding.locked() as keys:
            delivery = keys.pending_delivery
        participant, unsaved = binding.context.participant, connection.unsaved
        is_local, is_deleted = connection.is_local, connection.is_deleted
        wake_s = connection.wake_s
        gets_updates_by_socket = is_local and connection.channel.status != "offline"
        return connection.channel.frame(
            room=connection.room,
            socket=None if is_deleted else backend.socket_address(connection.room),
            poll_s=None if is_deleted else backend.poll_s,
            settle=False,
            confirm=delivery,
            own=[connection.replica.replica_id],
            with_update=not gets_updates_by_socket,
            token=self.token.issue(participant),
            token_expires_in_s=self.token.expires_in_s,
            role=participant.role,
            epoch=connection.epoch,
            wants_saved=not (is_local or is_deleted),
            in_room=is_local,
            unsaved=unsaved.count if is_local else 0,
            refused_edits=unsaved.rejected_count,
            deleted=is_deleted,
            **({} if wake_s is None else {"wake_s": wake_s}),
        )

    # -- frames from the tab ---------------------------------------------------------------------------------------

    def receive(self, frame: Frame, report: StatusReport, client_state: ClientState | None) -> bool:
        """Apply a frame of the tab and its report. Return whether the script must run.

        A changed save status is not part of the result; see `SaveStatusObserver.request_run`.

        Raises:
            FrameError, UpdateRefusedError: the replica is unchanged.
        """
        connection, binding = self._connection, self._binding
        was_synced = connection.channel.is_synced
        connection.accept_epoch(report.epoch)
        connection.drain()  # first: updates that the room already has are not pushed again
        connection.receive(self.without_viewer_update(frame), report)
        if frame.part is not None and self._held_since is not None:
            self._held_since = time.monotonic()  # the room is arriving
        newest, state = connection.channel.report, st.session_state.to_dict()
        self._apply_report(newest, state)
        self._mark_saved(frame, report)
        with binding.locked() as keys:
            is_incomplete = in_flight.confirm(keys, newest.confirmed, client_state, state)
        is_moved = newest.error == "rewritten"
        return (
            is_moved
            or self._end_hold()
            or self._is_status_outdated(was_synced)
            or is_incomplete
            or binding.needs_run()
        )

    def _apply_report(self, report: StatusReport, state: Mapping[str, Any]) -> None:
        self._log_error(report.error)
        if report.error == "other-epoch":
            self._connection.mark_deleted()
        elif report.error == "rewritten":
            self._connection.follow_rewrite(report.kept or 0)
        with self._binding.locked() as keys:
            keys.drafts.note_open(report.drafts)
            keys.unsubmitted_elements = set(report.unsubmitted)
            if self._connection.is_synced:
                local_edits.restore_overwritten(keys, report.overwritten, state)
        if report.why == "token":
            self.token.renew()

    def without_viewer_update(self, frame: Frame) -> Frame:
        """Return a viewer's frame without its update if the room's updates come from this process (rule A1)."""
        if not self._connection.is_read_only or self._backend.is_tab_only:
            return frame
        return replace(frame, update=b"", part=None)

    def _mark_saved(self, frame: Frame, report: StatusReport) -> None:
        """Apply the tab's save confirmation if only the tab receives it, and update the save status."""
        connection, unsaved = self._connection, self._connection.unsaved
        count_before = unsaved.count_outside_status_runs
        is_confirmed_by_tab = not (connection.is_local or connection.is_deleted or connection.is_moving)
        if is_confirmed_by_tab and frame.ack_of == connection.channel.id:
            unsaved.mark_saved(min(report.saved_v, frame.ack))
        self.save_status.compare(count_before)

    def _end_hold(self) -> bool:
        """End the hold of a first run if the room is settled. Return whether it ended."""
        if self._held_since is None or not self._is_room_settled():
            return False
        self._held_since = None
        return True

    def _is_room_settled(self) -> bool:
        """Return whether the room is synced, or the tab cannot reach it."""
        return self._connection.is_synced or self._connection.channel.status == "offline"

    def _is_status_outdated(self, was_synced: bool) -> bool:
        """Return whether the script has read a status that has changed, or waits for the sync that has ended."""
        connection = self._connection
        is_sync_over = connection.channel.is_synced != was_synced and not connection.is_local
        return is_sync_over or self.status_read not in (None, connection.status)

    def _log_error(self, error: str | None) -> None:
        """Log an error of the tab, each once."""
        if error is not None and error not in self._logged_errors:
            self._logged_errors.add(error)
            _log.warning("room %r: %s", self._connection.room, _ERRORS.get(error, error))
