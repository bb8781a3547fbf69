"""Who owns which client id."""

from __future__ import annotations

import pytest
from pycrdt import Awareness, Doc

from streamlit_crdt_server import MalformedFrameError
from streamlit_crdt_server.protocol import Presence
from streamlit_crdt_server.room.presence import PresenceOwners, RoomAwareness

GONE = "null"


def attendance(max_per_owner: int = 3) -> PresenceOwners:
    return PresenceOwners(RoomAwareness(Doc()), max_per_owner)


def says(client_id: int, clock: int, name: str = "Ada") -> Presence:
    return Presence(client_id, clock, f'{{"name":"{name}"}}', {"name": name})


def gone(client_id: int, clock: int) -> Presence:
    return Presence(client_id, clock, GONE, None)


def test_the_server_is_not_somebody() -> None:
    assert RoomAwareness(Doc()).states == {}
    assert Awareness(Doc()).states != {}, "pycrdt has mended its phantom: the override can go"


def test_A3_somebody_leaves_with_the_connection() -> None:
    room = attendance()
    room.announce("a", [says(1, 5)])
    (removal,) = room.leave("a")
    assert removal == gone(1, 7)
    assert room.present() == ()


def test_A3_a_connection_cannot_remove_somebody_else() -> None:
    room = attendance()
    room.announce("a", [says(1, 5)])
    assert room.announce("b", [gone(1, 9)]) == ()
    assert room.present() == (says(1, 6),)


def test_A3_a_connection_cannot_speak_for_somebody_else() -> None:
    room = attendance()
    room.announce("a", [says(1, 5)])
    assert room.announce("b", [says(1, 9, "Mallory")]) == ()
    assert room.present() == (says(1, 6),)


def test_A3_a_word_about_somebody_who_has_just_left_does_not_bring_them_back() -> None:
    room = attendance()
    room.announce("a", [says(1, 5)])
    room.announce("b", [says(2, 1)])
    room.leave("a")
    assert room.announce("b", [says(1, 5)]) == ()
    assert room.announce("b", [says(1, 6)]) == ()
    assert room.present() == (says(2, 2),)


def test_A3_somebody_who_reconnects_is_seen_at_once_with_a_clock_that_others_accept() -> None:
    room = attendance()
    room.announce("a", [says(1, 5)])
    (removal,) = room.leave("a")
    (back,) = room.announce("a again", [says(1, 5)])
    assert back.clock > removal.clock
    assert back.text == says(1, 5).text


def test_somebody_who_comes_after_a_restart_is_ahead_of_the_clock_that_others_know() -> None:
    assert attendance().announce("a", [says(1, 5)]) == (says(1, 6),)


def test_a_renewal_is_passed_on() -> None:
    room = attendance()
    room.announce("a", [says(1, 5)])
    assert room.announce("a", [says(1, 7)]) == (says(1, 7),)


def test_a_repeated_word_is_answered_without_a_new_clock() -> None:
    room = attendance()
    room.announce("a", [says(1, 5)])
    assert room.announce("a", [says(1, 6)]) == (says(1, 6),)
    assert room.announce("a", [says(1, 5)]) == (says(1, 6),)


def test_news_with_an_old_clock_is_passed_on_with_a_newer_one() -> None:
    room = attendance()
    room.announce("a", [says(1, 5)])
    assert room.announce("a", [says(1, 6, "Ada Lovelace")]) == (says(1, 7, "Ada Lovelace"),)


def test_somebody_may_go_and_come_back_on_one_connection() -> None:
    room = attendance()
    room.announce("a", [says(1, 5)])
    assert room.announce("a", [gone(1, 7)]) == (gone(1, 7),)
    assert room.present() == ()
    assert room.announce("a", [says(1, 8)]) == (says(1, 9),)
    assert room.leave("a") == (gone(1, 10),)


def test_A3_whoever_comes_is_told_of_others_under_clocks_that_it_does_not_know_yet() -> None:
    room = attendance()
    room.announce("a", [says(1, 5)])
    assert room.renew() == (("a", says(1, 7)),)
    assert room.present() == (says(1, 7),)
    assert room.announce("a", [says(1, 7)]) == (says(1, 7),)
    assert room.announce("a", [says(1, 7, "Ada Lovelace")]) == (says(1, 8, "Ada Lovelace"),)
    assert room.leave("a") == (gone(1, 9),)


def test_N1_a_connection_can_announce_only_so_many() -> None:
    room = attendance(max_per_owner=3)
    with pytest.raises(MalformedFrameError):
        room.announce("a", [says(number, 1) for number in range(4)])


def test_observers_of_the_awareness_hear_who_came_and_went() -> None:
    awareness = RoomAwareness(Doc())
    room = PresenceOwners(awareness, 3)
    heard: list[tuple[str, dict[str, list[int]]]] = []
    awareness.observe(lambda topic, changes: heard.append((topic, changes[0])))
    room.announce("a", [says(1, 5)])
    room.leave("a")
    updates = [changes for topic, changes in heard if topic == "update"]
    assert updates == [
        {"added": [1], "updated": [], "removed": []},
        {"added": [], "updated": [], "removed": [1]},
    ]
    assert awareness.states == {}
