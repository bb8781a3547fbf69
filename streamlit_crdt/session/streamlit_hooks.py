"""Hooks of Streamlit's wrapped functions, and all sessions of this process.

The registry is the library's only mutable module state. `st.session_state` contains plain data only, because some hosts
refuse locks and documents in it. No session reads or writes the state of another one.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping
from typing import Final

from streamlit_crdt import _compat
from streamlit_crdt.access.room_context import CHANNEL_KEY_PREFIX
from streamlit_crdt.session.run_hooks import ScriptRunHooks
from streamlit_crdt.session.script_run import ScriptRun
from streamlit_crdt.session.session import Session
from streamlit_crdt_server.gc_freeze import freeze_after_run

RELEASED_SESSION_KEPT_S: Final = 150.0
"""Seconds that a released session is kept. Streamlit keeps a disconnected session a little shorter; until then it may
return with all its values."""


class SessionRegistry:
    """All sessions of this process, by Streamlit's session id. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}

    def get(self, session_key: str) -> Session | None:
        return self._sessions.get(session_key)

    def sessions(self) -> list[Session]:
        with self._lock:
            return list(self._sessions.values())

    def forget(self, session_key: str) -> None:
        """Remove a session, which leaves its rooms."""
        with self._lock:
            session = self._sessions.pop(session_key, None)
        if session is not None:
            session.release()

    def open(self, context: _compat.RunContext) -> ScriptRun:
        """Return the present run of a session. The first call creates the session."""
        with self._lock:
            ended = self._drop_released()
            key = context.session_key
            session = self._sessions.get(key)
            if session is None:
                session = self._sessions[key] = Session(key)
                sent = _compat.first_client_state(context)
                if sent is not None:
                    session.receive_client_state(session.run_of(context), *sent)
            if session.released_at is not None and not context.is_superseded:
                session.released_at = None
            if context.is_app_test:
                session.anchor = (
                    context  # the key contains the id of the session's state, which must stay unique
                )
        for former in ended:
            former.end()
        hooks = context.hooks
        if not isinstance(hooks, ScriptRunHooks) or hooks.session is not session:
            hooks = context.hooks = ScriptRunHooks(session, context)
        return hooks.run

    def _drop_released(self) -> list[Session]:
        oldest = time.monotonic() - RELEASED_SESSION_KEPT_S
        keys = [
            session_key
            for session_key, session in self._sessions.items()
            if session.released_at is not None and session.released_at < oldest
        ]
        return [self._sessions.pop(session_key) for session_key in keys]


registry: Final = SessionRegistry()


class SessionHooks:
    """Session side of Streamlit's wrapped functions."""

    def __init__(self, registry: SessionRegistry) -> None:
        self._registry = registry
        self._module_count = 0

    def find_run(self, context: _compat.RunContext) -> ScriptRunHooks | None:
        session = self._registry.get(context.session_key)
        return None if session is None else ScriptRunHooks(session, context)

    def run_ended(self, context: _compat.RunContext, *, complete: bool, reruns: bool) -> None:
        if len(sys.modules) != self._module_count and freeze_after_run():
            self._module_count = len(sys.modules)
        hooks = context.hooks if isinstance(context.hooks, ScriptRunHooks) else self.find_run(context)
        if hooks is not None:
            hooks.session.run_ended(hooks.run, complete=complete, reruns=reruns)

    def needs_whole_run(self, session_key: str, triggers: frozenset[str]) -> bool:
        return any(CHANNEL_KEY_PREFIX not in trigger for trigger in triggers)

    def requested(
        self,
        session_key: str,
        states: Mapping[str, bytes],
        *,
        fragment: str,
        triggers: frozenset[str],
        is_timers: bool,
    ) -> int | None:
        session = self._registry.get(session_key)
        if session is None:
            return None
        is_frame = bool(fragment and triggers) and not self.needs_whole_run(session_key, triggers)
        return session.requests.add(states, is_timers=is_timers, is_frame=is_frame)

    def is_known(self, session_key: str) -> bool:
        return self._registry.get(session_key) is not None

    def output_dropped(self, session_key: str) -> None:
        session = self._registry.get(session_key)
        if session is not None:
            session.note_dropped_output()
