"""Frames, and who has seen what, over a channel that loses, repeats and delays."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlit_crdt.document.replica import ROOM, Replica
from streamlit_crdt.errors import FrameError, UpdateRefusedError
from streamlit_crdt.transport.channel import Channel
from streamlit_crdt.transport.frame import (
    MAX_FRAME_BYTES,
    MAX_HEADER_BYTES,
    Frame,
    StatusReport,
    decode_frame,
    encode_frame,
    read_report,
)


def linked() -> tuple[Replica, Channel, Replica, Channel]:
    """Return a session and a tab, each with its end of the channel; the protocol is the same both ways."""
    session, tab = Replica(), Replica()
    return session, Channel(session), tab, Channel(tab)


def carry(sender: Channel, receiver: Channel) -> frozenset[str]:
    return receive(receiver, decode_frame(sender.frame()))


def receive(channel: Channel, frame: Frame) -> frozenset[str]:
    return channel.receive(frame, read_report(frame))


def raw(header: Any, update: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    assert len(text) < 16_384
    return bytes([1, 0x80 | len(text) & 0x7F, len(text) >> 7]) + text + update


HEADER = {"id": 1, "v": 2, "since": 0, "ack_of": None, "ack": 0, "build": "b"}


@given(
    st.builds(
        Frame,
        id=st.integers(0, 2**53 - 1),
        v=st.integers(2**20, 2**53 - 1),
        since=st.integers(0, 2**20),
        ack_of=st.none() | st.integers(0, 2**53 - 1),
        ack=st.integers(0, 2**53 - 1),
        sv=st.none() | st.binary(max_size=300),
        build=st.text(max_size=9),
        update=st.binary(max_size=50),
        extra=st.dictionaries(
            st.sampled_from(["room", "own"]), st.none() | st.text() | st.lists(st.integers())
        ),
    )
)
def test_a_frame_comes_back_as_it_is(frame: Frame) -> None:
    assert decode_frame(encode_frame(frame)) == frame


@settings(max_examples=300)
@given(st.binary(max_size=60).map(lambda tail: b"\x01" + tail) | st.binary(max_size=60))
def test_N2_any_bytes_are_a_frame_or_a_frame_error(content: bytes) -> None:
    try:
        decode_frame(content)
    except FrameError as error:
        assert str(error)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\x02\x02{}", b"\x01", b"\x01\xff\xff\xff\xff\xff", b"\x01\x05{}", b"\x01\x02[]",
        b"\x01\x02\xff\xff",
        b"\x01\x80\x80\x80\x01{}", raw([1]), raw({}), raw({**HEADER, "id": -1}), raw({**HEADER, "id": 2**53}),
        raw({**HEADER, "v": 1.5}), raw({**HEADER, "v": True}), raw({**HEADER, "v": "2"}),
        raw({**HEADER, "since": 3}),
        raw({**HEADER, "ack_of": "1"}), raw({**HEADER, "sv": 5}), raw({**HEADER, "sv": "%%"}),
        raw({**HEADER, "build": 1}),
        raw({**HEADER, "ack": float("nan")}), b"\x01\x90\x4e" + b"[" * 10_000, bytes(MAX_FRAME_BYTES + 1),
    ],
    ids=lambda content: content[:30].hex(),
)  # fmt: skip
def test_N2_a_malformed_frame_is_refused(content: bytes) -> None:
    with pytest.raises(FrameError):
        decode_frame(content)


def test_N2_a_header_beyond_its_limit_is_refused() -> None:
    with pytest.raises(FrameError, match="header"):
        decode_frame(encode_frame(Frame(id=1, v=1, build="x" * (MAX_HEADER_BYTES + 1))))


@pytest.mark.parametrize(
    "extra", [{"why": "because"}, {"status": 1}, {"synced": 1}, {"confirmed": -1}, {"error": 5}, {"n": "1"}]
)
def test_N2_a_malformed_report_changes_nothing(extra: dict[str, Any]) -> None:
    session, link, tab, _ = linked()
    tab.set("a", 1)
    with pytest.raises(FrameError):
        receive(link, Frame(id=tab.replica_id, v=1, update=tab.diff(), extra=extra))
    assert session.keys() == [] and link.tab_id is None and link.report == StatusReport()


def test_N2_a_refused_update_changes_nothing() -> None:
    _session, link, tab, _ = linked()
    with pytest.raises(UpdateRefusedError):
        receive(link, Frame(id=tab.replica_id, v=5, update=b"junk", extra={"synced": True}))
    assert link.tab_id is None and not link.is_synced and link.compose().ack == 0


def test_the_tabs_report_is_read_and_an_older_one_is_not_believed() -> None:
    _, link, tab, _ = linked()
    extra = {"why": "status", "status": "connected", "synced": True, "confirmed": 3, "error": None, "n": 7}
    receive(link, Frame(id=tab.replica_id, v=1, extra=extra))
    assert (link.status, link.is_synced, link.report.confirmed, link.report.error) == (
        "connected",
        True,
        3,
        None,
    )
    receive(link, Frame(id=tab.replica_id, v=1, extra={**extra, "status": "offline", "n": 6}))
    assert link.status == "connected"
    receive(
        link, Frame(id=tab.replica_id, v=1, extra={"status": "offline", "error": "mixed-content", "n": 8})
    )
    assert (link.status, link.is_synced, link.report.confirmed, link.report.error) == (
        "offline",
        False,
        None,
        "mixed-content",
    )
    assert read_report(Frame(id=1, v=1)) == StatusReport()


def test_the_first_frame_carries_everything_and_a_state_vector() -> None:
    session, link, _, _ = linked()
    session.set("a", 1)
    frame = link.compose(room="planning")
    assert (frame.since, frame.v, frame.ack_of, frame.ack) == (0, 1, None, 0)
    assert frame.sv == session.state_vector() and frame.extra == {"room": "planning"}


def test_R2_a_repeated_frame_changes_nothing() -> None:
    session, link, _tab, tab_link = linked()
    session.set("a", 1)
    frame = link.compose()
    assert receive(tab_link, frame) == {"a"}
    assert receive(tab_link, frame) == frozenset()
    assert tab_link.compose().ack == 1


def test_R3_a_lost_frame_is_covered_by_the_next() -> None:
    session, link, _tab, tab_link = linked()
    session.set("a", 1)
    session.set("gone", 1)
    carry(link, tab_link)
    carry(tab_link, link)
    session.set("b", 1)
    link.frame()
    session.delete("gone")
    link.frame()
    session.set("c", 1)
    assert carry(link, tab_link) == {"b", "c", "gone"}
    carry(tab_link, link)
    assert link.is_settled and link.compose().update == b""


def test_R3_an_old_acknowledgement_takes_nothing_back() -> None:
    session, link, _tab, tab_link = linked()
    session.set("a", 1)
    carry(link, tab_link)
    old = tab_link.compose()
    session.set("b", 1)
    carry(link, tab_link)
    carry(tab_link, link)
    receive(link, old)
    assert link.is_settled and link.compose().since == 2


def test_R3_a_frame_that_begins_after_what_is_known_is_applied_but_not_acknowledged() -> None:
    session, link, _tab, tab_link = linked()
    session.set("a", 1)
    carry(link, tab_link)
    carry(tab_link, link)
    session.set("b", 1)
    late = link.compose()
    assert late.since == 1
    reloaded = Replica()
    reloaded_link = Channel(reloaded)
    assert receive(reloaded_link, late) == {"b"}
    assert reloaded_link.compose().ack == 0
    carry(reloaded_link, link)
    assert carry(link, reloaded_link) == {"a"}
    carry(reloaded_link, link)
    assert link.is_settled and reloaded_link.compose().ack == session.version


def test_R3_a_reloaded_tab_gets_what_its_predecessor_sent() -> None:
    _session, link, tab, tab_link = linked()
    tab.set("from the tab", 1)
    carry(tab_link, link)
    reloaded = Replica()
    reloaded_link = Channel(reloaded)
    carry(reloaded_link, link)
    assert carry(link, reloaded_link) == {"from the tab"}


def test_R3_a_reloaded_tab_that_has_the_room_gets_the_difference_alone() -> None:
    session, link, _tab, tab_link = linked()
    session.set("large", "x" * 10_000)
    carry(link, tab_link)
    carry(tab_link, link)
    reloaded = Replica()
    reloaded.apply(session.diff(), origin=ROOM)
    reloaded_link = Channel(reloaded)
    session.set("new", 1)
    carry(reloaded_link, link)
    frame = link.compose()
    assert frame.since == 0 and 0 < len(frame.update) < 200
    assert receive(reloaded_link, frame) == {"new"}


def test_R3_a_session_that_began_anew_gets_everything_again() -> None:
    session, link, tab, tab_link = linked()
    session.set("a", 1)
    tab.set("b", 1)
    carry(link, tab_link)
    carry(tab_link, link)
    carry(link, tab_link)
    assert tab_link.is_settled
    restarted = Replica()
    restarted_link = Channel(restarted)
    assert carry(tab_link, restarted_link) == frozenset()
    carry(restarted_link, tab_link)
    assert carry(tab_link, restarted_link) == {"a", "b"}


def test_R3_a_late_frame_of_the_former_tab_is_merged_and_the_new_tab_gets_it() -> None:
    _session, link, tab, tab_link = linked()
    tab.set("late", 1)
    late = tab_link.compose()
    reloaded = Replica()
    reloaded_link = Channel(reloaded)
    carry(reloaded_link, link)
    carry(link, reloaded_link)
    carry(reloaded_link, link)
    assert receive(link, late) == {"late"}
    carry(reloaded_link, link)
    carry(link, reloaded_link)
    assert "late" in reloaded


def test_R3_a_log_that_was_dropped_is_replaced_by_a_diff() -> None:
    session, link, tab, tab_link = linked()
    carry(tab_link, link)
    for number in range(600):
        session.set("a", number)
    session.delete("a")
    session.set("b", 1)
    session.set("large", b"x" * 1_100_000)
    frame = link.compose()
    assert frame.since == 0
    receive(tab_link, frame)
    carry(tab_link, link)
    assert link.is_settled and tab.keys() == ["b", "large"]


def test_R6_what_the_tab_sent_is_not_sent_back() -> None:
    _session, link, tab, tab_link = linked()
    tab.set("a", 1)
    carry(tab_link, link)
    assert link.compose().update == b""


def test_R7_a_settled_frame_is_small_however_large_the_room_is() -> None:
    session, link, _tab, tab_link = linked()
    for number in range(300):
        other = Replica()
        other.set(f"key {number}", "x" * 100)
        session.apply(other.diff(), origin=ROOM)
    for _ in range(2):
        carry(link, tab_link)
        carry(tab_link, link)
    for end in (link, tab_link):
        assert end.is_settled
        assert len(end.frame()) < 200
        assert end.compose().sv is None


def test_R7_without_an_update_nothing_counts_as_sent() -> None:
    session, link, _tab, tab_link = linked()
    session.set("a", 1)
    frame = link.compose(with_update=False)
    assert frame.update == b"" and frame.since == frame.v == 1
    receive(tab_link, frame)
    carry(tab_link, link)
    assert not link.is_settled
    assert carry(link, tab_link) == {"a"}


def test_an_acknowledgement_of_what_was_never_sent_is_not_believed() -> None:
    session, link, tab, _ = linked()
    session.set("a", 1)
    receive(link, Frame(id=tab.replica_id, v=1, ack_of=session.replica_id, ack=99))
    assert not link.is_settled and link.compose().update


def test_a_frame_from_this_very_replica_is_refused() -> None:
    _, link, _, _ = linked()
    with pytest.raises(UpdateRefusedError):
        receive(link, link.compose())


def test_the_tab_says_what_is_saved_and_of_which_history() -> None:
    said = {"why": "saved", "saved_v": 4, "unsaved": 2, "failing": True, "epoch": "0f" * 16, "n": 1}
    report = read_report(Frame(id=1, v=1, extra=said))
    assert (report.saved_v, report.unsaved, report.failing, report.epoch) == (4, 2, True, "0f" * 16)


def test_the_tab_repeats_what_was_written_over_before_it_was_sent() -> None:
    said = {"overwritten": {"notes": {"base": "0f" * 8, "text": "mine"}}}
    assert read_report(Frame(id=1, v=1, extra=said)).overwritten == {"notes": ("0f" * 8, "mine")}


def test_P7_a_tab_names_the_fields_that_a_form_has_not_submitted() -> None:
    assert read_report(Frame(id=1, v=1)).unsubmitted == frozenset()
    said = {"why": "form", "unsubmitted": ["$$ID-1-size"]}
    assert read_report(Frame(id=1, v=1, extra=said)).unsubmitted == {"$$ID-1-size"}


@pytest.mark.parametrize(
    "field",
    [
        {"saved_v": -1},
        {"saved_v": True},
        {"saved_v": 2**53},
        {"unsaved": "2"},
        {"unsaved": None},
        {"failing": 1},
        {"failing": None},
        {"epoch": "0F" * 16},
        {"epoch": "0" * 31},
        {"epoch": "0" * 32 + "\n"},
        {"epoch": 7},
        {"why": "tokens"},
        {"unsubmitted": "$$ID-1-size"},
        {"unsubmitted": [7]},
        {"unsubmitted": [str(number) for number in range(257)]},
        {"overwritten": []},
        {"drafts": {"notes": "0" * 16}},
        {"drafts": {"notes": ["0" * 16]}},
        {"drafts": {"notes": ["0" * 15, 1]}},
        {"drafts": {"notes": ["0" * 16, -1]}},
        {"overwritten": {"notes": "text"}},
        {"overwritten": {"notes": {"text": "text"}}},
        {"overwritten": {"notes": {"base": "0" * 16, "text": 7}}},
        {"overwritten": {str(number): {"base": "0" * 16, "text": ""} for number in range(17)}},
    ],
)
def test_N2_a_report_with_a_field_of_another_kind_is_refused(field: dict[str, Any]) -> None:
    with pytest.raises(FrameError):
        read_report(Frame(id=1, v=1, extra=field))
