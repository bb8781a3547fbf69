"""Which rooms there are, and which one this session is in, for an app's own way to choose one.

The room that a session is in is a plain value of its own, under a private key of `st.session_state`: an app that lets
people choose a room gives it to `crdt_sync`. It is in the address too, as `?room=`, so that a page that is loaded again
comes back to it, and a link leads into it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Self

import streamlit as st

from streamlit_crdt import _compat
from streamlit_crdt.access.participant import authorized_role
from streamlit_crdt.backend import backend
from streamlit_crdt.errors import EntryForbiddenError, RoomNameError, ServerUnavailableError, ViewOnlyError
from streamlit_crdt.room.sync import private_key, session_of, validate_room_name
from streamlit_crdt_server import ServerError

__all__ = ["ListedRoom", "current_room", "delete_room", "enter_room", "exit_room", "list_rooms"]

_log = logging.getLogger("streamlit_crdt")

CURRENT: Final = private_key("crdt-current-room")
PROBLEM: Final = private_key("crdt-room-problem")
"""Why a room could not be entered that the address named, or somebody typed; `select_room_widget` shows it."""

QUERY: Final = "room"


class ListedRoom(str):
    """A room of a list: its name, with how many are in it. It can be used wherever a room's name can.

    Attributes:
        name: the name as a plain text.
        people: how many sessions are in it now.
    """

    name: str
    people: int

    def __new__(cls, name: str, people: int) -> Self:
        room = super().__new__(cls, name)
        room.name, room.people = name, people
        return room

    def __getnewargs__(self) -> tuple[Any, ...]:
        """Let the room be copied, as Streamlit does with options."""
        return self.name, self.people

    def __repr__(self) -> str:
        return f"ListedRoom({self.name!r}, people={self.people})"


def list_rooms(*, server: str | None = None) -> list[ListedRoom]:
    """Return the rooms of this app, by name: those that hold something, on disk too, or that somebody is in.

    Rooms that the app keeps this session out of (`authorize=` of `crdt_app`) are left out.

    Args:
        server: as of `crdt_sync`.

    Raises:
        ServerUnavailableError: the room server cannot tell at present.
    """
    with _told(server):
        found = backend.find(server).list_rooms()
    return [ListedRoom(entry.name, entry.people) for entry in found if _may_enter(entry.name)]


def current_room() -> str | None:
    """Return the name of the room that this session is in, for `crdt_sync`; None if it is in none.

    In a session's first run it is the room that the address names (`?room=planning`), if any. A name that no room can
    have is left alone there: `select_room_widget` shows why, and the log says so.
    """
    if CURRENT not in st.session_state:
        _enter_by_address()
    name: str | None = st.session_state[CURRENT]
    if name is None:
        if (ctx := _compat.script_context()) is not None:
            session_of(ctx).note_outside()
    elif st.query_params.get(QUERY) != name:
        st.query_params[QUERY] = name  # another page of the app has an address of its own
    return name


def enter_room(name: str) -> None:
    """Be in a room from now on; `current_room()` says so from its next call on.

    In a callback that is in time for the run that follows. In the body of a script, call `st.rerun()` next, or call it
    above `current_room()`. The room that the session was in is left as by `exit_room()`.

    Raises:
        RoomNameError: no room can be called so. The session stays where it is.
        EntryForbiddenError: the app keeps this session out of that room; likewise.
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
    """Be in no room from now on, likewise.

    The room keeps its values. They are taken out of this session: its plain values are gone from `st.session_state`,
    and its widgets show their defaults; what is private stays. Entering the room again brings them back.
    """
    former = st.session_state.get(CURRENT)
    st.session_state[CURRENT] = None
    st.session_state[PROBLEM] = None
    if QUERY in st.query_params:
        del st.query_params[QUERY]
    if former is not None:
        _leave(former)


def delete_room(name: str, *, server: str | None = None) -> None:
    """Delete a room for everybody, in memory and on disk.

    This session leaves it. Others that are in it are told in their page and go on with what they have, on their own,
    until they leave or reload; nothing of theirs comes into a new room of that name.

    Args:
        name: the room's name.
        server: as of `crdt_sync`.

    Raises:
        RoomNameError: no room can be called so.
        ViewOnlyError: the session is in the room as a viewer, or the app would let it in as one. Nothing was deleted.
        EntryForbiddenError: the app would not let it in. Nothing was deleted.
        ServerUnavailableError: the room server cannot do it at present. Nothing was deleted, as far as is known.
    """
    name = validate_room_name(name)
    where = backend.find(server)
    ctx = _compat.script_context()
    session = None if ctx is None else session_of(ctx)
    inside = None if session is None else session.is_in(name)
    if authorized_role(name, "editor") != "editor" or (inside is not None and inside.participant.is_viewer):
        raise ViewOnlyError(name)
    with _told(server):
        where.delete_room(name)
    if session is not None:
        session.forget_room(ctx, name)
        if st.session_state.get(CURRENT) == name:
            exit_room()


def _leave(room: str) -> None:
    ctx = _compat.script_context()
    if ctx is not None:
        session_of(ctx).leave_room(ctx, room)


def _enter_by_address() -> None:
    """Be in the room that the address names. It is not the script's fault if there can be none."""
    st.session_state[CURRENT] = None
    asked = st.query_params.get(QUERY)
    if asked is None:
        return
    try:
        enter_room(asked)
    except (RoomNameError, EntryForbiddenError) as error:
        _log.warning("the room in the address was not entered: %s", error)
        st.session_state[PROBLEM] = str(error)


def _may_enter(room: str) -> bool:
    try:
        authorized_role(room, "editor")
    except EntryForbiddenError:
        return False
    return True


@contextmanager
def _told(server: str | None) -> Iterator[None]:
    """Say what went wrong in the room server as one of this library's errors."""
    try:
        yield
    except ServerError as error:
        raise ServerUnavailableError(server or "this app's own address", str(error)) from error
