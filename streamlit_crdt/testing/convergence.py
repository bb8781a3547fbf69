"""Comparison of the visible values of all sessions in a room, by key."""

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
"""The users in a room, by name, each with its room session."""


def differences(
    users: Mapping[str, SimulatedUser], replica_of: Callable[[str], Replica], ignore: Iterable[str] = ()
) -> list[Difference]:
    """Return the keys whose visible value differs between the sessions of a room, or from the room's value.

    For a session that does not show a key, for example because its widget is hidden, the replica is compared.

    Args:
        users: users to compare, by name.
        replica_of: returns a replica of a room, by its name.
        ignore: globs of keys that may differ.
    """
    globs, found = tuple(ignore), []
    for room in sorted(
        {room_session.connection.room for user in users.values() for room_session in user.rooms}
    ):
        members = {
            name: (user, room_session)
            for name, user in users.items()
            for room_session in user.rooms
            if room_session.connection.room == room
        }
        replica = replica_of(room)
        for key, sights in _sights(replica, members):
            in_room = _get(replica, key)
            if not _agree(in_room, sights) and not any(fnmatchcase(key, glob) for glob in globs):
                found.append(Difference(room, _label(key, members), in_room, tuple(sights)))
    return found


def _sights(replica: Replica, members: Members) -> Iterator[tuple[str, list[Sight]]]:
    """Yield each key of the room or of a session, with one `Sight` for each session that shares the key."""
    visible = {who: user.visible_values(room_session) for who, (user, room_session) in members.items()}
    keys = {*replica.keys(), *(key for values_by_key in visible.values() for key in values_by_key)}
    keys.update(*(room_session.replica.keys() for _user, room_session in members.values()))
    for key in sorted(keys):
        sights = [
            Sight(who, _get(room_session.replica, key), visible[who].get(key))
            for who, (_user, room_session) in members.items()
            if room_session.key_filter.shares(key)
        ]
        yield key, sights


def _agree(in_room: Any, sights: Sequence[Sight]) -> bool:
    if not all(values.equal(sight.held, in_room) for sight in sights):
        return False
    shown = [sight.shown for sight in sights if sight.shown is not None]
    if in_room is ABSENT or any(one.why == "R9" for one in shown):
        return all(values.equal(one.value, shown[0].value) for one in shown)
    return all(values.equal(one.value, one.in_room) for one in shown)


def _get(replica: Replica, key: str) -> Any:
    try:
        return replica.get(key, ABSENT)
    except ValueUnreadableError:
        return ABSENT


def _label(key: str, members: Members) -> str:
    labels = [user.label(key) for user, _room_session in members.values()]
    return next((label for label in labels if label != repr(key)), repr(key))
