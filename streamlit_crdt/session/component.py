"""The component that carries frames between a tab and its session, mounted in a fragment that the library owns.

A fragment, because a rerun that targets a fragment never interrupts a script run: a remote edit cannot swallow a click
(rule P5). The component's callback decides whether the script must run at all.
"""

from __future__ import annotations

import base64
import binascii
import functools
import logging
from collections.abc import Callable
from typing import Any, Final

import streamlit as st

from streamlit_crdt import _compat
from streamlit_crdt.errors import CrdtError
from streamlit_crdt.session.room_session import RoomSession
from streamlit_crdt.session.session import Session
from streamlit_crdt.transport.connection import SCRIPT_GLOB
from streamlit_crdt.transport.frame import Frame, StatusReport, decode_frame, read_report
from streamlit_crdt.transport.tab import HOLD_S

_log = logging.getLogger("streamlit_crdt")

COMPONENT: Final = "streamlit-crdt.channel"


@functools.cache
def _renderer() -> Callable[..., Any]:
    return st.components.v2.component(COMPONENT, js=SCRIPT_GLOB, html="<div></div>")


def mount(session: Session, room_session: RoomSession, *, held: bool = False) -> None:
    """Mount the channel of `binding` where the script stands.

    Args:
        held: the script will stop here until the tab has brought the room; look again soon even if no tab answers.
    """
    if _compat.is_app_test():
        return  # no browser, so no tab to talk to: each run reads and writes the room itself
    _renderer()(
        key=f"{room_session.tab.channel_key}:rerun",
        data={"rerun": room_session.connection.room},
        on_rerun_change=_rerun_whole,
    )
    fragment = st.fragment(_channel, run_every=HOLD_S if held else None)
    fragment(session, room_session, held)


def mount_badge(room_session: RoomSession) -> None:
    """Mount the badge of a room's saved state; the tab keeps it up to date in the page, without a script run."""
    if _compat.is_app_test():
        return
    _renderer()(
        key=f"{room_session.tab.channel_key}:badge:{room_session.tab.next_badge_number()}",
        data={"badge": room_session.connection.room},
    )


def _rerun_whole() -> None:
    """Nothing to do: the run that the tab asked for, because its session had no fragment, is this one."""


def _channel(session: Session, room_session: RoomSession, held: bool) -> None:
    room_session.tab.channel_fragment = _compat.fragment_id()
    if held and not room_session.holds():
        st.rerun()
    with session.lock:
        data = room_session.frame()
    _renderer()(
        key=room_session.tab.channel_key,
        data=data,
        on_frame_change=functools.partial(_on_frame, session, room_session),
    )


def _on_frame(session: Session, room_session: RoomSession) -> None:
    text = getattr(st.session_state.get(room_session.tab.channel_key), "frame", None)
    ctx = _compat.script_context()
    if not isinstance(text, str) or ctx is None:
        return
    try:
        frame = decode_frame(base64.b64decode(text, validate=True))
        needs_run = _receive(session, room_session, frame, read_report(frame), ctx)
    except (CrdtError, binascii.Error) as error:
        _log.warning("a tab in room %r sent a frame that is refused: %s", room_session.room, error)
        return
    if needs_run:
        _rerun(session, room_session, ctx)
    elif (fragments := _compat.fragments_of_run(ctx)) and room_session.tab.channel_fragment not in fragments:
        room_session.tab.is_frame_due = True  # the tab waits for its acknowledgment


def _receive(
    session: Session, room_session: RoomSession, frame: Frame, report: StatusReport, ctx: Any
) -> bool:
    with session.lock:
        run = session.run_of(ctx)
        return run is not None and room_session.receive(frame, report, run.message)


def _rerun(session: Session, room_session: RoomSession, ctx: Any) -> None:
    """Run the script for a remote edit, unless it runs anyway; never in the way of somebody else's fragment."""
    fragments = _compat.fragments_of_run(ctx)
    if not fragments:
        return
    session.woke_remotely()
    if fragments == (room_session.tab.channel_fragment,):
        st.rerun()
    room_session.owe_rerun()
