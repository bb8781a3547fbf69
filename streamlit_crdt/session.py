"""One Streamlit session: its bindings to rooms, and what Streamlit tells us while its script runs.

The registry below is the library's only mutable module state: sessions by id. `st.session_state` holds plain data only
(some hosts refuse locks and documents there), and no session ever touches another one's state.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import streamlit as st

from streamlit_crdt import _compat, collector, place
from streamlit_crdt.binding import Binding
from streamlit_crdt.errors import ValueNotShareableError
from streamlit_crdt.identity import Part, draw_guest
from streamlit_crdt.message import CHANNEL_KEY_PREFIX, Message
from streamlit_crdt.selection import Selection
from streamlit_crdt.widgets import JUDGED_BY, SETTABLE, Widget, unkeyed_key

_log = logging.getLogger("streamlit_crdt")

RELEASED_SESSION_KEPT_S: Final = 150.0
"""A little longer than Streamlit keeps a disconnected session, which may come back with all its values."""


class Run:
    """One run of a session's script, full or of fragments.

    Attributes:
        identity: what tells runs apart, see `_compat.run_identity`.
        message: what the browser sent with it, None if code alone caused it.
        open: the rooms whose block the script is in, innermost last, with the fragment that opened them.
        entered: the rooms that `crdt_sync` has been called for.
        is_remote: whether a remote edit caused it (rule P4).
    """

    def __init__(self, identity: Any) -> None:
        self.identity = identity
        self.message: Message | None = None
        self.open: list[tuple[Binding, str | None]] = []
        self.entered: list[Binding] = []
        self.is_remote = False


class Session:
    """What the library knows of one Streamlit session.

    `lock` is held while a run compares the state with the room and writes into it. A newer run's browser message
    waits for it, and a run that was superseded finds out under it: else an older run could put its own snapshot,
    or a remote value, over what the user just did.
    """

    def __init__(self, session_id: str) -> None:
        self.id = session_id
        self.guest = draw_guest()
        self.lock = threading.RLock()
        self.bindings: dict[str, Binding] = {}
        self.released_at: float | None = None
        self._run: Run | None = None
        self._last_states: Mapping[str, bytes] = {}
        self._identities: dict[str, tuple[str, Mapping[str, Any]]] = {}
        self._fragments: dict[str, Binding] = {}
        self._rooms: list[Binding] = []
        self._page = ""
        self._remote_wake = False
        self._output_dropped = False
        self._run_lock = threading.Lock()
        self.anchor: object = None

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

    # -- runs ----------------------------------------------------------------------------------------------------

    def run_of(self, ctx: Any) -> Run | None:
        """Return the run that `ctx` is in, None if a newer one has taken its place.

        Under a lock of its own, which is never held while calling out: a parallel fragment that is registering a widget
        holds Streamlit's lock for the state here, and whoever holds `lock` may be waiting for that one.
        """
        with self._run_lock:
            identity = _compat.run_identity(ctx)
            if self._run is not None and self._run.identity is identity:
                return self._run
            if _compat.is_superseded(ctx):
                return None
            self._run = Run(identity)
            if not _compat.fragments_of_run(ctx):
                self._output_dropped = False  # all is drawn again
            return self._run

    def select(self, ctx: Any, binding: Binding, selection: Selection, part: Part) -> None:
        """Choose what is shared in the room of `binding` and as whom, together with what this run has chosen before."""
        with self.lock:
            run = self.run_of(ctx)
            if run is not None:
                binding.select(selection, part, again=binding in run.entered)

    def enter(self, ctx: Any, binding: Binding) -> list[str] | None:
        """Make `binding` the room of the widgets that follow; the first time in a run, bring state and room together.

        Returns the keys that others have changed, None if the run has entered this room before.
        """
        if not _compat.is_superseded(ctx):  # else nobody would leave the room again
            binding.attach()
        with self.lock:
            run = self.run_of(ctx)
            if run is None:
                return None
            run.open.append((binding, _compat.fragment_id()))
            if binding in run.entered:
                return None
            self._turn_page(str(ctx.page_script_hash))
            if not run.entered:
                run.is_remote = self._remote_wake and run.message is None
                self._remote_wake = False
            run.entered.append(binding)
            return binding.begin_run(run.message, remote=run.is_remote)

    def push(self, ctx: Any, binding: Binding) -> list[ValueNotShareableError]:
        """Push what the script has assigned so far; return what cannot be shared."""
        with self.lock:
            run = self.run_of(ctx)
            return [] if run is None else binding.push_now(run.message, remote=run.is_remote)

    def leave(self, ctx: Any, binding: Binding) -> list[ValueNotShareableError]:
        """End the `with` block of `binding` and push what it assigned; widgets below belong to the room around it."""
        with self.lock:
            run = self.run_of(ctx)
            if run is None:
                return []  # the newer run sees what this one assigned
            rooms = [opened for opened, _fragment in run.open]
            if binding in rooms:
                del run.open[len(rooms) - 1 - rooms[::-1].index(binding)]
            return binding.push_now(run.message, remote=run.is_remote)

    def run_ended(self, ctx: Any, *, complete: bool, reruns: bool = False) -> None:
        """Push what the run assigned, unless a newer one has taken its place."""
        with self.lock:
            run = self.run_of(ctx)
            if run is None:
                return
            state = st.session_state.to_dict()
            run.open = []
            if _compat.fragments_of_run(ctx):
                for binding in self._rooms:
                    binding.end_fragment(ctx, state, run.message)
            for binding in run.entered:
                binding.end_run(ctx, state, run.message, complete=complete, remote=run.is_remote)
            if not _compat.fragments_of_run(ctx):
                self._settle(run, complete=complete)
            elif self._output_dropped and not reruns:
                self._output_dropped = False
                _compat.request_rerun(ctx, None)

    def _settle(self, run: Run, *, complete: bool) -> None:
        """Remember the rooms that the session is in, and leave those that others have taken the place of."""
        if not run.entered:
            return
        absent = [binding for binding in self._rooms if binding not in run.entered]
        if complete:
            for binding in absent:
                binding.step_out()
            absent = []
        self._rooms = [*run.entered, *absent]

    def _turn_page(self, page: str) -> None:
        if page != self._page:
            self._page = page
            for binding in self.bindings.values():
                binding.mirror.page_changed()

    def room_of(self, ctx: Any) -> Binding | None:
        """Return the binding that a widget made just now belongs to."""
        run = self.run_of(ctx)
        if run is None:
            return None
        fragment = _compat.fragment_id()
        for binding, opened_in in reversed(run.open):
            if opened_in is not None and fragment is None:
                continue  # opened by a fragment, which is over
            if fragment is not None:
                self._fragments[fragment] = binding
            return binding
        return self._fragments.get(fragment or "") if _compat.fragments_of_run(ctx) else None

    def output_dropped(self) -> None:
        """Note that the page may lack what the last run drew: unless a full run comes next, one is asked for."""
        self._output_dropped = True

    def woke_remotely(self) -> None:
        """Note that the next run is caused by a remote edit (rule P4)."""
        self._remote_wake = True

    # -- what Streamlit tells ------------------------------------------------------------------------------------

    def received(self, ctx: Any, states: Mapping[str, bytes], triggers: frozenset[str]) -> None:
        with self.lock:
            run = self.run_of(ctx)
            if run is not None:
                run.message = Message(
                    states, triggers, self._last_states, bool(_compat.fragments_of_run(ctx))
                )
                self._last_states = states

    def browser_shows(self, ctx: Any, widget: Widget) -> bool:
        """Say whether the browser holds a value of `widget`, so that it need not be told one."""
        run = self.run_of(ctx)
        return run is not None and run.message is not None and run.message.holds(widget)

    def identified(self, key: str, kind: str, arguments: Mapping[str, Any]) -> None:
        self._identities[key] = (kind, {name: arguments[name] for name in JUDGED_BY if name in arguments})

    def forget_identity(self, key: str) -> None:
        """Drop what is known of a widget's call once the widget is made; its next call comes with its own."""
        self._identities.pop(key, None)

    def widget(self, metadata: Any, key: str) -> Widget | None:
        """Describe the widget that is being registered, or None for the library's own."""
        kind, arguments = self._identities.get(key, ("", {}))
        if not kind or key.startswith(CHANNEL_KEY_PREFIX):
            return None
        settable = kind in SETTABLE and not (
            kind == "text_input" and _compat.caller_argument("_text_input", "type") == "password"
        )
        return Widget(key, metadata.id, kind, settable, metadata.serializer, metadata.deserializer, arguments)

    def drew(self, ctx: Any, widget: Widget, value: Any, *, assigned: bool) -> None:
        """Learn what a widget shows. It belongs to one room, and outside of every room's block to none."""
        run = self.run_of(ctx)
        if run is None:
            return
        binding = self.room_of(ctx)
        if binding is not None:
            carried = run.message is not None and run.message.holds(widget)
            binding.mirror.drew(widget, value, assigned=assigned, carried=carried)
        for other in {*self._rooms, *run.entered} - {binding}:
            other.mirror.exclude(widget)

    def release(self) -> None:
        """Leave the rooms; keep the replicas for a while in case the session comes back."""
        self.released_at = time.monotonic()
        for binding in list(self.bindings.values()):
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


class SessionHooks:
    """Route what Streamlit does in a script thread to that thread's session."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def key_for(self, ctx: Any, element_type: str, native_hash: Callable[[], str]) -> str | None:
        session = self._registry.find(ctx)
        if session is None or element_type not in SETTABLE or session.room_of(ctx) is None:
            return None
        return unkeyed_key(element_type, native_hash())

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
        if binding is None or widget is None or key not in state:
            return
        is_late = not state.is_new(key)
        if is_late and (
            session is None or session.browser_shows(ctx, widget) or not binding.mirror.is_untold(key)
        ):
            return
        value = state.value(key)
        local = binding.mirror.waiting(widget, value)
        if is_late:
            binding.mirror.comes_back(widget)
        if local is not value or is_late:
            binding.replace_waiting(state, key, local)

    def after_register(self, ctx: Any, metadata: Any, key: str, value: Any, assigned: bool) -> None:
        session = self._registry.find(ctx)
        widget = None if session is None else session.widget(metadata, key)
        if session is not None and widget is not None:
            session.drew(ctx, widget, value, assigned=assigned)
            session.forget_identity(key)

    def browser_message(self, ctx: Any, states: Mapping[str, bytes], triggers: frozenset[str]) -> None:
        session = self._registry.find(ctx)
        if session is not None:
            session.received(ctx, states, triggers)

    def run_ended(self, ctx: Any, *, complete: bool, reruns: bool) -> None:
        collector.run_ended()
        session = self._registry.find(ctx)
        if session is not None:
            session.run_ended(ctx, complete=complete, reruns=reruns)

    def output_dropped(self, session_id: str) -> None:
        session = self._registry.get(session_id)
        if session is not None:
            session.output_dropped()


registry: Final = Registry()
