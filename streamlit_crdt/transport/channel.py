"""Session's end of the channel to its tab: acknowledgements and updates per frame. No I/O.

A frame may be lost, repeated or delayed, and session or tab may restart at any time. A frame therefore never carries
an increment that must arrive exactly once. It carries every update since the version that the peer acknowledged, and
names that version. The receiver detects a gap, and the sender sends again from the acknowledged version.
"""

from __future__ import annotations

from typing import Any

from streamlit_crdt.document.replica import TAB, Replica
from streamlit_crdt.errors import UpdateRefusedError
from streamlit_crdt.transport.frame import Frame, Status, StatusReport, encode_frame


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

    def __init__(self, replica: Replica, *, build: str = "") -> None:
        self.tab_id: int | None = None
        self.report = StatusReport()
        self.id = replica.birth_id
        self._replica = replica
        self._build = build
        self._acked_version = 0
        self._tab_vector: bytes | None = None
        self._has_tab_acked = False
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

    def receive(self, frame: Frame, report: StatusReport) -> frozenset[str]:
        """Apply a frame, its acknowledgement and its report. Return the keys that it changed.

        Raises:
            UpdateRefusedError: replica, acknowledgements and report are unchanged.
        """
        if frame.id == self.id:
            raise UpdateRefusedError("its origin is this replica")
        changed = self._replica.apply(frame.update, origin=TAB)
        if frame.id != self.tab_id:
            self._start_tab(frame.id)
        if report.n >= self.report.n:
            self.report = report
        applied = self._applied.get(frame.id, 0)
        if frame.since <= applied:
            self._applied[frame.id] = max(applied, frame.v)
        if frame.sv is not None:
            self._tab_vector = frame.sv
        self._has_tab_acked = frame.ack_of == self.id
        if self._has_tab_acked and frame.ack <= self._replica.version:
            self._acked_version = max(self._acked_version, frame.ack)
            self._replica.acknowledge(self._acked_version)
        return changed

    def compose(self, *, with_update: bool = True, **extra: Any) -> Frame:
        """Return a frame with every update since the tab's last acknowledgement.

        Without a new update, the frame has O(1) bytes (rule R7).

        Args:
            with_update: False leaves the update out, for a tab that receives it through its socket. Nothing counts
                as sent then.
            extra: other fields of the header.
        """
        replica, since = self._replica, self._acked_version
        version = replica.version
        update = replica.update_since(since) if with_update else b""
        if update is None:
            since, update = 0, replica.diff(self._tab_vector)
        elif not update:
            since = version
        applied = 0 if self.tab_id is None else self._applied.get(self.tab_id, 0)
        return Frame(
            id=self.id,
            v=version,
            since=since,
            ack_of=self.tab_id,
            ack=applied,
            sv=None if self._has_tab_acked else replica.state_vector(),
            build=self._build,
            update=update,
            extra=extra,
        )

    def frame(self, *, with_update: bool = True, **extra: Any) -> bytes:
        """Return the bytes of `compose(...)`."""
        return encode_frame(self.compose(with_update=with_update, **extra))

    def _start_tab(self, tab_id: int) -> None:
        """Make `tab_id` the current tab, without a report and without acknowledgements."""
        if self.tab_id is not None:
            self._replica.reset_log()
        self.tab_id = tab_id
        self.report = StatusReport()
        self._acked_version = 0
        self._tab_vector = None
        self._has_tab_acked = False
