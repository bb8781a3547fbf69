"""Rooms of an app, and the current room of this session, for an app with its own room picker.

The current room is a private value of `st.session_state`. Pass it to `crdt_sync`. It is also the query parameter
`?room=` of the page's address, so a reload stays in the room, and a link opens it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Self

import streamlit as st

from streamlit_crdt.access.participant import authorized_role
from streamlit_crdt.backend import backend
from streamlit_crdt.errors import EntryForbiddenError, RoomNameError, ServerUnavailableError, ViewOnlyError
from streamlit_crdt.room.sync import is_room_name, private_key, script_run, validate_room_name
from streamlit_crdt_server import ServerError

__all__ = ["ListedRoom", "current_room", "delete_room", "enter_room", "exit_room", "list_rooms"]

_log = logging.getLogger("streamlit_crdt")

CURRENT: Final = private_key("crdt-current-room")
PROBLEM: Final = private_key("crdt-room-problem")
"""Key of the error for a room that could not be entered. `select_room_widget` shows it."""

QUERY: Final = "room"
"""Name of the query parameter."""


class ListedRoom(str):
    """The name of a listed room, with the number of its participants. Usable wherever a room's name is.

    Attributes:
        name: the name as a plain `str`.
        people: number of sessions and other clients in the room.
    """

    name: str
    people: int

    def __new__(cls, name: str, people: int) -> Self:
        room = super().__new__(cls, name)
        room.name, room.people = name, people
        return room

    def __getnewargs__(self) -> tuple[Any, ...]:
        """Support copies. Streamlit copies the options of a widget."""
        return self.name, self.people

    def __repr__(self) -> str:
        return f"ListedRoom({self.name!r}, people={self.people})"


def list_rooms(*, server: str | None = None) -> list[ListedRoom]:
    """Return the rooms of this app in the order of their names.

    These are the rooms with content, in memory or on disk, and the rooms with participants. Rooms that the `authorize=`
    hook of `crdt_app` denies this session are left out, and rooms of other clients whose names are no names of an app.

    Args:
        server: as in `crdt_sync`.

    Raises:
        ServerUnavailableError: the room server does not answer, or its store fails.
    """
    with _server_errors_as_unavailable(server):
        found = backend.find(server).list_rooms()
    return [
        ListedRoom(entry.name, entry.people)
        for entry in found
        if is_room_name(entry.name) and _may_enter(entry.name)
    ]


def current_room() -> str | None:
    """Return the name of this session's current room, for `crdt_sync`. None means no room.

    In the first run of a session, it is the room of the query parameter (`?room=planning`), if any. If that room cannot
    be entered, the session stays outside of any room; the log and `select_room_widget` show the reason.
    """
    if CURRENT not in st.session_state:
        _enter_from_query()
    name: str | None = st.session_state[CURRENT]
    if name is None:
        if (run := script_run()) is not None:
            run.session.note_outside()
    elif st.query_params.get(QUERY) != name:
        st.query_params[QUERY] = name  # each page of a multipage app has its own query parameters
    return name


def enter_room(name: str) -> None:
    """Make `name` the current room, and leave the previous one as `exit_room()` does.

    The next call of `current_room()` returns it. In a callback, this is the run that follows. In the body of a script,
    call this function above `current_room()`, or call `st.rerun()` after it.

    Raises:
        RoomNameError: the name is not valid. The current room is unchanged.
        EntryForbiddenError: the `authorize=` hook denies this session the room. The current room is unchanged.
    """
    name = validate_room_name(name)
    authorized_role(name, "editor")
    former = st.session_state.get(CURRENT)
    st.session_state[CURRENT] = name
    st.session_state[PROBLEM] = None
    st.query_params[QUERY] = name
    if former not in (None, name):
        _leave(former)


def exit_room() -> None:
    """Leave the current room. Takes effect as `enter_room` does.

    The room keeps its values. In this session, the room's plain values are removed from `st.session_state`, and its
    widgets show their defaults. Private values stay. Entering the room again restores its values.
    """
    former = st.session_state.get(CURRENT)
    st.session_state[CURRENT] = None
    st.session_state[PROBLEM] = None
    if QUERY in st.query_params:
        del st.query_params[QUERY]
    if former is not None:
        _leave(former)


def delete_room(name: str, *, server: str | None = None) -> None:
    """Delete a room for all participants, in memory and on disk.

    This session leaves the room. Other sessions in it show a notice. They keep their values, unshared, until they leave
    or reload. Their values do not reach a new room of that name.

    Args:
        name: the room's name.
        server: as in `crdt_sync`.

    Raises:
        RoomNameError: the name is not valid.
        ViewOnlyError: the session's role in the room is viewer. Nothing was deleted.
        EntryForbiddenError: the `authorize=` hook denies this session the room. Nothing was deleted.
        ServerUnavailableError: the room server does not answer, or its store fails. The room may still exist.
    """
    name = validate_room_name(name)
    room_backend = backend.find(server)
    run = script_run()
    room_session = None if run is None else run.session.joined_room(name)
    is_viewer = room_session is not None and room_session.participant.is_viewer
    if authorized_role(name, "editor") != "editor" or is_viewer:
        raise ViewOnlyError(name)
    with _server_errors_as_unavailable(server):
        room_backend.delete_room(name)
    if run is not None:
        run.session.forget_room(run, name)
        if st.session_state.get(CURRENT) == name:
            exit_room()


def _leave(room: str) -> None:
    run = script_run()
    if run is not None:
        run.session.leave_room(run, room)


def _enter_from_query() -> None:
    """Enter the room of the query parameter. An invalid one is not an error of the script, so it is logged."""
    st.session_state[CURRENT] = None
    requested = st.query_params.get(QUERY)
    if requested is None:
        return
    try:
        enter_room(requested)
    except (RoomNameError, EntryForbiddenError) as error:
        _log.warning("the room of the page's address was not entered: %s", error)
        st.session_state[PROBLEM] = str(error)


def _may_enter(room: str) -> bool:
    try:
        authorized_role(room, "editor")
    except EntryForbiddenError:
        return False
    return True


@contextmanager
def _server_errors_as_unavailable(server: str | None) -> Iterator[None]:
    """Raise ServerUnavailableError from each error of the room server."""
    try:
        yield
    except ServerError as error:
        raise ServerUnavailableError(server or "this app's own address", str(error)) from error
