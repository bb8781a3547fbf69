"""Decoding and encoding of protocol frames."""

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
def test_frame_decodes_to_its_message(frame: bytes, message: protocol.Message) -> None:
    assert protocol.parse(frame, LIMITS) == message


@pytest.mark.parametrize("number", [0, 1, 127, 128, 2**14, 2**32, 2**53 - 1])
def test_varuint_decodes_to_the_encoded_number(number: int) -> None:
    assert Decoder(encode_varuint(number)).read_varuint() == number


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x00", id="sync without a type"),
        pytest.param(b"\x00\x09\x00", id="unknown sync type"),
        pytest.param(b"\x00\x02\x05ab", id="fewer bytes than announced"),
        pytest.param(b"\x00\x02\x01ab", id="more bytes than announced"),
        pytest.param(b"\x80" * 200_000, id="a varuint without end"),
        pytest.param(b"\xff" * 200_000, id="a varuint without end, of 1 bits"),
        pytest.param(b"\x00\x02" + b"\xff" * 9, id="a length over 53 bits"),
        pytest.param(protocol.sync_step1(b""), id="a state vector without a count"),
        pytest.param(protocol.sync_step1(b"\x01\x05"), id="half an entry"),
        pytest.param(
            protocol.sync_step1(encode_varuint(2**40) + b"\x01" * 10),
            id="too many entries",
        ),
        pytest.param(protocol.sync_step1(b"\x01\x05" + encode_varuint(2**33)), id="a clock over 32 bits"),
        pytest.param(protocol.sync_step1(b"\x00\x00"), id="bytes after a state vector"),
        pytest.param(b"\x01\x00", id="awareness without a count"),
        pytest.param(b"\x01\x05" + encode_varuint(2**28) + b"\x01", id="too many awareness states"),
        pytest.param(presence_frame(1, 1, "{"), id="an awareness state that is not JSON"),
        pytest.param(presence_frame(1, 1, ""), id="an awareness state without a state"),
        pytest.param(presence_frame(1, 1, '{"x":NaN}'), id="an awareness state that browsers cannot read"),
        pytest.param(presence_frame(1, 1, "[" * 20_000), id="an awareness state nested too deeply"),
        pytest.param(b"\x01\x05\x01\x01\x01\x01\xff", id="an awareness state that is not UTF-8"),
        pytest.param(bytes([102, 0]), id="a saved query without a version"),
        pytest.param(bytes([102, 2, 1, 1]), id="bytes after a saved query"),
    ],
)
def test_N2_malformed_frame_is_rejected(frame: bytes) -> None:
    with pytest.raises(MalformedFrameError):
        protocol.parse(frame, LIMITS)


@pytest.mark.parametrize(
    "limits",
    [Limits(3, 100, 100), Limits(100, 3, 100)],
)
def test_N2_oversized_frame_is_rejected(limits: Limits) -> None:
    with pytest.raises(FrameTooLargeError):
        protocol.parse(presence_frame(1, 1), limits)


def test_N2_oversized_state_vector_is_rejected() -> None:
    with pytest.raises(FrameTooLargeError):
        protocol.parse(protocol.sync_step1(VECTOR), Limits(100, 100, 3))


def test_sync_frames_equal_the_frames_of_pycrdt() -> None:
    ydoc: Doc[Map[int]] = Doc()
    ydoc["m"] = values = Map()
    values["k"] = 1
    from pycrdt import create_sync_message, create_update_message

    assert protocol.sync_step1(ydoc.get_state()) == create_sync_message(ydoc)
    assert protocol.sync_update(ydoc.get_update()) == create_update_message(ydoc.get_update())


def test_saved_answer_has_the_layout_that_the_frontend_decodes() -> None:
    frame = protocol.saved_answer(300, protocol.StoreLevel.DISK, protocol.SaveStatus.SAVED, "ab" * 16)
    decoder = Decoder(frame)
    assert decoder.read_varuint() == 102
    content = Decoder(decoder.read_bytes())
    assert [content.read_varuint(), content.read_varuint(), content.read_varuint(), content.read_text()] == [
        300,
        2,
        0,
        "ab" * 16,
    ]
    content.expect_end()
    decoder.expect_end()


def test_N2_damaged_frame_is_decoded_or_rejected() -> None:
    seed = int(os.environ.get("STREAMLIT_CRDT_TEST_SEED", "20261122"))
    print(f"seed {seed}")
    randomness = random.Random(seed)
    rejected = 0
    for _ in range(20_000):
        frame = bytearray(randomness.choice(FRAMES)[0])
        for _ in range(randomness.randint(1, 4)):
            _damage(frame, randomness)
        try:
            protocol.parse(bytes(frame), LIMITS)
        except MalformedFrameError:
            rejected += 1
    assert rejected > 5_000


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
