"""One Streamlit session: its bindings to rooms, and which of them the widget being drawn belongs to."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import streamlit as st

from streamlit_crdt import _compat, place
from streamlit_crdt.asking import Cause, Requests
from streamlit_crdt.binding import Binding
from streamlit_crdt.calls import Calls
from streamlit_crdt.errors import ValueNotShareableError
from streamlit_crdt.identity import Part, draw_guest
from streamlit_crdt.merge import MergeRules
from streamlit_crdt.message import Message
from streamlit_crdt.run import Run
from streamlit_crdt.selection import Selection, is_private
from streamlit_crdt.stay import Stay
from streamlit_crdt.unseen import holds_unseen_edit
from streamlit_crdt.widgets import Widget


class Session:
    """What the library knows of one Streamlit session.

    `lock` is held while a run compares the state with the room and writes into it. A newer run's browser message
    waits for it, and a run that was superseded finds out under it: else an older run could put its own snapshot,
    or a remote value, over what the user just did. `calls` is what its widgets were last called with, `alone` its
    membership in no room.
    """

    def __init__(self, session_id: str) -> None:
        self.id = session_id
        self.guest = draw_guest()
        self.lock = threading.RLock()
        self.bindings: dict[str, Binding] = {}
        self.released_at: float | None = None
        self._run: Run | None = None
        self._last_states: Mapping[str, bytes] = {}
        self.requests = Requests()
        self.calls = Calls()
        self._fragments: dict[str, Binding | None] = {}
        self._stay = Stay()
        self._page = ""
        self._remote_wake = False
        self._output_dropped = False
        self._whole_run_owed = False
        self._run_lock = threading.Lock()
        self.anchor: object = None
        self.alone: Any = None

    def bind(self, room: str, server: str | None, ctx: Any) -> Binding:
        """Return the binding to `room`, made on first use."""
        binding = self.bindings.get(room)
        where = place.find(server)
        if binding is None or binding.place != where:
            if binding is not None:
                binding.detach()
            binding = self.bindings[room] = Binding(room, where)
            if self._stay.was_outside:
                binding.is_away = True
        return binding

    @property
    def rooms(self) -> tuple[Binding, ...]:
        """The rooms that the session is in, by its last whole run."""
        return tuple(self._stay.rooms)

    def shut_out(self, ctx: Any, room: str) -> None:
        """Leave a room that this session may not be in any more."""
        with self._holding(ctx):
            binding, run = self.bindings.get(room), self.run_of(ctx)
            if binding is not None and run is not None and not binding.is_away:
                self._stay.leave(ctx, run, [binding])

    def leave_room(self, ctx: Any, room: str) -> None:
        """Leave a room and take what came from it out of the state: now, or, if this run was in it, at its end."""
        binding = self.bindings.get(room)
        if binding is None:
            return
        if not (binding.way.door.peer or binding.way.is_deleted or _compat.is_superseded(ctx)):
            self.attach(binding)  # what the page brought along must get there
        with self._holding(ctx):
            run = self.run_of(ctx)
            if run is None:
                return
            if binding in run.entered:
                run.leaving += [binding] if binding not in run.leaving else []
            elif binding in self._stay.rooms:
                binding.push_last(run.message)
                self._stay.leave(ctx, run, [binding])
                self._whole_run_owed = self._whole_run_owed or bool(_compat.fragments_of_run(ctx))

    def forget_room(self, ctx: Any, room: str) -> None:
        """Leave a room that this session has deleted."""
        binding = self.bindings.get(room)
        if binding is not None:
            binding.way.door.close(for_good=True)
            binding.way.door.deleted_here()
            self.leave_room(ctx, room)

    def is_in(self, room: str) -> Binding | None:
        """Return the binding to a room that the session is in now; None if it is not."""
        binding = self.bindings.get(room)
        run = self._run
        return (
            binding if binding in self._stay.rooms or (run is not None and binding in run.entered) else None
        )

    def note_outside(self) -> None:
        """Note that the script is in no room: what it has had until it enters one is nobody's edit there."""
        self._stay.was_outside = True

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
                self._output_dropped = self._whole_run_owed = False  # all is drawn again
            return self._run

    @contextmanager
    def _holding(self, ctx: Any) -> Iterator[None]:
        """Hold `lock`, and Streamlit's for the state before it: a run that begins or ends has that one already."""
        with _compat.state_lock(ctx), self.lock:
            yield

    @contextmanager
    def turn(self, ctx: Any) -> Iterator[bool]:
        """Hold `lock`, and say whether the run that `ctx` is in still has the session's state."""
        with self.lock:
            yield self.run_of(ctx) is not None

    def select(self, ctx: Any, binding: Binding, selection: Selection, rules: MergeRules, part: Part) -> None:
        """Choose what is shared in the room of `binding`, how it merges and as whom, with what this run has chosen."""
        with self.lock:
            run = self.run_of(ctx)
            if run is not None:
                binding.select(selection, rules, part, again=binding in run.entered)

    def enter(self, ctx: Any, binding: Binding) -> list[str] | None:
        """Make `binding` the room of the widgets that follow; the first time in a run, bring state and room together.

        Returns the keys that others have changed, None if the run has entered this room before.
        """
        if not _compat.is_superseded(ctx):  # else nobody would leave the room again
            self.attach(binding)
        with self._holding(ctx):
            run = self.run_of(ctx)
            if run is None:
                return None
            self._stay.call(ctx, run, binding)
            run.open.append((binding, _compat.fragment_id()))
            if binding in run.entered:
                return None
            self._turn_page(str(ctx.page_script_hash))
            whole = not _compat.fragments_of_run(ctx)
            if not whole:
                run.is_remote = run.message is not None and run.message.is_timers
            elif not run.entered:
                run.is_remote = self._remote_wake and not (run.message is not None and run.message.has_news)
                self._remote_wake = False
            run.entered.append(binding)
            if run.is_remote:
                binding.replica.pause_history()
            rooms = {*self._stay.rooms, *run.entered}
            for one in rooms:
                one.has_company = len(rooms) > 1
            return binding.begin_run(run.message, remote=run.is_remote, whole=whole)

    def begin_callbacks(self, ctx: Any) -> None:
        """Note that callbacks come next: what they enter is no place of the script, and no widget's room."""
        run = self.run_of(ctx)
        if run is not None:
            run.in_callbacks = True

    def end_callbacks(self, ctx: Any) -> None:
        """Note that the script comes next, or fragments of it."""
        run = self.run_of(ctx)
        if run is not None:
            run.in_callbacks = False
            run.open.clear()

    def is_in_callbacks(self, ctx: Any) -> bool:
        """Say whether callbacks of the run that `ctx` is in run at the moment."""
        run = self.run_of(ctx)
        return run is not None and run.in_callbacks

    def begin_fragments(self, ctx: Any) -> None:
        """Before the app's fragments run again: push what the browser sent, and keep its echoes from their scripts."""
        with self._holding(ctx):
            run = self.run_of(ctx)
            if run is not None and run.message is not None:
                for binding in self._stay.rooms:
                    run.rewritten |= binding.begin_fragments(run.message)

    def enter_none(self, ctx: Any) -> None:
        """Be in no room where the script stands, instead of in the one that the same call has entered before."""
        with self._holding(ctx):
            run = self.run_of(ctx)
            if run is not None:
                self.note_outside()
                self._stay.call(ctx, run, None)
                run.open.append((None, _compat.fragment_id()))

    def leave_none(self, ctx: Any) -> None:
        """End the `with` block of no room."""
        run = self.run_of(ctx)
        if run is not None:
            run.close(None)

    def push(self, ctx: Any, binding: Binding) -> list[ValueNotShareableError]:
        """Push what the script has assigned so far; return what cannot be shared."""
        with self._holding(ctx):
            run = self.run_of(ctx)
            if run is None:
                return []
            return binding.push_now(run.message, remote=run.is_remote, has_drawn=binding in run.entered)

    def leave(self, ctx: Any, binding: Binding) -> list[ValueNotShareableError]:
        """End the `with` block of `binding` and push what it assigned; widgets below belong to the room around it."""
        with self._holding(ctx):
            run = self.run_of(ctx)
            if run is None:
                return []  # the newer run sees what this one assigned
            run.close(binding)
            return binding.push_now(run.message, remote=run.is_remote)

    def run_ended(self, ctx: Any, *, complete: bool, reruns: bool = False) -> None:
        """Push what the run assigned, unless a newer one has taken its place."""
        self._end_run(ctx, complete=complete, reruns=reruns)
        for binding in list(self.bindings.values()):
            if self.released_at is not None and binding.is_behind:  # the page was closed during the run
                self.attach(binding)
                if self.released_at is not None:
                    binding.detach()

    def attach(self, binding: Binding) -> None:
        """Join the room of `binding`. Its loop is waited for without the lock, for which that loop may be waiting."""
        peer = binding.way.reach()
        if (
            binding.is_away and binding.way.is_deleted
        ):  # it comes back on purpose, into the room that there is now
            with self.lock:
                binding.begin_anew()
            peer = binding.way.reach()
        with self.lock:
            binding.way.arrive(peer)

    def _end_run(self, ctx: Any, *, complete: bool, reruns: bool) -> None:
        with self._holding(ctx):
            run = self.run_of(ctx)
            if run is None:
                return
            state = st.session_state.to_dict()
            self._remote_wake = self._remote_wake and not complete
            run.open = []
            run.is_over = True
            ended = list(self._stay.rooms) if _compat.fragments_of_run(ctx) else []
            for binding in ended:
                binding.end_fragment(ctx, state, run.message)
            for binding in run.entered:
                binding.end_run(state, run.message, complete=complete, remote=run.is_remote)
            if not _compat.fragments_of_run(ctx):
                self._stay.end_run(ctx, run, complete=complete)
                if complete:
                    self.calls.forms.end_run()
            else:
                has_left = self._stay.end_fragments(run)
                ended = [binding for binding in ended if binding not in run.leaving]
                if has_left or self._output_dropped or self._left_unseen(ctx, run, state):
                    self._whole_run_owed = True
            if not reruns:  # else the next run is under way, and one that is asked for would interrupt it
                self._request_runs(ctx, [*ended, *run.entered])

    def _request_runs(self, ctx: Any, bindings: list[Binding]) -> None:
        """Ask for what is owed once the present run is over: one whole run at most."""
        owing = [binding for binding in bindings if binding.takes_owed_run()]
        if owing or self._whole_run_owed:
            self._whole_run_owed = self._output_dropped = False
            _compat.request_rerun(ctx, None)
            return
        for binding in bindings:
            binding.request_frame(ctx)

    def _left_unseen(self, ctx: Any, run: Run, state: Mapping[str, Any]) -> bool:
        if run.message is None:
            return False
        mirrors = [binding.mirror for binding in self._stay.rooms]
        return holds_unseen_edit(ctx, run.message, state, mirrors, run.rewritten)

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
        fragment, is_rerun = _compat.fragment_id(), bool(_compat.fragments_of_run(ctx))
        binding = run.innermost(fragment)
        if binding is not None or run.is_outside(fragment) or not is_rerun:
            if fragment is not None and (binding is not None or not is_rerun):
                self._fragments[fragment] = binding
            return binding
        held = self._fragments.get(fragment or "")
        return None if held is None or held.is_away else held

    def wrote(self, ctx: Any, binding: Binding) -> None:
        """Have the tab fetch what was written, if no run is under way at the end of which it would."""
        run = self._run
        if (run is None or run.is_over) and binding.tab.channel_fragment and binding.tab.is_to_fetch():
            _compat.run_fragment_soon(ctx, binding.tab.channel_fragment)

    def output_dropped(self) -> None:
        """Note that the page may lack what the last run drew: unless a full run comes next, one is asked for."""
        self._output_dropped = True

    def woke_remotely(self) -> None:
        """Note that the next run is caused by a remote edit (rule P4)."""
        self._remote_wake = True

    # -- what Streamlit tells ------------------------------------------------------------------------------------

    def received(
        self, ctx: Any, states: Mapping[str, bytes], triggers: frozenset[str], number: int | None = None
    ) -> frozenset[str]:
        """Take note of a message; return the elements of which it holds an older value than the state does (P7).

        Args:
            number: that of the page's request, if it was noted.
        """
        with self.lock:
            run = self.run_of(ctx)
            if run is None:
                return frozenset()
            self._stay.clear(ctx)
            cause = None if number is None else self.requests.take(number)
            cause = cause or Cause(bool(_compat.fragments_of_run(ctx)) and states == self._last_states, None)
            run.message = Message(states, triggers, self._last_states, cause.is_timers, cause.changed)
            self._last_states = states
            submitted = self.calls.forms.submitted(triggers)
            outdated: frozenset[str] = frozenset()
            for binding in self.bindings.values():
                binding.replica.begin_group()  # callbacks come next
                outdated |= binding.mirror.receive(states, submitted)
            if self._remote_wake and _compat.is_app_test():
                # AppTest cannot run a script without one. With this one nobody has acted.
                run.message = None
            return outdated

    def browser_shows(self, ctx: Any, widget: Widget) -> bool:
        """Say whether the browser holds a value of `widget`, so that it need not be told one."""
        run = self.run_of(ctx)
        return run is not None and run.message is not None and run.message.holds(widget)

    def drew(self, ctx: Any, widget: Widget, value: Any, *, assigned: bool) -> None:
        """Learn what a widget shows. It belongs to one room, and outside of every room's block to none."""
        run = self.run_of(ctx)
        if run is None:
            return
        binding = self.room_of(ctx)
        if binding is None and run.is_outside(_compat.fragment_id()) and not is_private(widget.key):
            self._stay.drawn.add(widget.key)
        if binding is not None:
            carried = run.message is not None and run.message.holds(widget)
            binding.mirror.drew(widget, value, assigned=assigned, carried=carried)
        for other in {*self._stay.rooms, *run.entered} - {binding}:
            other.mirror.exclude(widget)

    def release(self) -> None:
        """Leave the rooms; keep the replicas for a while in case the session comes back."""
        self.released_at = time.monotonic()
        for binding in list(self.bindings.values()):
            binding.detach()
