"""Keep a session's state and its replica the same, in both directions, and mistake nothing for an edit.

A mirror is pure: it reads a snapshot of `st.session_state`, tells the replica what changed in it (`push`) and says what
must be written into it (`plan`, then `wrote` for each write that was made). It never calls Streamlit, so that each rule
can be tested by itself. Values are compared and remembered in their shared form (see `Widget.shared`).

Why it is not simply "what differs is an edit": a browser sends the old value of a widget along with another widget's
change (P1), a widget may bend a value that it was given (P2), a hidden widget's value comes and goes (P3), a script may
assign something new on each run (P4), and a default is nobody's edit (R4).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from streamlit_crdt import values
from streamlit_crdt.errors import ValueNotShareableError, ValueUnreadableError
from streamlit_crdt.message import Message
from streamlit_crdt.replica import Replica
from streamlit_crdt.widgets import REFUSED, UNKEYED_PREFIX, Widget

_log = logging.getLogger("streamlit_crdt")

VOLATILE_AFTER_ROUNDS: Final = 3
"""So many remote runs in a row that overwrite what they were sent make a key volatile (P4)."""

CONFIRM_TRIES: Final = 3
"""So often a delivery may be found unconfirmed before the browser is taken at its word (P1)."""


@dataclass(slots=True)
class InFlight:
    """A value written here that the browser has not confirmed; `before` is what it may still send (P1)."""

    before: list[Any]
    value: Any
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Write:
    """One assignment to make: `value` goes into the state, `shared` is its form in the room.

    `put_back`: it undoes what a viewer changed here, and is no news of others (rule A1).
    """

    key: str
    value: Any
    shared: Any
    delete: bool = False
    put_back: bool = False


class Mirror:
    """The bookkeeping between one session's state and one room's replica. Thread-safe.

    Attributes:
        is_read_only: whether the session may only look (rule A1): nothing is pushed, and what is changed here is put
            back to what the room has.
    """

    def __init__(self, replica: Replica, shares: Callable[[str], bool]) -> None:
        self._replica = replica
        self._shares = shares
        self._lock = threading.RLock()
        self.widgets: dict[str, Widget] = {}
        self._seen: dict[str, Any] = {}
        self._in_flight: dict[str, InFlight] = {}
        self._refused: dict[str, Any] = {}
        self._assigned: set[str] = set()
        self._in_room: set[str] = set()
        self._drawn: set[str] = set()
        self._drawn_now: set[str] = set()
        self._written_now: set[str] = set()
        self._untold: set[str] = set()
        self._overwritten_now: set[str] = set()
        self._before_sync: dict[str, Any] = {}
        self._by_code: Container[str] = ()
        self._unchecked: dict[str, Any] = {}
        self._churn: dict[str, int] = {}
        self._volatile: set[str] = set()
        self._warned: set[tuple[str, str]] = set()
        self.deliveries = 0
        self.is_read_only = False

    # -- a run ---------------------------------------------------------------------------------------------------

    def begin_run(self) -> None:
        """Start counting what this run draws and is sent."""
        with self._lock:
            self._drawn |= self._drawn_now  # of a run that a newer one replaced before its end
            self._drawn_now = set()
            self._written_now = set()
            self._overwritten_now = set()
            self._unchecked = {}

    def end_run(self, *, complete: bool, remote: bool) -> None:
        """Close a run. Only a complete run tells which widgets are gone (P3)."""
        with self._lock:
            self._drawn = self._drawn_now if complete else self._drawn | self._drawn_now
            if remote:
                for key in self._written_now - self._overwritten_now:
                    self._churn.pop(key, None)
            self._drawn_now = set()
            if complete:
                self._drop_outdated()

    def _drop_outdated(self) -> None:
        """Forget unkeyed widgets that are gone and that nobody changed: each new set of options is another key."""
        for key in [key for key in self.widgets if key.startswith(UNKEYED_PREFIX)]:
            if key not in self._drawn and key not in self._replica:
                for known in (self.widgets, self._seen, self._in_flight, self._refused):
                    known.pop(key, None)

    def page_changed(self) -> None:
        """Forget what the former page drew: its keys may come back with values from before it (P3)."""
        with self._lock:
            self._drawn = set()

    def start_over(self, replica: Replica | None = None) -> None:
        """Take nothing in the state for an edit: another room has filled it since.

        Args:
            replica: the room's new content, if the room itself was deleted and begun anew.
        """
        with self._lock:
            self._replica = self._replica if replica is None else replica
            for known in (self._seen, self._in_flight, self._refused, self._unchecked, self._churn):
                known.clear()
            for keys in (self._assigned, self._in_room, self._drawn, self._drawn_now, self._written_now):
                keys.clear()
            self._untold.clear()

    # -- local edits ---------------------------------------------------------------------------------------------

    def push(
        self,
        state: Mapping[str, Any],
        message: Message | None,
        *,
        synced: bool,
        remote: bool = False,
        at_top: bool = False,
        assigned: Container[str] = (),
    ) -> list[ValueNotShareableError]:
        """Tell the replica what changed in `state`; return what cannot be shared, all else being pushed.

        Args:
            state: a snapshot of the session's state.
            message: what the browser sent with this run, None if code alone caused it.
            synced: whether the room's content is here. Before that nothing is written (R4).
            remote: whether a remote edit caused this run (P4).
            at_top: whether the run has not written anything yet, so that `state` is what the browser sent.
            assigned: keys that code has assigned since the browser's message; the browser did not echo those (P1).
        """
        errors: list[ValueNotShareableError] = []
        with self._lock, self._replica.transaction():
            self._by_code = assigned
            if at_top and message is not None:
                self._confirm_delivered(state, message)
            if self.is_read_only:
                return []
            for key in list(state):
                if self._shares(key):
                    self._push_key(key, state[key], message, synced, remote, errors)
            if synced:
                self._push_deletions(state)
        return errors

    def _push_key(
        self,
        key: str,
        value: Any,
        message: Message | None,
        synced: bool,
        remote: bool,
        errors: list[ValueNotShareableError],
    ) -> None:
        try:
            current = self._shared(key, value, message)
            if current is REFUSED:
                return
            if not synced and key not in self._seen and key not in self.widgets:
                self._before_sync.setdefault(key, values.detach(current))
            if self._is_known(key, current, message):
                return
            if synced and not self._is_damped(key, remote):
                self._write(key, current)
        except ValueNotShareableError as error:
            errors.append(error)

    def _confirm_delivered(self, state: Mapping[str, Any], message: Message) -> None:
        for key, flight in list(self._in_flight.items()):
            widget = self.widgets.get(key)
            if widget is None or not message.holds(widget) or key not in state:
                continue
            if values.equal(_form(widget, state[key]), flight.value):
                del self._in_flight[key]

    def _shared(self, key: str, value: Any, message: Message | None) -> Any:
        widget = self.widgets.get(key)
        if widget is None:
            return REFUSED if key.startswith(UNKEYED_PREFIX) else value
        drawn = (
            key in self._drawn or key in self._drawn_now or (message is not None and message.holds(widget))
        )
        return widget.shared(value) if widget.settable and drawn else REFUSED  # P3, P6

    def _is_known(self, key: str, current: Any, message: Message | None) -> bool:
        if key not in self._seen:
            if key in self.widgets and key not in self._assigned:
                self._seen[key] = values.detach(current)  # R4: a default
                return True
            first = self._before_sync.get(key, current)
            return key in self._replica and values.equal(current, first)  # R4: it wins over a first value
        flight = self._in_flight.get(key)
        if values.equal(current, self._seen[key]):
            return True
        if flight is None:
            return False
        if any(values.equal(current, old) for old in flight.before) and self._is_echo(key, message):
            return True  # P1
        self._overtake(flight, current)
        return False

    def _overtake(self, flight: InFlight, current: Any) -> None:
        """A person's edit met a value on its way: the page may still put that one over the edit (P1)."""
        flight.before = [*flight.before, flight.value][-8:]
        flight.value = values.detach(current)
        flight.tries = 0
        self.deliveries += 1

    def _is_echo(self, key: str, message: Message | None) -> bool:
        """Say whether the old value came along with something else (P1).

        It did not if code assigned it, or if the message holds no other change and no trigger: then this widget itself
        was moved back.
        """
        if key in self._by_code:
            return False
        widget = self.widgets.get(key)
        return message is None or widget is None or not message.only_explained_by(widget)

    def _is_damped(self, key: str, remote: bool) -> bool:
        if not remote or key not in self._written_now or key in self._overwritten_now:
            return key in self._volatile and remote
        self._overwritten_now.add(key)
        self._churn[key] = self._churn.get(key, 0) + 1
        if self._churn[key] >= VOLATILE_AFTER_ROUNDS and key not in self._volatile:
            self._volatile.add(key)
            self._warn(
                key,
                "volatile",
                f"st.session_state[{key!r}] gets a new value on each run, so sessions would wake each other for ever; "
                f"it is now shared only when somebody acts. Make it private: crdt_sync(..., private=[{key!r}]).",
            )
        return key in self._volatile

    def _write(self, key: str, current: Any) -> None:
        self._replica.set(key, current)
        self._seen[key] = values.detach(current)
        self._assigned.discard(key)
        self._before_sync.pop(key, None)
        self._refused.pop(key, None)
        self._in_room.add(key)

    def _push_deletions(self, state: Mapping[str, Any]) -> None:
        for key in [key for key in self._seen if key not in state]:
            if key in self.widgets or key.startswith(UNKEYED_PREFIX) or not self._shares(key):
                continue  # P3: a widget that vanished was not deleted
            if key in self._replica and values.equal(self._replica.get(key), self._seen[key]):
                self._replica.delete(key)
            del self._seen[key]
            self._in_room.discard(key)

    # -- remote edits --------------------------------------------------------------------------------------------

    def plan(self, state: Mapping[str, Any]) -> list[Write]:
        """Return what must be written into `state` for it to show the room. Call after `push`."""
        with self._lock:
            writes = [write for key in self._replica if (write := self._plan_key(key, state)) is not None]
            for key in self._gone():
                self._in_room.discard(key)
                self._seen.pop(key, None)
                if key in state:
                    writes.append(Write(key, None, None, delete=True))
            self._in_room.update(write.key for write in writes if not write.delete)
            if self.is_read_only:
                writes += self._untouched(state)
            return writes

    def _untouched(self, state: Mapping[str, Any]) -> list[Write]:
        """Put widgets that nobody in the room has touched back to what they showed untouched (rule A1)."""
        writes = []
        for key in (self._drawn | self._drawn_now) & self._seen.keys() & state.keys():
            widget, seen = self.widgets.get(key), self._seen[key]
            if widget is None or not widget.settable or key in self._replica or not self._shares(key):
                continue
            local = REFUSED if self._already_shows(key, widget, state[key], seen) else widget.local(seen)
            if local is not REFUSED:
                writes.append(Write(key, values.detach(local), seen, put_back=True))
        return writes

    def _gone(self) -> list[str]:
        return [key for key in self._in_room if key not in self._replica and key not in self.widgets]

    def _plan_key(self, key: str, state: Mapping[str, Any]) -> Write | None:
        widget = self.widgets.get(key)
        if not self._shares(key) or (widget is not None and not widget.settable):
            return None
        remote = self._read(key)
        if remote is REFUSED or self._is_refused(key, remote):
            return None
        self._in_room.add(key)
        if key in state and self._already_shows(key, widget, state[key], remote):
            if key not in self._in_flight:
                self._seen[key] = values.detach(remote)
            return None
        local = remote if widget is None else widget.local(remote)
        if local is REFUSED:
            self.refuse(key, remote)
            return None
        put_back = self.is_read_only and key in self._seen and values.equal(remote, self._seen[key])
        return Write(key, values.detach(local), remote, put_back=put_back)

    def _already_shows(self, key: str, widget: Widget | None, value: Any, remote: Any) -> bool:
        return values.equal(value if widget is None else _form(widget, value), remote)

    def _is_refused(self, key: str, remote: Any) -> bool:
        return key in self._refused and values.equal(self._refused[key], remote)

    def _read(self, key: str) -> Any:
        try:
            return self._replica.get(key)
        except ValueUnreadableError as error:
            self._warn(key, "unreadable", f"the room's value of {key!r} cannot be read here: {error}")
            return REFUSED

    def wrote(self, write: Write, state: Mapping[str, Any]) -> None:
        """Note that a planned write was made; `state` is the snapshot from before it."""
        if write.delete:
            return
        with self._lock:
            key, widget = write.key, self.widgets.get(write.key)
            if widget is not None and key in state:
                flight = self._in_flight.get(key)
                before = [] if flight is None else [*flight.before, flight.value]
                current = _form(widget, state[key])
                again = flight is not None and values.equal(flight.value, write.shared)
                tries = flight.tries if flight is not None and again else 0
                self._in_flight[key] = InFlight([*before, values.detach(current)][-8:], write.shared, tries)
                self.deliveries += 1
            self._seen[key] = values.detach(write.shared)
            self._before_sync.pop(key, None)
            self._written_now.add(key)
            self._untold.add(key)
            self._churn.setdefault(key, 0)

    def needs_run(self) -> bool:
        """Say whether the room holds a change that this session has not been shown and would use."""
        with self._lock:
            return any(self._is_news(key) for key in self._replica) or any(
                key in self._seen for key in self._gone()
            )

    def _is_news(self, key: str) -> bool:
        widget = self.widgets.get(key)
        if not self._shares(key) or key in self._volatile:
            return False
        if widget is not None and (not widget.settable or key not in self._drawn | self._drawn_now):
            return False  # on another page, or hidden
        if widget is None and key.startswith(UNKEYED_PREFIX):
            return False
        remote = self._read(key)
        if remote is REFUSED or self._is_refused(key, remote):
            return False
        return key not in self._seen or not values.equal(remote, self._seen[key])

    # -- widgets -------------------------------------------------------------------------------------------------

    def waiting(self, widget: Widget, value: Any) -> Any:
        """Judge a value that waits for a widget about to be made: the value to use, or `REFUSED`.

        Only values that this mirror wrote are judged; what code assigned is the app's own affair.
        """
        with self._lock:
            key = widget.key
            if key not in self._seen or not self._is_ours(widget, value):
                return value
            local = widget.local(self._seen[key])
            if local is REFUSED:
                self.refuse(key, self._seen.pop(key))
                self._in_flight.pop(key, None)
            return local

    def _is_ours(self, widget: Widget, value: Any) -> bool:
        seen = self._seen[widget.key]
        return values.equal(value, seen) or values.equal(_form(widget, value), seen)

    def is_untold(self, key: str) -> bool:
        """Say whether a value was written for `key` that no widget has shown since.

        Streamlit tells the browser of an assignment in the same run only. A widget that comes back later, on a page
        or in a branch that was not drawn, would show its default while the script sees the room's value.
        """
        return key in self._untold or (key in self._seen and key not in self._drawn | self._drawn_now)

    def comes_back(self, widget: Widget) -> None:
        """Note that a widget that was gone is told its value; until it has it, its default is no edit (P1)."""
        with self._lock:
            key = widget.key
            if key in self._seen and key not in self._in_flight:
                default = _form(widget, _default(widget))
                self._in_flight[key] = InFlight([default], values.detach(self._seen[key]))
                self.deliveries += 1

    def drew(self, widget: Widget, value: Any, *, assigned: bool, carried: bool = False) -> None:
        """Learn what a widget shows; the first time, that is its default and nobody's edit (R4).

        Args:
            assigned: code assigned the value.
            carried: the browser brought it along, from an earlier session or with this very edit. Then only what
                differs from the default counts, and it yields to the room.
        """
        with self._lock:
            key = widget.key
            self.widgets[key] = widget
            self._drawn_now.add(key)
            self._untold.discard(key)
            if not widget.settable or not self._shares(key):
                return
            shared = _form(widget, value)
            if shared is REFUSED:
                return
            if self.is_read_only and key not in self._replica and widget.is_default(value):
                self._seen[key] = values.detach(shared)
            elif key in self._seen:
                if key in self._written_now:
                    self._unchecked[key] = values.detach(shared)
            elif assigned or (carried and not widget.is_default(value)):
                self._assigned.add(key)
            else:
                self._seen[key] = values.detach(shared)

    def check_drawn(self, state: Mapping[str, Any]) -> None:
        """Notice widgets that bent the value they were given (P2). Call once the run has drawn them."""
        with self._lock:
            for key, shown in self._unchecked.items():
                widget = self.widgets[key]
                if key not in state or not values.equal(shown, self._seen.get(key)):
                    continue  # code assigned something else: an edit, not a refusal
                current = _form(widget, state[key])
                if current is not REFUSED and not values.equal(current, shown):
                    self.refuse(key, self._seen[key])
                    self._seen[key] = values.detach(current)
                    self._in_flight.pop(key, None)
            self._unchecked = {}

    def cannot_write(self, write: Write, reason: Exception) -> None:
        """Leave out a value that Streamlit does not let us assign, such as one under a reserved key."""
        with self._lock:
            self._refused[write.key] = values.detach(write.shared)
            self._warn(
                write.key, "unwritable", f"the room's value of {write.key!r} cannot be set here: {reason}"
            )

    def refuse(self, key: str, remote: Any) -> None:
        """Keep the room's value and the local one apart until either changes (P2)."""
        with self._lock:
            self._refused[key] = values.detach(remote)
            self._warn(
                key,
                "refused",
                f"the widget {key!r} cannot show the room's value here (out of range, or not among its options); it "
                "shows its own and the room keeps its value.",
            )

    def is_ours(self, key: str) -> bool:
        """Say whether the value that the state holds for `key` was written by this mirror."""
        return key in self._written_now or (
            key in self._seen and key not in self.widgets and key in self._in_room
        )

    def exclude(self, widget: Widget) -> None:
        """Leave out a widget that is drawn outside of the room's block."""
        with self._lock:
            if widget.key not in self._drawn_now:
                self.widgets[widget.key] = replace(widget, settable=False)

    def exclude_key(self, key: str) -> None:
        """Leave out a key of which only this is known: it is a widget's, perhaps drawn before the session was here."""
        if key.startswith(UNKEYED_PREFIX):
            return
        with self._lock:
            self.widgets.setdefault(key, Widget(key, "", "", False, _identity, _identity))

    def forget(self, key: str) -> None:
        """Drop a key that turned out not to be settable here (P6)."""
        with self._lock:
            self._seen.pop(key, None)
            self._in_flight.pop(key, None)

    # -- confirmation --------------------------------------------------------------------------------------------

    @property
    def awaits_confirmation(self) -> bool:
        return bool(self._in_flight)

    def confirm(self, delivery: int | None, message: Message | None, state: Mapping[str, Any]) -> bool:
        """Close deliveries that the browser has (P1): its message holds the value, or the widget is gone.

        A value can miss its widget: a page drops what belongs to a run that a newer one overtook. So a widget that
        still holds the old one needs a run in which it is written once more.

        Args:
            delivery: the number of the delivery that the tab confirms; an older one says nothing.

        Returns:
            Whether a run is needed.
        """
        with self._lock:
            if delivery != self.deliveries or message is None:
                return False
            missed = [key for key in list(self._in_flight) if self._has_missed(key, message, state)]
            if self._in_flight:
                self.deliveries += 1  # ask once more
            return bool(missed)

    def _has_missed(self, key: str, message: Message, state: Mapping[str, Any]) -> bool:
        flight, widget = self._in_flight[key], self.widgets.get(key)
        flight.tries += 1
        holds = widget is not None and message.holds(widget) and key in state
        has_it = holds and widget is not None and values.equal(_form(widget, state[key]), flight.value)
        if has_it or flight.tries >= CONFIRM_TRIES or key not in self._drawn | self._drawn_now:
            del self._in_flight[key]
            return False
        return holds

    def _warn(self, key: str, kind: str, text: str) -> None:
        if (key, kind) not in self._warned:
            self._warned.add((key, kind))
            _log.warning("streamlit-crdt: %s", text)


def _default(widget: Widget) -> Any:
    """Return what `widget` shows untouched; None where its own code cannot say."""
    try:
        return widget.deserialize(None)
    except Exception:
        return None  # as in `Widget.local`: an app's format function may raise anything


def _form(widget: Widget, value: Any) -> Any:
    """Return what travels for `value`, `REFUSED` if nothing does."""
    try:
        return widget.shared(value)
    except ValueNotShareableError:
        return REFUSED


def _identity(value: Any) -> Any:
    return value
