"""Session's end of the channel to its tab: acknowledgements and updates per frame. No I/O.

A frame may be lost, repeated or delayed, and session or tab may restart at any time. A frame therefore never carries
an increment that must arrive exactly once. It carries every update since the version that the peer acknowledged, and
names that version. The receiver detects a gap, and the sender sends again from the acknowledged version.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from streamlit_crdt.document.replica import TAB, Replica
from streamlit_crdt.errors import UpdateRefusedError
from streamlit_crdt.transport.frame import Frame, Status, StatusReport, encode_frame
from streamlit_crdt.transport.transfer import IncomingTransfer, OutgoingTransfer

PART_BYTES: Final = 1024 * 1024
"""Size in bytes of an update above which it is sent in parts of this size."""


class Channel:
    """Session's end of the channel. Applies the frames of the tab, and builds the next frame to it.

    A tab that reloads has a new replica id and no acknowledgements. A late frame of a former tab is merged like any
    other. The acknowledgement of the current tab then counts again from its next frame. Calls must not overlap.

    Attributes:
        id: id of this end in frames. It is not the present replica id, which a former session may have had: the tab
            would take its acknowledgements for this session's.
        tab_id: replica id of the tab that sent the last frame. None before the first.
        report: newest status report of that tab.
    """

    def __init__(self, replica: Replica, *, build: str = "", part_bytes: int = PART_BYTES) -> None:
        self.tab_id: int | None = None
        self.report = StatusReport()
        self.id = replica.birth_id
        self._replica = replica
        self._build = build
        self._part_bytes = part_bytes
        self._outgoing: OutgoingTransfer | None = None
        self._incoming = IncomingTransfer()
        self._acked_version = 0
        self._tab_vector: bytes | None = None
        self._has_tab_acked = False
        self._is_state_requested = False
        self._applied: dict[int, int] = {}

    @property
    def status(self) -> Status:
        """Status of the tab's socket."""
        return self.report.status

    @property
    def is_synced(self) -> bool:
        """True if the tab's document has been in sync with the room server."""
        return self.report.synced

    @property
    def is_settled(self) -> bool:
        """True if the tab has acknowledged the replica's current version."""
        return self.tab_id is not None and self._acked_version >= self._replica.version

    def receive(self, frame: Frame, report: StatusReport, *, has_update: bool = True) -> frozenset[str]:
        """Apply a frame, its acknowledgement and its report. Return the keys that it changed.

        Args:
            frame: the frame. Its update may be a part of one, which is applied when it is complete.
            report: the status report in the frame.
            has_update: False if the tab left the update out and the replica does not have it from elsewhere.

        Raises:
            FrameError, UpdateRefusedError: replica, acknowledgements and report are unchanged.
        """
        if frame.id == self.id:
            raise UpdateRefusedError("its origin is this replica")
        update = self._complete(frame) if has_update else None
        changed = frozenset[str]() if update is None else self._replica.apply(update, origin=TAB)
        if frame.id != self.tab_id:
            self._start_tab(frame.id)
        if report.n >= self.report.n:
            is_synced = report.synced if update is not None else self.report.synced
            self.report = replace(report, synced=is_synced)
        applied = self._applied.get(frame.id, 0)
        if update is not None and frame.since <= applied:
            self._applied[frame.id] = max(applied, frame.v)
            self._is_state_requested = False
        if frame.sv is not None:
            self._tab_vector = frame.sv
        self._has_tab_acked = frame.ack_of == self.id
        if self._has_tab_acked and frame.ack <= self._replica.version:
            self._acked_version = max(self._acked_version, frame.ack)
            self._replica.acknowledge(self._acked_version)
            self._report_transfer(frame)
        return changed

    def continue_with(self, replica: Replica) -> None:
        """Exchange the replica for one that has everything of the former one. The tab takes it for a new session."""
        self.id, self._replica = replica.birth_id, replica
        self._outgoing = None
        self._acked_version = 0
        self._has_tab_acked = False

    def request_state(self) -> None:
        """Ask the tab to send everything that the replica lacks, instead of everything since its last frame."""
        if self.tab_id is not None:
            self._applied[self.tab_id] = 0
            self._is_state_requested = True

    def _complete(self, frame: Frame) -> bytes | None:
        """Return the update of a frame, None while parts of it are missing. It is empty if it was received before."""
        if frame.part is None:
            return frame.update
        if frame.v <= self._applied.get(frame.id, 0):
            return b""
        return self._incoming.add((frame.id, frame.v, frame.since), frame.part, frame.update)

    def _report_transfer(self, frame: Frame) -> None:
        """End the transfer that the tab has acknowledged, or apply its progress."""
        if self._outgoing is None:
            return
        if self._acked_version >= self._outgoing.version:
            self._tab_vector = self._outgoing.state_vector
            self._outgoing = None
        else:
            self._outgoing.report(frame.got)

    def compose(self, *, with_update: bool = True, **extra: Any) -> Frame:
        """Return a frame with every update since the tab's last acknowledgement, a large one in parts.

        Without a new update, the frame has O(1) bytes (rule R7).

        Args:
            with_update: False leaves the update out, for a tab that receives it through its socket. Nothing counts
                as sent then.
            extra: other fields of the header.
        """
        replica = self._replica
        since, version, part, update = self._next_update(with_update)
        applied = 0 if self.tab_id is None else self._applied.get(self.tab_id, 0)
        return Frame(
            id=self.id,
            v=version,
            since=since,
            ack_of=self.tab_id,
            ack=applied,
            sv=None if self._has_tab_acked and not self._is_state_requested else replica.state_vector(),
            build=self._build,
            update=update,
            part=part,
            got=self._incoming.progress_of(self.tab_id),
            extra={"part_bytes": self._part_bytes, **extra},
        )

    def _next_update(self, with_update: bool) -> tuple[int, int, tuple[int, int] | None, bytes]:
        """Return `since`, `v`, `part` and the update of the next frame."""
        replica, since = self._replica, self._acked_version
        version = replica.version
        if not with_update:
            self._outgoing = None
            return version, version, None, b""
        if self._outgoing is None:
            update = replica.update_since(since)
            if update is None:
                since, update = 0, replica.diff(self._tab_vector)
            if len(update) <= self._part_bytes:
                return since if update else version, version, None, update
            self._outgoing = OutgoingTransfer(since, version, replica.state_vector(), update)
        outgoing = self._outgoing
        part, content = outgoing.next(self._part_bytes)
        return outgoing.since, outgoing.version, part, content

    def frame(self, *, with_update: bool = True, **extra: Any) -> bytes:
        """Return the bytes of `compose(...)`."""
        return encode_frame(self.compose(with_update=with_update, **extra))

    def _start_tab(self, tab_id: int) -> None:
        """Make `tab_id` the current tab, without a report and without acknowledgements."""
        if self.tab_id is not None:
            self._replica.reset_log()
            self._outgoing = None
        self.tab_id = tab_id
        self.report = StatusReport()
        self._acked_version = 0
        self._tab_vector = None
        self._has_tab_acked = self._is_state_requested = False
