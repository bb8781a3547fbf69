"""Ownership of client ids by connections, and their clocks."""

from __future__ import annotations

import pytest
from pycrdt import Awareness, Doc

from streamlit_crdt_server import MalformedFrameError, Settings
from streamlit_crdt_server.protocol import Presence
from streamlit_crdt_server.room.presence import UNKNOWN_CLOCK_MARGIN, PresenceOwners, RoomAwareness

FIRST = 5 + UNKNOWN_CLOCK_MARGIN + 1
"""Clock of the first presence of a client that announces clock 5 to a server without clocks."""

GONE = "null"


def make_owners(max_per_owner: int = 3, time_s: int = 0) -> PresenceOwners:
    settings = Settings(max_presences_per_connection=max_per_owner)
    return PresenceOwners(RoomAwareness(Doc()), settings, time_s=lambda: time_s)


def presence(client_id: int, clock: int, name: str = "Ada") -> Presence:
    return Presence(client_id, clock, f'{{"name":"{name}"}}', {"name": name})


def removal_of(client_id: int, clock: int) -> Presence:
    return Presence(client_id, clock, GONE, None)


def test_room_awareness_has_no_state_of_the_server() -> None:
    assert RoomAwareness(Doc()).states == {}
    assert Awareness(Doc()).states != {}, "pycrdt fixed its bug: remove the override"


def test_A3_presence_is_removed_with_its_connection() -> None:
    owners = make_owners()
    owners.announce("a", [presence(1, 5)])
    (removal,) = owners.leave("a")
    assert removal == removal_of(1, FIRST + 1)
    assert owners.present() == ()


def test_A3_connection_cannot_remove_the_presence_of_another() -> None:
    owners = make_owners()
    owners.announce("a", [presence(1, 5)])
    assert owners.announce("b", [removal_of(1, 9)]) == ()
    assert owners.present() == (presence(1, FIRST),)


def test_A3_connection_cannot_change_the_presence_of_another() -> None:
    owners = make_owners()
    owners.announce("a", [presence(1, 5)])
    assert owners.announce("b", [presence(1, 9, "Mallory")]) == ()
    assert owners.present() == (presence(1, FIRST),)


def test_A3_repeated_presence_of_a_removed_client_is_ignored() -> None:
    owners = make_owners()
    owners.announce("a", [presence(1, 5)])
    owners.announce("b", [presence(2, 5)])
    owners.leave("a")
    assert owners.announce("b", [presence(1, 5)]) == ()
    assert owners.announce("b", [presence(1, FIRST)]) == ()
    assert owners.present() == (presence(2, FIRST),)


def test_A3_reconnected_client_gets_a_newer_clock_than_its_removal() -> None:
    owners = make_owners()
    owners.announce("a", [presence(1, 5)])
    (removal,) = owners.leave("a")
    (back,) = owners.announce("a again", [presence(1, 5)])
    assert back.clock > removal.clock
    assert back.text == presence(1, 5).text


@pytest.mark.parametrize("announced", [5, FIRST], ids=["received nothing", "received the first clock only"])
def test_A3_new_server_gives_a_client_a_newer_clock_than_others_have(announced: int) -> None:
    owners = make_owners(time_s=1_700_000_000)
    owners.announce("a", [presence(1, announced)])
    for newcomer in range(9):  # each increases the clock at the others
        owners.announce(newcomer, [presence(2 + newcomer, 1)])
        owners.renew()
    (removal,) = owners.leave("a")
    (first,) = make_owners(time_s=1_700_000_060).announce("a", [presence(1, announced)])
    assert first.clock > removal.clock


def test_A3_new_server_with_an_old_time_gives_a_client_a_newer_clock() -> None:
    (first,) = make_owners(time_s=0).announce("a", [presence(1, 1_700_000_000)])
    assert first.clock > 1_700_000_000 + 9


def test_renewed_presence_is_sent() -> None:
    owners = make_owners()
    owners.announce("a", [presence(1, 5)])
    assert owners.announce("a", [presence(1, FIRST + 1)]) == (presence(1, FIRST + 1),)


def test_repeated_presence_keeps_its_clock() -> None:
    owners = make_owners()
    owners.announce("a", [presence(1, 5)])
    assert owners.announce("a", [presence(1, FIRST)]) == (presence(1, FIRST),)
    assert owners.announce("a", [presence(1, 5)]) == (presence(1, FIRST),)


def test_changed_presence_with_a_stale_clock_gets_a_newer_clock() -> None:
    owners = make_owners()
    owners.announce("a", [presence(1, 5)])
    assert owners.announce("a", [presence(1, 6, "Ada Lovelace")]) == (presence(1, FIRST + 1, "Ada Lovelace"),)


def test_client_can_leave_and_return_on_one_connection() -> None:
    owners = make_owners()
    owners.announce("a", [presence(1, 5)])
    assert owners.announce("a", [removal_of(1, FIRST + 1)]) == (removal_of(1, FIRST + 1),)
    assert owners.present() == ()
    assert owners.announce("a", [presence(1, FIRST + 2)]) == (presence(1, FIRST + 3),)
    assert owners.leave("a") == (removal_of(1, FIRST + 4),)


def test_A3_renewal_increases_the_clocks_of_all_presences() -> None:
    owners = make_owners()
    owners.announce("a", [presence(1, 5)])
    assert owners.renew() == (("a", presence(1, FIRST + 1)),)
    assert owners.present() == (presence(1, FIRST + 1),)
    assert owners.announce("a", [presence(1, FIRST + 1)]) == (presence(1, FIRST + 1),)
    assert owners.announce("a", [presence(1, 6, "Ada Lovelace")]) == (presence(1, FIRST + 2, "Ada Lovelace"),)
    assert owners.leave("a") == (removal_of(1, FIRST + 3),)


def test_N1_client_ids_per_connection_are_limited() -> None:
    owners = make_owners(max_per_owner=3)
    with pytest.raises(MalformedFrameError):
        owners.announce("a", [presence(number, 1) for number in range(4)])


ROOM = {"max_presence_bytes_per_room": 1000, "max_connections_per_room": 10}


def sized(client_id: int, size: int) -> Presence:
    text = '{"x":"' + "A" * (size - 8) + '"}'
    assert len(text) == size
    return Presence(client_id, 1, text, {})


@pytest.mark.parametrize(
    ("limits", "announced", "ignored"),
    [
        ({"max_presence_bytes_per_client_id": 100}, [("a", "u", 1, 100), ("a", "u", 2, 101)], [2]),
        (
            {"max_presence_bytes_per_connection": 100},
            [("a", "u", 1, 60), ("a", "u", 2, 60), ("b", "u", 3, 60)],
            [2],
        ),
        (
            {"max_presence_bytes_per_user": 100},
            [("a", "u", 1, 60), ("b", "u", 2, 60), ("c", "v", 3, 60)],
            [2],
        ),
        (ROOM, [("a", "u", 1, 990), ("b", "v", 2, 200), ("c", "w", 3, 100), ("c", "w", 4, 20)], [2, 4]),
    ],
)
def test_N3_presence_beyond_a_limit_of_bytes_is_ignored(
    limits: dict[str, int], announced: list[tuple[str, str, int, int]], ignored: list[int]
) -> None:
    owners = PresenceOwners(RoomAwareness(Doc()), Settings(**limits))
    excesses: dict[int, str] = {}
    for owner, user, client_id, size in announced:
        owners.announce(
            owner,
            [sized(client_id, size)],
            user=user,
            on_excess=lambda presence, limit: excesses.update({presence.client_id: limit}),
        )
    assert excesses == dict.fromkeys(ignored, next(iter(limits)))
    assert [each.client_id for each in owners.present()] == [
        client_id for _, _, client_id, _ in announced if client_id not in ignored
    ]


def test_N3_presence_that_left_no_longer_counts() -> None:
    owners = PresenceOwners(RoomAwareness(Doc()), Settings(max_presence_bytes_per_user=100))
    for number in range(5):
        assert owners.announce(number, [sized(number, 90)], user="u", on_excess=pytest.fail)
        assert owners.announce(number, [sized(number, 95)], user="u", on_excess=pytest.fail)
        owners.leave(number)


def test_awareness_observers_are_notified_of_added_and_removed_clients() -> None:
    awareness = RoomAwareness(Doc())
    owners = PresenceOwners(awareness, Settings())
    notified: list[tuple[str, dict[str, list[int]]]] = []
    awareness.observe(lambda topic, changes: notified.append((topic, changes[0])))
    owners.announce("a", [presence(1, 5)])
    owners.leave("a")
    updates = [changes for topic, changes in notified if topic == "update"]
    assert updates == [
        {"added": [1], "updated": [], "removed": []},
        {"added": [], "updated": [], "removed": [1]},
    ]
    assert awareness.states == {}
