"""Component that carries frames between a tab and its session.

It is mounted in a fragment of the library. A rerun that targets a fragment never interrupts a script run, so a remote
edit cannot lose a click (rule P5). The component's callback decides whether the script must run.
"""

from __future__ import annotations

import base64
import binascii
import functools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import streamlit as st

from streamlit_crdt import _compat
from streamlit_crdt.errors import CrdtError
from streamlit_crdt.transport.frame import decode_frame, read_report
from streamlit_crdt.transport.frontend_build import SCRIPT_GLOB
from streamlit_crdt.transport.tab import HOLD_S

if TYPE_CHECKING:
    from streamlit_crdt.session.room_session import RoomSession
    from streamlit_crdt.session.script_run import ScriptRun
    from streamlit_crdt.session.session import Session

_log = logging.getLogger("streamlit_crdt")

COMPONENT: Final = "streamlit-crdt.channel"


@functools.cache
def _renderer() -> Callable[..., Any]:
    return st.components.v2.component(COMPONENT, js=SCRIPT_GLOB, html="<div></div>")


def mount(run: ScriptRun, room_session: RoomSession, *, is_held: bool) -> None:
    """Mount the channel of a room at the present place of the script.

    Args:
        is_held: whether the script stops here until the tab has sent the room. Then the fragment runs again after
            `HOLD_S`, also if no tab answers.
    """
    if run.context.is_app_test:
        return  # there is no browser; each run reads and writes the room itself
    tab = room_session.tab
    _renderer()(
        key=f"{tab.channel_key}:rerun",
        data={"rerun": room_session.connection.room},
        on_rerun_change=_on_rerun,
    )
    fragment = st.fragment(_channel, run_every=HOLD_S if is_held else None)
    fragment(run.session, room_session, is_held)


def mount_badge(room_session: RoomSession) -> None:
    """Mount the badge with the status of a room. The tab updates it without a script run."""
    if _compat.is_app_test():
        return
    tab = room_session.tab
    _renderer()(
        key=f"{tab.channel_key}:badge:{tab.next_badge_number()}", data={"badge": room_session.connection.room}
    )


def _on_rerun() -> None:
    """Do nothing: the tab of a session without a fragment requested a full run, and this is that run."""


def _channel(session: Session, room_session: RoomSession, is_held: bool) -> None:
    room_session.tab.channel_fragment = _compat.fragment_id()
    if is_held and not room_session.tab.should_hold():
        st.rerun()
    with session.lock:
        data = room_session.tab.frame()
    _renderer()(
        key=room_session.tab.channel_key,
        data=data,
        on_frame_change=functools.partial(_on_frame, session, room_session),
    )


def _on_frame(session: Session, room_session: RoomSession) -> None:
    text = getattr(st.session_state.get(room_session.tab.channel_key), "frame", None)
    context = _compat.current_run()
    if not isinstance(text, str) or context is None:
        return
    try:
        frame = decode_frame(base64.b64decode(text, validate=True))
        report = read_report(frame)
        with session.lock:
            run = session.run_of(context)
            needs_run = not run.is_superseded and room_session.receive(frame, report, run.client_state)
    except (CrdtError, binascii.Error) as error:
        _log.warning("room %r rejected a frame of a tab: %s", room_session.room, error)
        return
    if needs_run:
        _rerun(run, room_session)
    elif context.fragments and room_session.tab.channel_fragment not in context.fragments:
        room_session.tab.is_frame_due = True  # the tab waits for its acknowledgment


def _rerun(run: ScriptRun, room_session: RoomSession) -> None:
    """Run the script for a remote edit, unless it runs anyway. A fragment of the app is not interrupted."""
    fragments = run.context.fragments
    if not fragments:
        return
    run.session.note_remote_cause()
    if fragments == (room_session.tab.channel_fragment,):
        st.rerun()
    room_session.request_full_run()
