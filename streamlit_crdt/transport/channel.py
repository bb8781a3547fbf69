"""The component's channel, on the session's side: who has seen what. No I/O.

A frame may be lost, repeated, delayed, or answered by a session or tab that began anew. It therefore never
holds an increment that has to arrive once: it carries everything since the version that the other side
acknowledged, and says from which version on, so that the receiver notices a gap and the sender sends again
from there.
"""

from __future__ import annotations

from typing import Any

from streamlit_crdt.document.replica import TAB, Replica
from streamlit_crdt.errors import UpdateRefusedError
from streamlit_crdt.transport.frame import (
    Frame,
    Status,
    StatusReport,
    decode_frame,
    encode_frame,
    read_report,
)

__all__ = ["Channel", "Frame", "StatusReport", "decode_frame", "encode_frame", "read_report"]


class Channel:
    """The session's end of the channel: applies the tab's frames, and builds the frame that the tab needs
    next.

    A tab that reloads is a new replica id, and starts from nothing. A frame of a former tab that comes late
    is merged like any other; the current tab is then asked to show its acknowledgement again. Calls must not
    overlap.

    Attributes:
        tab_id: the replica id of the tab that was heard last, None before the first.
        report: what that tab said of itself in its newest frame.
    """

    def __init__(self, replica: Replica, *, build: str = "") -> None:
        self.tab_id: int | None = None
        self.report = StatusReport()
        self._replica = replica
        self._build = build
        self._tab_acknowledged = 0
        self._tab_vector: bytes | None = None
        self._tab_knows_us = False
        self._applied: dict[int, int] = {}

    @property
    def status(self) -> Status:
        """The state of the tab's socket: "connecting", "connected" or "offline"."""
        return self.report.status

    @property
    def synced(self) -> bool:
        """Whether the tab's document has been in sync with the room server."""
        return self.report.synced

    @property
    def confirmed(self) -> int | None:
        """The delivery that the newest frame confirms, None if it confirms none."""
        return self.report.confirmed

    @property
    def error(self) -> str | None:
        """A word for what keeps the tab's socket from connecting."""
        return self.report.error

    @property
    def settled(self) -> bool:
        """Whether the tab has acknowledged everything of this session."""
        return self.tab_id is not None and self._tab_acknowledged >= self._replica.version

    def receive(self, frame: Frame) -> frozenset[str]:
        """Apply `frame` and note what it acknowledges and reports. Return the keys it changed.

        Raises:
            FrameError, UpdateRefusedError: replica, acknowledgements and report are as they were.
        """
        if frame.id == self._replica.replica_id:
            raise UpdateRefusedError("it came from this very replica")
        report = read_report(frame)
        changed = self._replica.apply(frame.update, origin=TAB)
        if frame.id != self.tab_id:
            self._meet(frame.id)
        if report.n >= self.report.n:
            self.report = report
        applied = self._applied.get(frame.id, 0)
        if frame.since <= applied:
            self._applied[frame.id] = max(applied, frame.v)
        if frame.sv is not None:
            self._tab_vector = frame.sv
        self._tab_knows_us = frame.ack_of == self._replica.replica_id
        if self._tab_knows_us and frame.ack <= self._replica.version:
            self._tab_acknowledged = max(self._tab_acknowledged, frame.ack)
            self._replica.acknowledge(self._tab_acknowledged)
        return changed

    def compose(self, *, with_update: bool = True, **extra: Any) -> Frame:
        """Return everything since the tab's last acknowledgement. With nothing new it is a few bytes long
        (R7).

        Args:
            with_update: False sends no update, for a tab that gets it on another way; nothing counts as sent.
            extra: the other fields of the header.
        """
        replica, since = self._replica, self._tab_acknowledged
        version = replica.version
        update = replica.update_since(since) if with_update else b""
        if update is None:
            since, update = 0, replica.diff(self._tab_vector)
        elif not update:
            since = version
        applied = 0 if self.tab_id is None else self._applied.get(self.tab_id, 0)
        return Frame(
            id=replica.replica_id,
            v=version,
            since=since,
            ack_of=self.tab_id,
            ack=applied,
            sv=None if self._tab_knows_us else replica.state_vector(),
            build=self._build,
            update=update,
            extra=extra,
        )

    def frame(self, *, with_update: bool = True, **extra: Any) -> bytes:
        """Return the bytes of `compose(...)`."""
        return encode_frame(self.compose(with_update=with_update, **extra))

    def _meet(self, tab: int) -> None:
        """Take `tab` for the other side: what it has, and what it says of itself, is unknown until it says
        so."""
        if self.tab_id is not None:
            self._replica.forget_log()
        self.tab_id = tab
        self.report = StatusReport()
        self._tab_acknowledged = 0
        self._tab_vector = None
        self._tab_knows_us = False
