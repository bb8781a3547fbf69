"""State binding of one session in one room: the steps of a script run, under one lock."""

from __future__ import annotations

import threading
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from streamlit_crdt.binding import in_flight, local_edits, remote_writes, widget_registration
from streamlit_crdt.binding.key_state import KeyStates
from streamlit_crdt.binding.local_edits import PushContext
from streamlit_crdt.binding.remote_writes import StateWrite
from streamlit_crdt.binding.widget_registration import RawValues
from streamlit_crdt.binding.widgets import ClientState, Widget
from streamlit_crdt.errors import ValueNotShareableError

if TYPE_CHECKING:
    from streamlit_crdt.access.room_context import RoomContext
    from streamlit_crdt.document.replica import Replica


class StateBinding:
    """Binding between the session state of one session and its replica of one room. Thread-safe.

    A run calls `push`, `begin_run`, `plan`, `mark_written` for each write that was made, `prepare` and `register` for
    each widget, `check_registered`, `push` and `end_run`.

    Attributes:
        replica: the session's replica of the room. No other binding may have it.
        lock: held around each use of `keys`. Reentrant.
        keys: the key states, for the functions of the rule modules.
    """

    def __init__(self, replica: Replica, context: RoomContext) -> None:
        self.replica = replica
        self.lock = threading.RLock()
        self.keys = KeyStates(replica, context)

    @contextmanager
    def locked(self) -> Iterator[KeyStates]:
        """Hold the lock; return the key states."""
        with self.lock:
            yield self.keys

    @property
    def context(self) -> RoomContext:
        return self.keys.context

    @context.setter
    def context(self, context: RoomContext) -> None:
        with self.lock:
            self.keys.set_context(context)

    def start_over(self, replica: Replica | None = None) -> None:
        """Forget all values: another room has filled session state since.

        Args:
            replica: the new replica, if the room was deleted and created again.
        """
        with self.lock:
            self.keys.start_over(replica)
            self.replica = self.keys.replica

    def push(
        self,
        values: Mapping[str, Any],
        client_state: ClientState | None,
        *,
        is_synced: bool,
        is_by_person: bool = True,
        is_at_top: bool = False,
        has_trigger: bool = False,
        assigned: Container[str] = (),
        widget_keys: Iterable[str] = (),
    ) -> list[ValueNotShareableError]:
        """Write the local edits in session state into the replica, as one update.

        Args:
            values: the session state.
            client_state: what the browser sent with this run; None if code alone caused the run.
            is_synced: the room's content has arrived. Nothing is written before (R4).
            is_by_person: a person caused the run. Otherwise what code made is held (R9).
            is_at_top: the run has not written anything yet, so that `values` are the values of the browser.
            has_trigger: the client state has a click, a submit or a chat input.
            assigned: keys that code assigned since the client state. The browser did not echo those (P1).
            widget_keys: keys of Streamlit's widgets. Those that did not register with the binding are excluded.

        Returns:
            The errors of the values that cannot be shared. The other values were written.
        """
        with self.lock:
            unknown = [key for key in widget_keys if self.keys[key].widget is None]
            if unknown:
                widget_registration.exclude_unknown(self.keys, unknown)
            is_any_in_flight = any(state.in_flight is not None for state in self.keys.values())
            if is_any_in_flight and is_at_top and client_state is not None:
                in_flight.close_received(self.keys, values, client_state)
            context = PushContext(client_state, is_synced, is_by_person, is_at_top, has_trigger, assigned)
            return local_edits.push(self.keys, values, context)

    def note_callbacks(self, values: Mapping[str, Any]) -> None:
        """Record what callbacks have changed in session state. Call it after them and before the script (R9)."""
        with self.lock:
            local_edits.note_callbacks(self.keys, values)

    def hold_leftovers(self, values: Mapping[str, Any]) -> None:
        """Hold what the script of a superseded run made. Call it before the callbacks of its successor (R9)."""
        with self.lock:
            local_edits.hold_leftovers(self.keys, values)

    def begin_run(self) -> None:
        with self.lock:
            widget_registration.begin_run(self.keys)

    def plan(self, values: Mapping[str, Any]) -> list[StateWrite]:
        """Return the writes that session state needs, to show the room. Call it after `push`."""
        with self.lock:
            return remote_writes.plan(self.keys, values)

    def mark_written(self, write: StateWrite, values: Mapping[str, Any]) -> None:
        """Record that a planned write was made. `values` is the session state from before it."""
        with self.lock:
            remote_writes.mark_written(self.keys, write, values)

    def prepare(
        self, widget: Widget, values: RawValues, *, is_in_browser: bool, is_fragment_run: bool
    ) -> None:
        """Write the value that `widget` must start with into session state, before it registers.

        Args:
            is_in_browser: the client state has a value of the widget, so that the browser shows it already.
        """
        with self.lock:
            widget_registration.prepare(
                self.keys, widget, values, is_in_browser=is_in_browser, is_fragment_run=is_fragment_run
            )

    def register(self, widget: Widget, value: Any, *, is_assigned: bool, is_in_browser: bool = False) -> None:
        """Record that `widget` registered with `value`; see `widget_registration.register`."""
        with self.lock:
            widget_registration.register(
                self.keys, widget, value, is_assigned=is_assigned, is_in_browser=is_in_browser
            )

    def check_registered(self, values: Mapping[str, Any]) -> None:
        """Refuse the room's values that widgets coerced after they registered (P2)."""
        with self.lock:
            widget_registration.check_registered(self.keys, values)

    def end_run(self, *, is_complete: bool, is_by_person: bool = True) -> None:
        """End a run. Only a complete run shows which widgets have left the page (P3)."""
        with self.lock:
            widget_registration.end_run(self.keys, is_complete=is_complete, is_by_person=is_by_person)

    @property
    def widgets(self) -> dict[str, Widget]:
        """Each widget as this session registered it last, by key."""
        with self.lock:
            return self.keys.widgets()

    def needs_run(self) -> bool:
        """Return whether the room has a value that this session has not seen and would use."""
        with self.lock:
            return next(remote_writes.changed_keys(self.keys), None) is not None
