"""The form in the sidebar in which a person chooses a room.

Its widgets are private, so that nobody shares what they type there. The numbers are in fragments of their own, which
run every few seconds while they are shown: that runs no script. Those fragments are the library's own: a click that
comes with one of them is seen by a full run (see `unseen.py`).
"""

from __future__ import annotations

import re
from typing import Final

import streamlit as st

from streamlit_crdt import _compat, rooms
from streamlit_crdt.errors import EntryForbiddenError, RoomNameError, ServerUnavailableError
from streamlit_crdt.room.sync import private_key, session_of

REFRESH_S: Final = 3.0
"""How often the numbers are looked up while they are shown."""

MANY: Final = 8
"""A longer list scrolls."""

_HEIGHT_PX: Final = 360
_NEW: Final = private_key("crdt-new-room")


def select_room_widget(*, server: str | None = None) -> str | None:
    """Show in the sidebar which rooms there are and how many are in each; let people join, create and leave one.

    Give what it returns to `crdt_sync`::

        room = select_room_widget()
        with crdt_sync(room):
            st.slider("Guests", key="guests")

    Call it once in a run. Who is in no room shares nothing, and goes on with values of their own.

    Args:
        server: as of `crdt_sync`.

    Returns:
        The name of the room that this session is in, None if it is in none.
    """
    name = rooms.current_room()
    with st.sidebar, st.container(key="crdt-rooms", gap="small"):
        if name is None:
            st.markdown("##### Rooms")
            st.fragment(_list, run_every=REFRESH_S)(server)
            _form()
        else:
            st.markdown(f"##### {_plain(name)}")
            st.fragment(_here, run_every=REFRESH_S)(name, server)
            st.button(
                "Leave",
                key=private_key("crdt-leave-room"),
                icon=":material/logout:",
                on_click=rooms.exit_room,
                width="stretch",
            )
        if problem := st.session_state.get(rooms.PROBLEM):
            st.error(problem)
    return name


def _list(server: str | None) -> None:
    if rooms.current_room() is not None:
        st.rerun()
    try:
        listed = rooms.list_rooms(server=server)
    except ServerUnavailableError as error:
        st.warning(str(error))
        return
    if not listed:
        st.caption("There is none yet.")
    with st.container(
        key="crdt-room-list",
        height=_HEIGHT_PX if len(listed) > MANY else "content",
        border=False,
        gap="small",
    ):
        for room in listed:
            words, button = st.columns([7, 3], vertical_alignment="center", gap="small")
            words.markdown(f"{_plain(room)} :gray[· {_people(room.people)}]")
            button.button(
                "Join",
                key=private_key(f"crdt-join-room {room}"),
                help=f"Join {_plain(room)}",
                on_click=_enter,
                args=(room.name,),
                width="stretch",
            )


def _form() -> None:
    form = st.form(private_key("crdt-rooms"), border=False)
    with form, st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.text_input("New room", key=_NEW, placeholder="planning", width="stretch")
        st.form_submit_button("Create", on_click=_create)


def _here(name: str, server: str | None) -> None:
    if rooms.current_room() != name:
        st.rerun()
    ctx = _compat.script_context()
    room_session = None if ctx is None else session_of(ctx).is_in(name)
    if room_session is not None and room_session.connection.is_deleted:
        st.caption("This room was deleted. What is here stays with you until you leave.")
        return
    try:
        people = next((room.people for room in rooms.list_rooms(server=server) if room == name), 0)
    except ServerUnavailableError as error:
        st.caption(str(error))
        return
    is_coming = room_session is None  # in this very run, further below
    st.caption(f":material/group: {_people(people + is_coming)} here")


def _create() -> None:
    _enter(str(st.session_state.get(_NEW, "")).strip())


def _enter(name: str) -> None:
    try:
        rooms.enter_room(name)
    except (RoomNameError, EntryForbiddenError) as error:
        st.session_state[rooms.PROBLEM] = str(error)


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count} people"


def _plain(name: str) -> str:
    """Return a room's name as Markdown that shows it as it is."""
    return re.sub(r"([^A-Za-z0-9])", r"\\\1", name)
