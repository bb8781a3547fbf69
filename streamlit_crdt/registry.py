"""All sessions of this process.

The registry below is the library's only mutable module state: sessions by id. `st.session_state` holds plain data only
(some hosts refuse locks and documents there), and no session ever touches another one's state.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Final

from streamlit_crdt import _compat
from streamlit_crdt.session import Session

RELEASED_SESSION_KEPT_S: Final = 150.0
"""A little longer than Streamlit keeps a disconnected session, which may come back with all its values."""


class Registry:
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


registry: Final = Registry()
