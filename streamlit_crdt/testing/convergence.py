"""What sessions in one room show, compared key by key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from streamlit_crdt.binding import ABSENT
from streamlit_crdt.codec import values
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.errors import ValueUnreadableError
from streamlit_crdt.session.room_session import RoomSession
from streamlit_crdt.testing.difference import Difference, Sight
from streamlit_crdt.testing.simulated_user import SimulatedUser

Members = Mapping[str, tuple[SimulatedUser, RoomSession]]
"""Who is in a room, by name, and how."""


def differences(
    people: Mapping[str, SimulatedUser], held_in: Callable[[str], Replica], ignore: Iterable[str] = ()
) -> list[Difference]:
    """Return each key of which those who are in one room do not show the same, or not what the room holds.

    A session that does not show a key, because its widget is hidden for instance, need only hold the same.

    Args:
        people: those to compare, by name.
        held_in: returns what a room holds, by its name.
        ignore: globs; keys that may differ.
    """
    globs, found = tuple(ignore), []
    for room in sorted(
        {room_session.connection.room for person in people.values() for room_session in person.rooms}
    ):
        members = {
            name: (person, room_session)
            for name, person in people.items()
            for room_session in person.rooms
            if room_session.connection.room == room
        }
        held = held_in(room)
        for key, sights in _sights(held, members):
            in_room = _get(held, key)
            if not _agree(in_room, sights) and not any(fnmatchcase(key, glob) for glob in globs):
                found.append(Difference(room, _label(key, members), in_room, tuple(sights)))
    return found


def _sights(held: Replica, members: Members) -> Iterator[tuple[str, list[Sight]]]:
    """Yield each key that anybody has, with what each has of it to whom it is not private."""
    shown = {who: person.shown(room_session) for who, (person, room_session) in members.items()}
    keys = {*held.keys(), *(key for one in shown.values() for key in one)}
    keys.update(*(room_session.replica.keys() for _person, room_session in members.values()))
    for key in sorted(keys):
        sights = [
            Sight(who, _get(room_session.replica, key), shown[who].get(key))
            for who, (_person, room_session) in members.items()
            if room_session.key_filter.shares(key)
        ]
        yield key, sights


def _agree(in_room: Any, sights: Sequence[Sight]) -> bool:
    if not all(values.equal(sight.held, in_room) for sight in sights):
        return False
    shown = [sight.shown for sight in sights if sight.shown is not None]
    if in_room is ABSENT:
        return all(values.equal(one.value, shown[0].value) for one in shown)
    return all(values.equal(one.value, one.in_room) for one in shown)


def _get(replica: Replica, key: str) -> Any:
    try:
        return replica.get(key, ABSENT)
    except ValueUnreadableError:
        return ABSENT


def _label(key: str, members: Members) -> str:
    labels = [person.label(key) for person, _binding in members.values()]
    return next((label for label in labels if label != repr(key)), repr(key))
