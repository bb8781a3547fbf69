"""Encoding of frames, and decoding of untrusted frames and status reports."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlit_crdt.errors import FrameError
from streamlit_crdt.transport.frame import (
    MAX_FRAME_BYTES,
    Frame,
    StatusReport,
    decode_frame,
    encode_frame,
    read_report,
)


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
def test_encoded_frame_decodes_to_an_equal_frame(frame: Frame) -> None:
    assert decode_frame(encode_frame(frame)) == frame


@settings(max_examples=300)
@given(st.binary(max_size=60).map(lambda tail: b"\x01" + tail) | st.binary(max_size=60))
def test_N2_random_bytes_decode_to_a_frame_or_raise_FrameError(content: bytes) -> None:
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
def test_N2_malformed_frame_is_rejected(content: bytes) -> None:
    with pytest.raises(FrameError):
        decode_frame(content)


def test_N4_header_has_the_state_vector_of_a_long_past() -> None:
    vector = bytes(13 * 120_000)
    frame = decode_frame(encode_frame(Frame(id=1, v=1, sv=vector)))
    assert frame.sv == vector


def test_report_of_a_frame_without_fields_has_defaults() -> None:
    assert read_report(Frame(id=1, v=1)) == StatusReport()


def test_report_has_the_save_status_and_the_epoch() -> None:
    fields = {"why": "saved", "saved_v": 4, "unsaved": 2, "failing": True, "epoch": "0f" * 16, "n": 1}
    report = read_report(Frame(id=1, v=1, extra=fields))
    assert (report.saved_v, report.unsaved, report.failing, report.epoch) == (4, 2, True, "0f" * 16)


def test_report_has_overwritten_texts_with_the_digest_of_their_base() -> None:
    fields = {"overwritten": {"notes": {"base": "0f" * 8, "text": "mine"}}}
    assert read_report(Frame(id=1, v=1, extra=fields)).overwritten == {"notes": ("0f" * 8, "mine")}


def test_P7_report_has_the_unsubmitted_widgets_of_a_form() -> None:
    assert read_report(Frame(id=1, v=1)).unsubmitted == frozenset()
    fields = {"why": "form", "unsubmitted": ["$$ID-1-size"]}
    assert read_report(Frame(id=1, v=1, extra=fields)).unsubmitted == {"$$ID-1-size"}


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
def test_N2_report_with_a_field_of_the_wrong_type_is_rejected(field: dict[str, Any]) -> None:
    with pytest.raises(FrameError):
        read_report(Frame(id=1, v=1, extra=field))
