"""Frames and acknowledgements of a channel that loses, repeats and delays frames."""

from __future__ import annotations

import json
import os
import random
from typing import Any

import pytest

from streamlit_crdt.document.replica import ROOM, Replica
from streamlit_crdt.errors import FrameError, UpdateRefusedError
from streamlit_crdt.transport.channel import Channel
from streamlit_crdt.transport.frame import Frame, StatusReport, decode_frame, read_report
from streamlit_crdt_server.yjs.lib0 import encode_bytes


def make_pair() -> tuple[Replica, Channel, Replica, Channel]:
    """Return a session and a tab, each with its end of the channel. Both directions use the same protocol."""
    session, tab = Replica(), Replica()
    return session, Channel(session), tab, Channel(tab)


def deliver(sender: Channel, receiver: Channel) -> frozenset[str]:
    return receive(receiver, decode_frame(sender.frame()))


def receive(channel: Channel, frame: Frame) -> frozenset[str]:
    return channel.receive(frame, read_report(frame))


def status_of(channel: Channel) -> tuple[str, bool, int | None, str | None]:
    report = channel.report
    return channel.status, channel.is_synced, report.confirmed, report.error


@pytest.mark.parametrize(
    "extra", [{"why": "because"}, {"status": 1}, {"synced": 1}, {"confirmed": -1}, {"error": 5}, {"n": "1"}]
)
def test_N2_malformed_report_leaves_the_channel_unchanged(extra: dict[str, Any]) -> None:
    session, channel, tab, _ = make_pair()
    tab.set("a", 1)
    with pytest.raises(FrameError):
        receive(channel, Frame(id=tab.replica_id, v=1, update=tab.diff(), extra=extra))
    assert session.keys() == [] and channel.tab_id is None and channel.report == StatusReport()


def test_N2_rejected_update_leaves_the_channel_unchanged() -> None:
    _session, channel, tab, _ = make_pair()
    with pytest.raises(UpdateRefusedError):
        receive(channel, Frame(id=tab.replica_id, v=5, update=b"junk", extra={"synced": True}))
    assert channel.tab_id is None and not channel.is_synced and channel.compose().ack == 0


def test_channel_keeps_the_newest_report_and_ignores_an_older_one() -> None:
    _, channel, tab, _ = make_pair()
    extra = {"why": "status", "status": "connected", "synced": True, "confirmed": 3, "error": None, "n": 7}
    receive(channel, Frame(id=tab.replica_id, v=1, extra=extra))
    assert status_of(channel) == ("connected", True, 3, None)
    receive(channel, Frame(id=tab.replica_id, v=1, extra={**extra, "status": "offline", "n": 6}))
    assert channel.status == "connected"
    extra = {"status": "offline", "error": "mixed-content", "n": 8}
    receive(channel, Frame(id=tab.replica_id, v=1, extra=extra))
    assert status_of(channel) == ("offline", False, None, "mixed-content")


def test_first_frame_has_a_complete_update_and_a_state_vector() -> None:
    session, channel, _, _ = make_pair()
    session.set("a", 1)
    frame = channel.compose(room="planning")
    assert (frame.since, frame.v, frame.ack_of, frame.ack) == (0, 1, None, 0)
    assert frame.sv == session.state_vector() and frame.extra["room"] == "planning"


def test_R2_repeated_frame_changes_nothing() -> None:
    session, channel, _tab, tab_channel = make_pair()
    session.set("a", 1)
    frame = channel.compose()
    assert receive(tab_channel, frame) == {"a"}
    assert receive(tab_channel, frame) == frozenset()
    assert tab_channel.compose().ack == 1


def test_R3_next_frame_contains_the_update_of_a_lost_frame() -> None:
    session, channel, _tab, tab_channel = make_pair()
    session.set("a", 1)
    session.set("gone", 1)
    deliver(channel, tab_channel)
    deliver(tab_channel, channel)
    session.set("b", 1)
    channel.frame()
    session.delete("gone")
    channel.frame()
    session.set("c", 1)
    assert deliver(channel, tab_channel) == {"b", "c", "gone"}
    deliver(tab_channel, channel)
    assert channel.is_settled and channel.compose().update == b""


def test_R3_old_ack_does_not_revert_a_newer_ack() -> None:
    session, channel, _tab, tab_channel = make_pair()
    session.set("a", 1)
    deliver(channel, tab_channel)
    old = tab_channel.compose()
    session.set("b", 1)
    deliver(channel, tab_channel)
    deliver(tab_channel, channel)
    receive(channel, old)
    assert channel.is_settled and channel.compose().since == 2


def test_R3_S6_frame_after_a_gap_waits_and_is_not_acknowledged() -> None:
    session, channel, _tab, tab_channel = make_pair()
    session.set("a", 1)
    deliver(channel, tab_channel)
    deliver(tab_channel, channel)
    session.set("b", 1)
    late = channel.compose()
    assert late.since == 1
    reloaded = Replica()
    reloaded_channel = Channel(reloaded)
    assert receive(reloaded_channel, late) == frozenset()
    assert reloaded_channel.compose().ack == 0
    deliver(reloaded_channel, channel)
    assert deliver(channel, reloaded_channel) == {"a", "b"}
    deliver(reloaded_channel, channel)
    assert channel.is_settled and reloaded_channel.compose().ack == session.version


def test_R3_reloaded_tab_receives_the_edits_of_its_predecessor() -> None:
    _session, channel, tab, tab_channel = make_pair()
    tab.set("from the tab", 1)
    deliver(tab_channel, channel)
    reloaded = Replica()
    reloaded_channel = Channel(reloaded)
    deliver(reloaded_channel, channel)
    assert deliver(channel, reloaded_channel) == {"from the tab"}


def test_R3_reloaded_tab_with_the_room_receives_only_the_delta() -> None:
    session, channel, _tab, tab_channel = make_pair()
    session.set("large", "x" * 10_000)
    deliver(channel, tab_channel)
    deliver(tab_channel, channel)
    reloaded = Replica()
    reloaded.apply(session.diff(), origin=ROOM)
    reloaded_channel = Channel(reloaded)
    session.set("new", 1)
    deliver(reloaded_channel, channel)
    frame = channel.compose()
    assert frame.since == 0 and 0 < len(frame.update) < 200
    assert receive(reloaded_channel, frame) == {"new"}


def test_R3_restarted_session_receives_the_whole_document() -> None:
    session, channel, tab, tab_channel = make_pair()
    session.set("a", 1)
    tab.set("b", 1)
    deliver(channel, tab_channel)
    deliver(tab_channel, channel)
    deliver(channel, tab_channel)
    assert tab_channel.is_settled
    restarted = Replica()
    restarted_channel = Channel(restarted)
    assert deliver(tab_channel, restarted_channel) == frozenset()
    deliver(restarted_channel, tab_channel)
    assert deliver(tab_channel, restarted_channel) == {"a", "b"}


def test_R3_late_frame_of_the_former_tab_reaches_the_new_tab() -> None:
    _session, channel, tab, tab_channel = make_pair()
    tab.set("late", 1)
    late = tab_channel.compose()
    reloaded = Replica()
    reloaded_channel = Channel(reloaded)
    deliver(reloaded_channel, channel)
    deliver(channel, reloaded_channel)
    deliver(reloaded_channel, channel)
    assert receive(channel, late) == {"late"}
    deliver(reloaded_channel, channel)
    deliver(channel, reloaded_channel)
    assert "late" in reloaded


def test_R3_diff_replaces_a_truncated_update_log() -> None:
    session, channel, tab, tab_channel = make_pair()
    deliver(tab_channel, channel)
    for number in range(600):
        session.set("a", number)
    session.delete("a")
    session.set("b", 1)
    session.set("large", b"x" * 1_100_000)
    assert channel.compose().since == 0
    for _ in range(2):
        assert not channel.is_settled
        deliver(channel, tab_channel)
        deliver(tab_channel, channel)
    assert channel.is_settled and tab.keys() == ["b", "large"]


def test_R6_update_of_the_tab_is_not_sent_back_to_it() -> None:
    _session, channel, tab, tab_channel = make_pair()
    tab.set("a", 1)
    deliver(tab_channel, channel)
    assert channel.compose().update == b""


def test_R7_settled_frame_has_constant_size_in_a_large_room() -> None:
    session, channel, _tab, tab_channel = make_pair()
    for number in range(300):
        other = Replica()
        other.set(f"key {number}", "x" * 100)
        session.apply(other.diff(), origin=ROOM)
    for _ in range(2):
        deliver(channel, tab_channel)
        deliver(tab_channel, channel)
    for end in (channel, tab_channel):
        assert end.is_settled
        assert len(end.frame()) < 200
        assert end.compose().sv is None


def test_R7_frame_without_an_update_does_not_count_as_sent() -> None:
    session, channel, _tab, tab_channel = make_pair()
    session.set("a", 1)
    frame = channel.compose(with_update=False)
    assert frame.update == b"" and frame.since == frame.v == 1
    receive(tab_channel, frame)
    deliver(tab_channel, channel)
    assert not channel.is_settled
    assert deliver(channel, tab_channel) == {"a"}


def test_ack_of_an_unsent_version_is_ignored() -> None:
    session, channel, tab, _ = make_pair()
    session.set("a", 1)
    receive(channel, Frame(id=tab.replica_id, v=1, ack_of=session.replica_id, ack=99))
    assert not channel.is_settled and channel.compose().update


def test_frame_of_the_own_replica_is_rejected() -> None:
    _, channel, _, _ = make_pair()
    with pytest.raises(UpdateRefusedError):
        receive(channel, channel.compose())


PART_BYTES = 500


def make_pair_with_parts() -> tuple[Replica, Channel, Replica, Channel]:
    session, tab = Replica(), Replica()
    return session, Channel(session, part_bytes=PART_BYTES), tab, Channel(tab, part_bytes=PART_BYTES)


@pytest.mark.parametrize("seed", range(6))
def test_R3_large_updates_arrive_in_parts_over_a_lossy_channel(seed: int) -> None:
    rng = random.Random(seed)
    session, channel, tab, tab_channel = make_pair_with_parts()
    ends = [(session, channel), (tab, tab_channel)]
    late = list[tuple[Channel, Frame]]()
    for step in range(300):
        replica, _ = rng.choice(ends)
        if step < 150 and rng.random() < 0.1:
            replica.set(f"{step}", rng.randbytes(rng.choice([3, 300, 3000])))
        sender, receiver = rng.sample([channel, tab_channel], 2)
        frame = decode_frame(sender.frame())
        assert len(frame.update) <= PART_BYTES
        if rng.random() < 0.7:
            receive(receiver, frame)
        if rng.random() < 0.2:
            late.append((receiver, frame))
        if late and rng.random() < 0.2:
            receive(*late.pop(rng.randrange(len(late))))
    assert channel.is_settled and tab_channel.is_settled
    assert dict(session.items()) == dict(tab.items()) and len(session) > 5


def test_R4_tab_counts_as_synced_when_its_update_is_complete() -> None:
    _session, channel, tab, tab_channel = make_pair_with_parts()
    tab.set("large", b"x" * 1200)
    for _ in range(3):
        assert not channel.is_synced
        receive(channel, decode_frame(tab_channel.frame(synced=True)))
        deliver(channel, tab_channel)
    assert channel.is_synced


def test_R3_second_large_update_does_not_repeat_the_first() -> None:
    session, channel, _tab, tab_channel = make_pair()
    sent = 0
    for name in "abc":
        session.set(name, os.urandom(2_000_000))
        while not channel.is_settled:
            frame = decode_frame(channel.frame())
            sent += len(frame.update)
            receive(tab_channel, frame)
            deliver(tab_channel, channel)
    assert sent < 6_100_000


def test_R3_update_that_was_left_out_is_not_acknowledged_without_a_room() -> None:
    _session, channel, tab, tab_channel = make_pair()
    tab.set("a", 1)
    frame = Frame(id=tab.replica_id, v=1, since=0, in_room=True)
    channel.receive(frame, StatusReport(synced=True), has_update=False)
    assert channel.compose().ack == 0 and not channel.is_synced
    deliver(tab_channel, channel)
    assert channel.compose().ack == 1
    channel.receive(Frame(id=tab.replica_id, v=2, since=1, in_room=True), StatusReport(n=1))
    assert channel.compose().ack == 2


@pytest.mark.parametrize("part", [[0], [1, 2, 3], "01", [0, 2**40], [5, 3]])
def test_N2_malformed_part_is_rejected(part: Any) -> None:
    _session, channel, tab, _ = make_pair()
    header = {"id": tab.replica_id, "v": 1, "since": 0, "ack": 0, "build": "", "part": part}
    text = json.dumps(header).encode()
    with pytest.raises(FrameError):
        receive(channel, decode_frame(bytes([1]) + encode_bytes(text) + b"x"))
    assert channel.tab_id is None
