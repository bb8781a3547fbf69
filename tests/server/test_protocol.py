"""The protocol's parser: what it accepts, and that nothing else gets through."""

from __future__ import annotations

import os
import random

import pytest
from pycrdt import Doc, Map

from streamlit_crdt_server import FrameTooLargeError, MalformedFrameError, protocol
from streamlit_crdt_server.protocol import Limits, Presence
from streamlit_crdt_server.yjs.lib0 import Decoder, encode_varuint
from tests.server.support.fake_channel import LIMITS, presence_frame

UPDATE = b"\x01\x01\x05\x00\x04\x01\x01t\x01a\x00"
VECTOR = b"\x02\x05\x01\x07\x09"
FRAMES = [
    (protocol.sync_step1(VECTOR), protocol.SyncStep1(VECTOR)),
    (protocol.sync_step2(UPDATE), protocol.SyncUpdate(UPDATE)),
    (protocol.sync_update(UPDATE), protocol.SyncUpdate(UPDATE)),
    (protocol.query_awareness(), protocol.QueryAwareness()),
    (presence_frame(7, 2, '{"a":1}'), protocol.AwarenessUpdate((Presence(7, 2, '{"a":1}', {"a": 1}),))),
    (bytes([102, 1, 2]), protocol.SavedQuery(2)),
    (protocol.saved_query(300), protocol.SavedQuery(300)),
    (bytes([120, 1, 2]), protocol.UnknownMessage(120)),
]


@pytest.mark.parametrize(("frame", "message"), FRAMES)
def test_a_frame_is_read_as_what_it_says(frame: bytes, message: protocol.Message) -> None:
    assert protocol.parse(frame, LIMITS) == message


@pytest.mark.parametrize("number", [0, 1, 127, 128, 2**14, 2**32, 2**53 - 1])
def test_a_number_survives_the_way_there_and_back(number: int) -> None:
    assert Decoder(encode_varuint(number)).read_varuint() == number


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x00", id="sync without a type"),
        pytest.param(b"\x00\x09\x00", id="unknown sync type"),
        pytest.param(b"\x00\x02\x05ab", id="shorter than announced"),
        pytest.param(b"\x00\x02\x01ab", id="longer than announced"),
        pytest.param(b"\x80" * 200_000, id="a number without end"),
        pytest.param(b"\xff" * 200_000, id="the varint bomb"),
        pytest.param(b"\x00\x02" + b"\xff" * 9, id="a length over 53 bits"),
        pytest.param(protocol.sync_step1(b""), id="a state vector without a count"),
        pytest.param(protocol.sync_step1(b"\x01\x05"), id="half an entry"),
        pytest.param(protocol.sync_step1(encode_varuint(2**40) + b"\x01" * 10), id="the state-vector bomb"),
        pytest.param(protocol.sync_step1(b"\x01\x05" + encode_varuint(2**33)), id="a clock over 32 bits"),
        pytest.param(protocol.sync_step1(b"\x00\x00"), id="bytes after a state vector"),
        pytest.param(b"\x01\x00", id="awareness without a count"),
        pytest.param(b"\x01\x05" + encode_varuint(2**28) + b"\x01", id="the awareness bomb"),
        pytest.param(presence_frame(1, 1, "{"), id="a presence that is not JSON"),
        pytest.param(presence_frame(1, 1, ""), id="a presence without a state"),
        pytest.param(presence_frame(1, 1, '{"x":NaN}'), id="a presence that browsers cannot read"),
        pytest.param(presence_frame(1, 1, "[" * 20_000), id="a presence nested too deeply"),
        pytest.param(b"\x01\x05\x01\x01\x01\x01\xff", id="a presence that is not UTF-8"),
        pytest.param(bytes([102, 0]), id="a question without a version"),
        pytest.param(bytes([102, 2, 1, 1]), id="bytes after a question"),
    ],
)
def test_N2_what_is_malformed_is_refused(frame: bytes) -> None:
    with pytest.raises(MalformedFrameError):
        protocol.parse(frame, LIMITS)


@pytest.mark.parametrize(
    "limits",
    [Limits(3, 100, 100), Limits(100, 3, 100)],
)
def test_N2_what_is_too_large_is_refused(limits: Limits) -> None:
    with pytest.raises(FrameTooLargeError):
        protocol.parse(presence_frame(1, 1), limits)


def test_N2_a_state_vector_that_is_too_large_is_refused() -> None:
    with pytest.raises(FrameTooLargeError):
        protocol.parse(protocol.sync_step1(VECTOR), Limits(100, 100, 3))


def test_frames_are_those_that_pycrdt_makes() -> None:
    ydoc: Doc[Map[int]] = Doc()
    ydoc["m"] = values = Map()
    values["k"] = 1
    from pycrdt import create_sync_message, create_update_message

    assert protocol.sync_step1(ydoc.get_state()) == create_sync_message(ydoc)
    assert protocol.sync_update(ydoc.get_update()) == create_update_message(ydoc.get_update())


def test_the_answer_to_a_question_about_saving_has_the_layout_that_the_frontend_reads() -> None:
    answer = protocol.saved_answer(300, protocol.StoreLevel.DISK, protocol.SaveStatus.SAVED, "ab" * 16)
    reader = Decoder(answer)
    assert reader.read_varuint() == 102
    content = Decoder(reader.read_bytes())
    assert [content.read_varuint(), content.read_varuint(), content.read_varuint(), content.read_text()] == [
        300,
        2,
        0,
        "ab" * 16,
    ]
    content.expect_end()
    reader.expect_end()


def test_N2_a_damaged_frame_is_read_or_refused_and_nothing_else_happens() -> None:
    seed = int(os.environ.get("STREAMLIT_CRDT_TEST_SEED", "20261122"))
    print(f"seed {seed}")
    randomness = random.Random(seed)
    refused = 0
    for _ in range(20_000):
        frame = bytearray(randomness.choice(FRAMES)[0])
        for _ in range(randomness.randint(1, 4)):
            _damage(frame, randomness)
        try:
            protocol.parse(bytes(frame), LIMITS)
        except MalformedFrameError:
            refused += 1
    assert refused > 5_000


def _damage(frame: bytearray, randomness: random.Random) -> None:
    at = randomness.randrange(len(frame) + 1)
    match randomness.randrange(4):
        case 0 if at < len(frame):
            frame[at] ^= 1 << randomness.randrange(8)
        case 1:
            del frame[at:]
        case 2:
            frame[at:at] = randomness.randbytes(randomness.randint(1, 12))
        case _:
            frame[at:at] = b"\xff" * randomness.randint(1, 9)
