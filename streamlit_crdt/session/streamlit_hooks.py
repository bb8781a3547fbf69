"""Route what Streamlit does in a script thread to that thread's session: the session's side of `_compat.install`.

All sessions of this process.

The registry below is the library's only mutable module state: sessions by id. `st.session_state` holds plain data only
(some hosts refuse locks and documents there), and no session ever touches another one's state.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import streamlit as st

from streamlit_crdt import _compat
from streamlit_crdt.access.room_context import CHANNEL_KEY_PREFIX
from streamlit_crdt.binding import form_drafts, widget_registration
from streamlit_crdt.binding.widgets import SETTABLE, unkeyed_key
from streamlit_crdt.session.script_run import is_password
from streamlit_crdt.session.session import Session
from streamlit_crdt_server.gc_freeze import freeze_after_run

RELEASED_SESSION_KEPT_S: Final = 150.0
"""A little longer than Streamlit keeps a disconnected session, which may come back with all its values."""


class SessionRegistry:
    """All sessions of this process, by Streamlit's session id. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}

    def find(self, ctx: Any) -> Session | None:
        return self._sessions.get(_compat.session_key(ctx))

    def get(self, session_id: str) -> Session | None:
        return self._sessions.get(session_id)

    def sessions(self) -> list[Session]:
        with self._lock:
            return list(self._sessions.values())

    def forget(self, session_id: str) -> None:
        """Have a session leave its rooms for good."""
        with self._lock:
            session = self._sessions.pop(session_id, None)
        if session is not None:
            session.release()

    def open(self, ctx: Any) -> Session:
        with self._lock:
            self._drop_released()
            key = _compat.session_key(ctx)
            session = self._sessions.get(key)
            if session is None:
                session = self._sessions[key] = Session(key)
                brought = _compat.first_message(ctx)
                if brought is not None:
                    session.received(ctx, *brought)
            if not _compat.is_superseded(ctx):
                session.released_at = None
            if _compat.is_app_test():
                session.anchor = ctx.session_state  # its id tells sessions apart: nothing else may get it
            return session

    def _drop_released(self) -> None:
        oldest = time.monotonic() - RELEASED_SESSION_KEPT_S
        for session_id, session in list(self._sessions.items()):
            if session.released_at is not None and session.released_at < oldest:
                del self._sessions[session_id]


registry: Final = SessionRegistry()


class SessionHooks:
    """Route what Streamlit does in a script thread to that thread's session."""

    def __init__(self, registry: SessionRegistry) -> None:
        self._registry = registry

    def key_for(self, ctx: Any, element_type: str, native_hash: Callable[[], str]) -> str | None:
        session = self._registry.find(ctx)
        room_session = None if session is None else session.room_of(ctx)
        if room_session is None or element_type not in SETTABLE or is_password(element_type):
            return None
        key = unkeyed_key(element_type, native_hash())
        return key if room_session.key_filter.shares(key) else None

    def scope_of(self, ctx: Any, element_type: str, key: str) -> str | None:
        session = self._registry.find(ctx)
        room_session = None if session is None else session.room_of(ctx)
        if room_session is None or element_type not in SETTABLE or is_password(element_type):
            return None
        return room_session.scope if room_session.key_filter.shares(key) else None

    def form_opened(self, ctx: Any, form_id: str, *, clears: bool) -> None:
        session = self._registry.find(ctx)
        if session is not None:
            session.calls.forms.opened(form_id, clears=clears)

    def see_identity(
        self, ctx: Any, element_type: str, key: str, arguments: Mapping[str, Any], form_id: str
    ) -> None:
        session = self._registry.find(ctx)
        if session is not None:
            session.calls.note(key, element_type, arguments, form_id)

    def before_rules(self, ctx: Any, key: str, *, writes_allowed: bool) -> bool:
        session = self._registry.find(ctx)
        room_session = None if session is None else session.room_of(ctx)
        if room_session is None:
            return False
        with room_session.binding.locked() as keys:
            if not widget_registration.is_written_by_binding(keys, key):
                return False
            if not writes_allowed:
                widget_registration.forget(keys, key)
        if not writes_allowed and key in st.session_state:
            del st.session_state[key]
        return True

    def before_register(self, ctx: Any, state: _compat.RawState, metadata: Any, key: str) -> None:
        session = self._registry.find(ctx)
        room_session = None if session is None else session.room_of(ctx)
        widget = None if session is None else session.calls.widget(metadata, key)
        if session is None or room_session is None or widget is None:
            return
        room_session.binding.prepare(
            widget,
            state,
            is_in_browser=session.browser_shows(ctx, widget),
            is_fragment_run=bool(_compat.fragments_of_run(ctx)),
        )

    def withholds(self, ctx: Any, metadata: Any, key: str, value: Any, *, assigned: bool) -> bool:
        session = self._registry.find(ctx)
        room_session = None if session is None else session.room_of(ctx)
        widget = None if session is None else session.calls.widget(metadata, key)
        if room_session is None or widget is None or widget.form is None:
            return False
        with room_session.binding.locked() as keys:
            return form_drafts.withholds(keys, widget, value, is_assigned=assigned)

    def after_register(self, ctx: Any, metadata: Any, key: str, value: Any, assigned: bool) -> None:
        session = self._registry.find(ctx)
        widget = None if session is None else session.calls.widget(metadata, key)
        if session is not None and widget is not None:
            session.drew(ctx, widget, value, assigned=assigned)
            session.calls.forget(key)

    def turn(self, ctx: Any) -> AbstractContextManager[bool]:
        session = self._registry.find(ctx)
        return nullcontext(True) if session is None else session.turn(ctx)

    def browser_message(
        self, ctx: Any, states: Mapping[str, bytes], triggers: frozenset[str], number: int | None
    ) -> frozenset[str]:
        session = self._registry.find(ctx)
        if session is None:
            return frozenset()
        outdated = session.received(ctx, states, triggers, number)
        session.begin_callbacks(ctx)
        return outdated

    def run_begins(self, ctx: Any) -> None:
        session = self._registry.find(ctx)
        if session is None:
            return
        session.end_callbacks(ctx)
        if _compat.fragments_of_run(ctx):
            session.begin_fragments(ctx)

    def run_ended(self, ctx: Any, *, complete: bool, reruns: bool) -> None:
        freeze_after_run()
        session = self._registry.find(ctx)
        if session is not None:
            session.run_ended(ctx, complete=complete, reruns=reruns)

    def needs_whole_run(self, session_id: str, triggers: frozenset[str]) -> bool:
        return any(map(_is_click, triggers))

    def requested(self, session_id: str, states: Mapping[str, bytes], *, is_timers: bool) -> int | None:
        session = self._registry.get(session_id)
        if session is None:
            return None
        return session.requests.note(states, is_timers=is_timers)

    def knows(self, session_id: str) -> bool:
        return self._registry.get(session_id) is not None

    def output_dropped(self, session_id: str) -> None:
        session = self._registry.get(session_id)
        if session is not None:
            session.output_dropped()


def _is_click(trigger: str) -> bool:
    return CHANNEL_KEY_PREFIX not in trigger
