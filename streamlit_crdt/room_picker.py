"""`select_room_widget`, a room picker in the sidebar.

Its widgets are private. The participant counts are in fragments that run every few seconds without a script run.
A click that arrives together with a run of such a fragment is handled by a full run
(see `session.has_unread_edit`).
"""

from __future__ import annotations

from typing import Final

import streamlit as st

from streamlit_crdt import rooms
from streamlit_crdt.errors import EntryForbiddenError, RoomNameError, ServerUnavailableError
from streamlit_crdt.room.plain_text import escape
from streamlit_crdt.room.sync import private_key, script_run

REFRESH_S: Final = 3.0
"""Seconds between two updates of the participant counts."""

MAX_VISIBLE_ROOMS: Final = 8
"""A longer list scrolls."""

_LIST_HEIGHT_PX: Final = 360
_NEW_ROOM: Final = private_key("crdt-new-room")


def select_room_widget(*, server: str | None = None) -> str | None:
    """Show a room picker in the sidebar, with participant counts and buttons to join, create and leave a room.

    Pass the result to `crdt_sync`::

        room = select_room_widget()
        with crdt_sync(room):
            st.slider("Guests", key="guests")

    Call it once in a run. Outside of any room, the script runs with values that are not shared.

    Args:
        server: as in `crdt_sync`.

    Returns:
        The name of this session's current room, None outside of any room.
    """
    name = rooms.current_room()
    with st.sidebar, st.container(key="crdt-rooms", gap="small"):
        if name is None:
            st.markdown("##### Rooms")
            st.fragment(_show_list, run_every=REFRESH_S)(server)
            _show_form()
        else:
            st.markdown(f"##### {escape(name)}")
            st.fragment(_show_participants, run_every=REFRESH_S)(name, server)
            st.button(
                "Leave",
                key=private_key("crdt-leave-room"),
                icon=":material/logout:",
                on_click=rooms.exit_room,
                width="stretch",
            )
        if problem := st.session_state.get(rooms.PROBLEM):
            st.error(escape(problem))
    return name


def _show_list(server: str | None) -> None:
    if rooms.current_room() is not None:
        st.rerun()
    try:
        listed = rooms.list_rooms(server=server)
    except ServerUnavailableError as error:
        st.warning(escape(str(error)))
        return
    if not listed:
        st.caption("No rooms yet.")
    with st.container(
        key="crdt-room-list",
        height=_LIST_HEIGHT_PX if len(listed) > MAX_VISIBLE_ROOMS else "content",
        border=False,
        gap="small",
    ):
        for room in listed:
            label, button = st.columns([7, 3], vertical_alignment="center", gap="small")
            label.markdown(f"{escape(room)} :gray[· {_people(room.people)}]")
            button.button(
                "Join",
                key=private_key(f"crdt-join-room {room}"),
                help=f"Join {escape(room)}",
                on_click=_enter,
                args=(room.name,),
                width="stretch",
            )


def _show_form() -> None:
    form = st.form(private_key("crdt-rooms"), border=False)
    with form, st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.text_input("New room", key=_NEW_ROOM, placeholder="planning", width="stretch")
        st.form_submit_button("Create", on_click=_create)


def _show_participants(name: str, server: str | None) -> None:
    if rooms.current_room() != name:
        st.rerun()
    run = script_run()
    room_session = None if run is None else run.session.joined_room(name)
    if room_session is not None and room_session.connection.is_deleted:
        st.caption("This room was deleted. Your values stay in this session until you leave.")
        return
    try:
        people = next((room.people for room in rooms.list_rooms(server=server) if room == name), 0)
    except ServerUnavailableError as error:
        st.caption(escape(str(error)))
        return
    is_entering = (
        room_session is None
    )  # `crdt_sync` below enters the room, which does not count this session yet
    st.caption(f":material/group: {_people(people + is_entering)} here")


def _create() -> None:
    _enter(str(st.session_state.get(_NEW_ROOM, "")).strip())


def _enter(name: str) -> None:
    try:
        rooms.enter_room(name)
    except (RoomNameError, EntryForbiddenError) as error:
        st.session_state[rooms.PROBLEM] = str(error)


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count} people"
