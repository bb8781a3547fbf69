"""Write permission from the claims of a connection (rule A1)."""

from __future__ import annotations

import pytest
from pycrdt import Channel

from streamlit_crdt_server import Claims, Role, protocol
from streamlit_crdt_server.room.permissions import may_write
from tests.server.support.fake_channel import FakeChannel


def channel(**rooms: Role) -> Channel:
    made = FakeChannel("room")
    made.claims = Claims(rooms, "ada", "Ada", "s1", 2e9, "k")  # type: ignore[attr-defined]
    return made


@pytest.mark.parametrize(
    ("rooms", "expected"),
    [
        ({"room": Role.EDITOR}, True),
        ({"room": Role.VIEWER}, False),
        ({"other": Role.EDITOR}, False),
        ({"*": Role.EDITOR}, True),
        ({"*": Role.EDITOR, "room": Role.VIEWER}, False),
        ({"*": Role.VIEWER, "room": Role.EDITOR}, True),
    ],
)
def test_A1_only_an_editor_of_the_room_may_write(rooms: dict[str, Role], expected: bool) -> None:
    assert may_write(channel(**rooms), "room") is expected


def test_channel_without_claims_may_write() -> None:
    assert may_write(FakeChannel("room"), "room")


def test_permission_denied_frame_equals_that_of_y_protocols() -> None:
    assert protocol.permission_denied("no") == b"\x02\x00\x02no"
