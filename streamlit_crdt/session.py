"""One Streamlit session: its bindings to rooms, and what Streamlit tells us while its script runs.

The registry below is the library's only mutable module state: sessions by id. `st.session_state` holds plain data only
(some hosts refuse locks and documents there), and no session ever touches another one's state.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import Any, Final

import streamlit as st

from streamlit_crdt import _compat, place
from streamlit_crdt.binding import Binding
from streamlit_crdt.message import CHANNEL_KEY_PREFIX, Message
from streamlit_crdt.widgets import SETTABLE, Widget, unkeyed_key

_log = logging.getLogger("streamlit_crdt")

RELEASED_SESSION_KEPT_S: Final = 150.0
"""A little longer than Streamlit keeps a disconnected session, which may come back with all its values."""


class Session:
    """What the library knows of one Streamlit session."""

    def __init__(self, session_id: str) -> None:
        self.id = session_id
        self.bindings: dict[str, Binding] = {}
        self.released_at: float | None = None
        self._last_states: Mapping[str, bytes] = {}
        self._message: tuple[Any, Message] | None = None
        self._identities: dict[str, tuple[str, Mapping[str, Any]]] = {}
        self._fragments: dict[str, Binding] = {}
        self._run: Any = None
        self._open: list[Binding] = []
        self._remote_wake = False
        self.run_is_remote = False

    def bind(self, room: str, server: str | None, ctx: Any) -> Binding:
        """Return the binding to `room`, made on first use."""
        binding = self.bindings.get(room)
        where = place.find(server)
        if binding is None or binding.place != where:
            if binding is not None:
                binding.detach()
            binding = self.bindings[room] = Binding(room, where)
            for key in _compat.widget_keys(ctx):
                binding.mirror.exclude_key(key)
        return binding

    # -- which room a widget belongs to --------------------------------------------------------------------------

    def enter(self, ctx: Any, binding: Binding) -> bool:
        """Make `binding` the room of the widgets that follow in this run; say whether the run is new to it."""
        if self._run is not _compat.run_identity(ctx):
            self._run = _compat.run_identity(ctx)
            self._open = []
            self.run_is_remote = self._remote_wake and self.message_of(ctx) is None
            self._remote_wake = False
        self._open.append(binding)
        if binding.run is self._run:
            return False
        binding.run = self._run
        return True

    def leave(self, binding: Binding) -> None:
        """End the `with` block of `binding`: widgets below belong to the room around it, if any."""
        if binding in self._open:
            self._open.remove(binding)

    def is_current(self, ctx: Any) -> bool:
        """Say whether `ctx` is this session's newest run: one that was superseded must not push."""
        return self._run is _compat.run_identity(ctx)

    def room_of(self, ctx: Any) -> Binding | None:
        """Return the binding that a widget made just now belongs to."""
        if self.is_current(ctx):
            binding = self._open[-1] if self._open else None
            fragment = _compat.fragment_id()
            if binding is not None and fragment is not None:
                self._fragments[fragment] = binding
            return binding
        if _compat.fragments_of_run(ctx):
            return self._fragments.get(_compat.fragment_id() or "")
        return None

    # -- what Streamlit tells ------------------------------------------------------------------------------------

    def received(self, ctx: Any, states: Mapping[str, bytes], triggers: frozenset[str]) -> None:
        self._message = (_compat.run_identity(ctx), Message(states, triggers, self._last_states))
        self._last_states = states

    def message_of(self, ctx: Any) -> Message | None:
        """Return what the browser sent with this run; None if code alone caused it."""
        run, message = self._message or (None, None)
        return message if run is _compat.run_identity(ctx) else None

    def identified(self, key: str, kind: str, arguments: Mapping[str, Any]) -> None:
        self._identities[key] = (kind, dict(arguments))

    def widget(self, metadata: Any, key: str) -> Widget | None:
        """Describe the widget that is being registered, or None for the library's own."""
        kind, arguments = self._identities.get(key, ("", {}))
        if not kind or key.startswith(CHANNEL_KEY_PREFIX):
            return None
        settable = kind in SETTABLE and not (
            kind == "text_input" and _compat.caller_argument("_text_input", "type") == "password"
        )
        return Widget(key, metadata.id, kind, settable, metadata.serializer, metadata.deserializer, arguments)

    def run_ended(self, ctx: Any, *, complete: bool) -> None:
        """Push what the run assigned. A run that a newer one superseded pushes nothing: the newer one sees it all."""
        state, message = st.session_state.to_dict(), self.message_of(ctx)
        if self.is_current(ctx):
            for binding in self.bindings.values():
                if binding.run is self._run:
                    binding.end_run(ctx, state, message, complete=complete, remote=self.run_is_remote)
            self._open = []
        elif _compat.fragments_of_run(ctx):
            for binding in self.bindings.values():
                binding.end_fragment(ctx, state, message)

    def woke_remotely(self) -> None:
        """Note that the next run is caused by a remote edit (rule P4)."""
        self._remote_wake = True

    def release(self) -> None:
        """Leave the rooms; keep the replicas for a while in case the session comes back."""
        self.released_at = time.monotonic()
        for binding in self.bindings.values():
            binding.detach()


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

    def open(self, ctx: Any) -> Session:
        with self._lock:
            self._drop_released()
            key = _compat.session_key(ctx)
            session = self._sessions.setdefault(key, Session(key))
            session.released_at = None
            return session

    def _drop_released(self) -> None:
        oldest = time.monotonic() - RELEASED_SESSION_KEPT_S
        for session_id, session in list(self._sessions.items()):
            if session.released_at is not None and session.released_at < oldest:
                del self._sessions[session_id]


class SessionHooks:
    """Route what Streamlit does in a script thread to that thread's session."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def key_for(self, ctx: Any, element_type: str, native_id: str, arguments: Mapping[str, Any]) -> str | None:
        session = self._registry.find(ctx)
        if session is None or element_type not in SETTABLE or session.room_of(ctx) is None:
            return None
        return unkeyed_key(element_type, native_id)

    def see_identity(self, ctx: Any, element_type: str, key: str, arguments: Mapping[str, Any]) -> None:
        session = self._registry.find(ctx)
        if session is not None:
            session.identified(key, element_type, arguments)

    def before_rules(self, ctx: Any, key: str, *, writes_allowed: bool) -> bool:
        session = self._registry.find(ctx)
        binding = None if session is None else session.room_of(ctx)
        if binding is None or not binding.mirror.is_ours(key):
            return False
        if not writes_allowed:
            binding.mirror.forget(key)
            if key in st.session_state:
                del st.session_state[key]
        return True

    def before_register(self, ctx: Any, state: _compat.RawState, metadata: Any, key: str) -> None:
        session = self._registry.find(ctx)
        binding = None if session is None else session.room_of(ctx)
        widget = None if session is None else session.widget(metadata, key)
        if binding is None or widget is None or key not in state or not state.is_new(key):
            return
        value = state.value(key)
        local = binding.mirror.waiting(widget, value)
        if local is not value:
            binding.replace_waiting(state, key, local)

    def after_register(self, ctx: Any, metadata: Any, key: str, value: Any, assigned: bool) -> None:
        session = self._registry.find(ctx)
        widget = None if session is None else session.widget(metadata, key)
        if session is None or widget is None:
            return
        binding = session.room_of(ctx)
        if binding is not None:
            binding.mirror.drew(widget, value, assigned=assigned)
            return
        for outside in session.bindings.values():
            outside.mirror.exclude(widget)

    def browser_message(self, ctx: Any, states: Mapping[str, bytes], triggers: frozenset[str]) -> None:
        session = self._registry.find(ctx)
        if session is not None:
            session.received(ctx, states, triggers)

    def run_ended(self, ctx: Any, *, complete: bool) -> None:
        session = self._registry.find(ctx)
        if session is not None:
            session.run_ended(ctx, complete=complete)


registry: Final = Registry()
