"""`crdt_sync`: the one call.

What a room may be called.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import streamlit as st

from streamlit_crdt import _compat
from streamlit_crdt.access.participant import (
    Participant,
    Role,
    authorized_role,
    draw_guest,
    participant_for,
    role_of,
)
from streamlit_crdt.access.room_context import PRIVATE_PREFIX, KeyFilter
from streamlit_crdt.errors import RoomNameError
from streamlit_crdt.merge import MergePolicy, MergeRule
from streamlit_crdt.room.room import Room
from streamlit_crdt.room.session_membership import DetachedMembership, SessionMembership
from streamlit_crdt.session import component
from streamlit_crdt.session.session import Session
from streamlit_crdt.session.streamlit_hooks import SessionHooks, registry

_ROOM_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)


def validate_room_name(room: object) -> str:
    """Return a room's name as a plain text.

    Raises:
        RoomNameError: no room can be called so.
    """
    if not isinstance(room, str) or not _ROOM_NAME.fullmatch(room) or room in (".", ".."):
        raise RoomNameError(room)
    return str(room)


_log = logging.getLogger("streamlit_crdt")


def crdt_sync(
    room: str | None = "default",
    *,
    keys: Iterable[str] | None = None,
    private: Iterable[str] = (),
    merge: Mapping[str, MergeRule] | None = None,
    role: Role = "editor",
    user: str | Mapping[str, Any] | None = None,
    server: str | None = None,
    on_change: Callable[..., None] | None = None,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
) -> Room:
    """Share this session's widgets and `st.session_state` with everybody in the same room.

    Call it above the widgets, or as a `with` block around them::

        with crdt_sync("planning"):
            y = st.slider("Select a value")

    Every widget that code may set is shared, with or without a key, and every plain value that the script puts into
    `st.session_state`. Buttons, uploads and the open or closed state of layout stay in their tab. A value enters the
    room when somebody changes it, or when code assigns it and the room has none; defaults are not written.

    Args:
        room: 1 to 128 of the characters A-Z a-z 0-9 . _ - ; None shares nothing.
        keys: globs; share only these keys. None shares all.
        private: globs; never share these keys.
        merge: how edits of a key merge, by key or glob: "value" (the last writer wins), "text" (by character), "list",
            "map", "set" or "counter" (all additions count). Where it says nothing, `st.text_area` is a text, a
            multi-select widget a set, a plain dict, list or set in `st.session_state` a map, list or set, and all else
            a value.
        role: "viewer" may look and change nothing: what is moved or assigned here goes back to what the room has, and
            the room server refuses this session's edits (rule A1).
        user: who this is to the others: a name, or a mapping with "id" and "name". None: who is logged in to the app
            (`st.login`), else a guest.
        server: address of a stand-alone server (`ws://host:port`). None: the room server mounted in this app, else an
            embedded one that is started on first use.
        on_change: called before the script goes on, when values of others were taken over.
        args: positional arguments for `on_change`.
        kwargs: keyword arguments for `on_change`.

    Returns:
        The room. Its status says whether edits reach the others now.

    Raises:
        RoomNameError: the name has other characters.
        MergeRuleError: `merge` names a rule that does not exist.
        EntryForbiddenError: the app keeps this session out of the room (`authorize=` of `crdt_app`).
        RoleError, UserError: the role is another word, or the user says nothing of who it is.
        ValueNotShareableError: on leaving the `with` block, if a value cannot be shared; everything else was.
        StreamlitTooOldError: Streamlit is older than the library's floor.
    """
    _compat.require_streamlit()
    room = None if room is None else validate_room_name(room)
    rules = MergePolicy(dict(merge or {}))
    ctx = _compat.script_context()
    if ctx is None:
        alone = DetachedMembership()
        guest = draw_guest()
        alone.begin_run(
            Participant(role_of(role), guest) if user is None else participant_for(role_of(role), user, guest)
        )
        return Room(room, alone)
    session = session_of(ctx)
    if room is None:
        return Room(room, _alone(session, ctx, participant_for(role_of(role), user, session.guest)))
    try:
        allowed = authorized_role(room, role_of(role))
    except Exception:
        session.shut_out(ctx, room)  # it may have been let in before
        raise
    part = participant_for(allowed, user, session.guest)
    room_session = session.bind(room, server, ctx)
    selection = KeyFilter(None if keys is None else tuple(keys), tuple(private))
    session.select(ctx, room_session, selection, rules, part)
    written = session.enter(ctx, room_session)
    if written is not None:
        held = room_session.holds()
        component.mount(session, room_session, held=held)
        if held:
            st.stop()
        room_session.view_only_notice.tell()
        if written and on_change is not None:
            on_change(*args, **(kwargs or {}))
    return Room(room, SessionMembership(session, room_session, ctx))


def private_key(key: str) -> str:
    """Return a key that is never shared, for a widget or a plain value: `st.slider("x", key=private_key("x"))`."""
    return PRIVATE_PREFIX + key


def session_of(ctx: Any) -> Session:
    """Return this script's session, made on first use; from then on it is told of its runs and of its end."""
    hooks = SessionHooks(registry)
    _compat.install(hooks)
    _compat.watch_end(hooks, ctx)
    session = registry.open(ctx)
    _lifetime(session.id)
    return session


def _alone(session: Session, ctx: Any, part: Participant) -> DetachedMembership:
    """Return the session's membership in no room: what a callback writes there is there in the run that follows."""
    if session.alone is None:
        session.alone = DetachedMembership(session)
    alone: DetachedMembership = session.alone
    session.enter_none(ctx)
    alone.begin_run(part)
    return alone


def _release(session_id: str) -> None:
    session = registry.get(session_id)
    if session is not None:
        session.release()


@st.cache_resource(scope="session", on_release=_release, show_spinner=False)
def _lifetime(session_id: str) -> str:
    """Let Streamlit say when the session's tab is gone (it fires also when a tab is away for a moment)."""
    return session_id
