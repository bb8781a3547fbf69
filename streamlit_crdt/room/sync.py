"""`crdt_sync`, the entry point of a script, and the rule for room names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import streamlit as st

from streamlit_crdt import _compat
from streamlit_crdt.access.participant import (
    Participant,
    Role,
    authorized_role,
    participant_for,
    random_guest,
    role_of,
)
from streamlit_crdt.access.room_context import PRIVATE_PREFIX, KeyFilter
from streamlit_crdt.errors import RoomNameError
from streamlit_crdt.merge import DEFAULT_POLICY, MergePolicy, MergeRule
from streamlit_crdt.room.room import Room
from streamlit_crdt.room.session_membership import DetachedMembership, SessionMembership
from streamlit_crdt.session import component
from streamlit_crdt.session.script_run import ScriptRun
from streamlit_crdt.session.streamlit_hooks import SessionHooks, registry

_ROOM_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)


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
    """Share this session's widgets and `st.session_state` with all sessions in the same room.

    Call it above the widgets, or use it as a `with` block around them::

        with crdt_sync("planning"):
            y = st.slider("Select a value")

    Shared are all widgets that code can set, with or without a key, and all plain values that the script assigns to
    `st.session_state`. Buttons, uploads and the open or closed state of layout elements stay in their tab. A value
    enters the room when a person changes it, or when code assigns it and the room has no value of that key. Defaults
    are not written.

    Args:
        room: name of the room, 1 to 128 of the characters A-Z a-z 0-9 . _ - . None shares nothing.
        keys: keys to share, as globs. None shares all keys.
        private: keys that are never shared, as globs.
        merge: merge rule by key or glob: "value" (the last writer wins), "text" (by character), "list", "records" (a
            list whose items merge by field), "records:FIELD" (records that FIELD identifies, "id" by default), "map",
            "set" or "counter" (all additions count). The default is "text" for `st.text_area`, "set" for a multi-select
            widget, "records" for a plain list of dicts in `st.session_state`, "map", "list" or "set" for another plain
            dict, list or set, and "value" for everything else.
        role: "editor" or "viewer". A viewer's changes are reset to the room's values, and the room server rejects them
            (rule A1).
        user: the participant shown to others: a name, or a mapping with "id" and "name". None uses the user who is
            logged in to the app (`st.login`), else a guest.
        server: address of a stand-alone server, `ws://host:port`. None uses the room server mounted in this app, else
            an embedded server, started on first use.
        on_change: called before `crdt_sync` returns if it has written remote values into this session.
        args: positional arguments of `on_change`.
        kwargs: keyword arguments of `on_change`.

    Returns:
        The room. `room.status` reports its connection.

    Raises:
        RoomNameError: `room` is not a valid name.
        MergeRuleError: `merge` names an unknown rule.
        EntryForbiddenError: the `authorize=` hook of `crdt_app` denies this session the room.
        RoleError: `role` is neither "editor" nor "viewer".
        UserError: `user` is neither a name nor a mapping with an "id" or a "name".
        ValueNotShareableError: at the end of the `with` block, a value cannot be shared. All other values are shared.
        StreamlitTooOldError: the installed Streamlit is older than the library supports.
    """
    _compat.require_streamlit()
    room = None if room is None else validate_room_name(room)
    policy = MergePolicy(dict(merge)) if merge else DEFAULT_POLICY
    run = script_run()
    if run is None:
        return Room(room, _membership_outside_runs(role_of(role), user))
    session = run.session
    if room is None:
        participant = participant_for(role_of(role), user, session.guest)
        return Room(room, _detached_membership(run, participant))
    try:
        allowed = authorized_role(room, role_of(role))
    except Exception:
        session.revoke_room(run, room)  # an earlier run may have been authorized
        raise
    participant = participant_for(allowed, user, session.guest)
    room_session = session.open_room(room, server)
    key_filter = KeyFilter(None if keys is None else tuple(keys), tuple(private))
    session.select(run, room_session, key_filter, policy, participant)
    written = session.enter(run, room_session)
    if written is not None:
        is_held = room_session.tab.should_hold()
        component.mount(run, room_session, is_held=is_held)
        if is_held:
            session.note_first_run_due()
            st.stop()
        if room_session.view_only_notice.is_due:
            room_session.view_only_notice.show()
        if written and on_change is not None:
            on_change(*args, **(kwargs or {}))
    return Room(room, SessionMembership(run, room_session))


def private_key(key: str) -> str:
    """Return a key that is never shared, for a widget or a plain value: `st.slider("x", key=private_key("x"))`."""
    return PRIVATE_PREFIX + key


def validate_room_name(room: object) -> str:
    """Return a room's name as a plain `str`.

    Raises:
        RoomNameError: the name is not valid.
    """
    if not isinstance(room, str) or not is_room_name(room):
        raise RoomNameError(room)
    return str(room)


def is_room_name(name: str) -> bool:
    """Return whether an app can have a room of this name. Other clients of a room server may use further names."""
    return _ROOM_NAME.fullmatch(name) is not None and name not in (".", "..")


def script_run() -> ScriptRun | None:
    """Return the present script run of this thread; None outside of runs.

    The first call of a session creates the library's session and installs the hooks for its runs.
    """
    context = _compat.current_run()
    if context is None:
        return None
    if context.hooks is None:
        hooks = SessionHooks(registry)
        _compat.install(hooks)
        _compat.watch_end(hooks, context)
    run = registry.open(context)
    _lifetime(run.session.id)
    return run


def _membership_outside_runs(role: Role, user: str | Mapping[str, Any] | None) -> DetachedMembership:
    """Return a new membership for a call outside of any script run, for example in a test or a shell."""
    guest = random_guest()
    membership = DetachedMembership()
    membership.begin_run(Participant(role, guest) if user is None else participant_for(role, user, guest))
    return membership


def _detached_membership(run: ScriptRun, participant: Participant) -> DetachedMembership:
    """Return the session's membership outside of any room.

    It is one object for all runs: the following run reads the values that a callback wrote.
    """
    session = run.session
    if session.detached_membership is None:
        session.detached_membership = DetachedMembership(session)
    membership: DetachedMembership = session.detached_membership
    session.enter_none(run)
    membership.begin_run(participant)
    return membership


def _release(session_id: str) -> None:
    session = registry.get(session_id)
    if session is not None:
        session.release()


@st.cache_resource(scope="session", on_release=_release, show_spinner=False)
def _lifetime(session_id: str) -> str:
    """Register `_release` for the end of the session. Streamlit also calls it when a tab disconnects for a moment."""
    return session_id
