"""State of each key in one session: one `KeyState` for each key, and the table `KeyStates`.

Widgets and plain values of `st.session_state` have the same record. A rule is a condition on one `KeyState`. Values are
kept in shared form (see `Widget.to_shared_value`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import compress, filterfalse
from operator import is_not
from typing import TYPE_CHECKING, Any, Final

from streamlit_crdt.binding.text_drafts import TextDrafts
from streamlit_crdt.binding.widgets import MULTIPLE, REFUSED, UNKEYED_PREFIX, Widget
from streamlit_crdt.codec.equality import IMMUTABLE, deep_copy, equal
from streamlit_crdt.codec.fingerprint import Fingerprint, PlainFingerprint, fingerprint
from streamlit_crdt.errors import ValueUnreadableError

if TYPE_CHECKING:
    from streamlit_crdt.access.room_context import RoomContext
    from streamlit_crdt.document.replica import Replica
    from streamlit_crdt.merge import Rule

VOLATILE_AFTER_ROUNDS: Final = 3
"""A key is volatile when this number of runs that no person caused overwrote the value that they received (P4)."""

_log = logging.getLogger("streamlit_crdt")


class Absent:
    """The type of `ABSENT`: there is no value."""

    def __repr__(self) -> str:
        return "nothing"


ABSENT: Final = Absent()


class Removed:
    """The type of `REMOVED`: code removed the key from session state."""

    def __repr__(self) -> str:
        return "removed"


REMOVED: Final = Removed()

SCALARS: Final = frozenset({type(None), bool, int, str})
"""Immutable types that are their own shared value. For two values of one such type, `==` is `equal`."""


@dataclass(slots=True)
class InFlightValue:
    """A written value that the browser has not confirmed (P1).

    Attributes:
        before: values that the browser may still send, the oldest first.
        tries: confirmations that did not contain the value.
    """

    before: list[Any]
    value: Any
    tries: int = 0

    def replaces(self, shared: Any) -> bool:
        """Return whether the browser may send `shared` because it does not have this value yet."""
        return any(equal(shared, former) for former in self.before)


@dataclass(slots=True, eq=False)
class KeyState:
    """State of one key in one session.

    Attributes:
        is_shared: the key filter of the room includes the key (P8).
        is_unkeyed: the key is generated, for a widget without a `key`.
        widget: the widget as registered last, or excluded from the room; None for a plain value.
        last_seen: the value in which session state and room last agreed, or a default (R4).
        refused: the room's value, which cannot be shown here (P2).
        value_before_sync: the plain value before the first sync (R4).
        in_flight: the written value that the browser has not confirmed (P1).
        held: the value that code made and that no person has confirmed, or `REMOVED` (R9).
        list_seen: the list in session state as of the last push or remote write, itself and not a copy (R9).
        withheld: the value that the browser shows in a form field, instead of `last_seen` (P7).
        unchecked: the value that the widget showed when it registered after a remote write in this run (P2).
        room_value: the room's value if it is immutable and did not change since it was read.
        is_in_room: the room has a value, or had one at the last run.
        is_held_back: a local edit waits for the first sync (R4).
        is_assigned: code assigned the value before the widget first registered. That is an edit, not a default (R4).
        is_unshown: a value was written, and the widget has not registered since.
        is_registered: the widget registered in this run, or in the last complete run (P3).
        is_registered_now: the widget registered in this run.
        is_written_now: a remote value was written in this run.
        is_unread: a remote value was written, and no full run was complete since (R9).
        is_from_callback: a callback of this run changed the value (R9).
        is_computed: a run without a click changed the value, which another session does alike (R9).
        overwritten_runs: number of runs in a row, each not by a person, that overwrote a remote value (P4).
        is_merged: the room merged a local edit, so that its value differs from the one that the script has.
        is_submitted: the form of the widget was submitted, and no push has read the value since (P7).
    """

    key: str
    is_shared: bool
    is_unkeyed: bool
    widget: Widget | None = None
    last_seen: Any = ABSENT
    refused: Any = ABSENT
    value_before_sync: Any = ABSENT
    in_flight: InFlightValue | None = None
    held: Any = ABSENT
    list_seen: Any = None
    withheld: Any = ABSENT
    unchecked: Any = ABSENT
    room_value: Any = ABSENT
    is_in_room: bool = False
    is_held_back: bool = False
    is_assigned: bool = False
    is_unshown: bool = False
    is_registered: bool = False
    is_registered_now: bool = False
    is_written_now: bool = False
    is_unread: bool = False
    is_from_callback: bool = False
    is_computed: bool = False
    overwritten_runs: int = 0
    is_merged: bool = False
    is_submitted: bool = False

    @property
    def is_bindable(self) -> bool:
        """True if the room and session state share this key: a plain value, or a widget that code can set (P6)."""
        return self.is_shared and (self.widget is None or self.widget.is_settable)

    @property
    def is_field(self) -> bool:
        """True if the key belongs to a field of a form (P7)."""
        return self.widget is not None and self.widget.form is not None

    @property
    def is_hidden(self) -> bool:
        """True if the key belongs to a widget that is not on the page (P3)."""
        return self.is_unkeyed if self.widget is None else not self.is_registered

    @property
    def needs_delivery(self) -> bool:
        """True if the browser lacks the value.

        Streamlit sends an assignment to the browser only if the widget registers in the same run. A widget that returns
        in a later run would show its default, while the script reads the room's value.
        """
        return self.is_unshown or (self.last_seen is not ABSENT and not self.is_registered)

    def is_refused(self, remote: Any) -> bool:
        return self.refused is not ABSENT and equal(self.refused, remote)

    def shows(self, value: Any, shared: Any) -> bool:
        """Return whether `value` in session state is the shared value `shared`."""
        return equal(value if self.widget is None else self.widget.shared_or_refused(value), shared)

    def is_echo(self, value: Any) -> bool:
        """Return whether session state has a value from before the one in flight (P1)."""
        if self.in_flight is None or self.widget is None:
            return False
        shared = self.widget.shared_or_refused(value)
        return self.in_flight.replaces(shared) and not equal(shared, self.in_flight.value)

    @property
    def is_disposable(self) -> bool:
        """True if the record has no content."""
        values = (
            self.last_seen,
            self.refused,
            self.value_before_sync,
            self.held,
            self.withheld,
            self.unchecked,
        )
        flags = (self.is_in_room, self.is_assigned, self.is_unshown, self.is_written_now, self.is_merged)
        return (
            self.widget is None
            and self.in_flight is None
            and all(value is ABSENT for value in values)
            and not any(flags)
            and not (self.overwritten_runs or self.is_submitted)
        )


_KEPT_WHEN_PARKED: Final = frozenset(
    {
        "key",
        "is_shared",
        "is_unkeyed",
        "last_seen",
        "list_seen",
        "is_computed",
        "room_value",
        "is_in_room",
        "is_unshown",
    }
)
_DEFAULTS: Final = {
    each.name: each.default for each in fields(KeyState) if each.name not in _KEPT_WHEN_PARKED
}


class KeyStates(dict[str, KeyState]):
    """Key states of one session in one room, by key. An access to a missing key creates its state.

    A state in which nothing is open is *parked*: session state and room have the same value. Loops over the states omit
    it, so that a run takes time in proportion to what changes. Any access by key returns it to the others.

    Not thread-safe: `StateBinding` holds a lock. A loop that calls code of the app, such as a `format_func`, iterates a
    copy: that code may add keys.

    Attributes:
        replica: the session's replica of the room. No other binding may have it.
        context: key filter and merge rules.
        is_read_only: the session is a viewer. It pushes nothing, and its local changes are reverted (rule A1).
        delivery: number of the newest value in flight. The tab confirms by this number (P1).
        has_fields: the session has seen a form field. Before that, `form_drafts` has nothing to do.
        unsubmitted_elements: element ids of the form fields with a draft (P7).
        drafts: the texts that drafts began with.
        appended: the keys whose list in session state is that of the room and of `last_seen` with appended items, as of
            the last `open_values`: the fingerprint without these, and their number.
    """

    def __init__(self, replica: Replica, context: RoomContext) -> None:
        super().__init__()
        self.replica = replica
        self.context = context
        self.is_read_only = context.is_read_only
        self.delivery = 0
        self.has_fields = False
        self.unsubmitted_elements: set[str] = set()
        self.drafts = TextDrafts()
        self._warned: set[tuple[str, str]] = set()
        self._parked: dict[str, KeyState] = {}
        self._parked_values: dict[str, Any] = {}
        self._fingerprints: dict[str, Fingerprint] = {}
        self.appended: dict[str, tuple[PlainFingerprint, int]] = {}
        self._reviewed: dict[str, Any] = {}
        self._stateless: set[str] = set()
        self._must_scan = True

    def __missing__(self, key: str) -> KeyState:
        if key in self._parked:
            del self._parked_values[key]
            self._fingerprints.pop(key, None)
            state = self[key] = self._parked.pop(key)
            return state
        is_shared = self.context.key_filter.shares(key)
        state = self[key] = KeyState(key, is_shared, key.startswith(UNKEYED_PREFIX))
        return state

    def set_context(self, context: RoomContext) -> None:
        is_refiltered = context.key_filter != self.context.key_filter
        self.context, self.is_read_only = context, context.is_read_only
        if is_refiltered:
            self._unpark_all()
            for state in self.values():
                state.is_shared = context.key_filter.shares(state.key)

    def start_over(self, replica: Replica | None) -> None:
        """Forget all values. The widgets stay."""
        self.replica = self.replica if replica is None else replica
        self.drafts.start_over()
        self._unpark_all()
        former = list(self.values())
        self.clear()
        for state in former:
            if state.widget is not None:
                self[state.key].widget = state.widget

    def forget_widget(self, state: KeyState) -> None:
        """Forget a widget that does not return. Its key is not in the room."""
        state.widget = state.in_flight = None
        state.last_seen = state.refused = ABSENT
        self.discard_if_empty(state)

    def discard_if_empty(self, state: KeyState) -> None:
        """Discard a record without content, so that keys that a script uses once do not accumulate."""
        if state.is_disposable and state.key not in self.replica:
            self.pop(state.key, None)
            self._reviewed = {}

    # -- parked states -------------------------------------------------------------------------------------------

    def park(self, state: KeyState, value: Any, known: Fingerprint | None = None) -> None:
        """Park a state if nothing is open for it.

        Args:
            value: the value in session state. The room's value and `last_seen` are equal.
            known: its fingerprint if it is known.
        """
        is_settled = (
            state.is_shared
            and state.is_in_room
            and not state.is_unkeyed
            and all(getattr(state, name) is default for name, default in _DEFAULTS.items())
        )
        if not is_settled:
            return
        if type(value) not in IMMUTABLE:
            found = known or fingerprint(value)
            if found is None:
                return
            self._fingerprints[state.key] = found
        self.pop(state.key, None)
        self._parked[state.key] = state
        self._parked_values[state.key] = value

    def open_values(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values in session state whose states are not parked, in no particular order.

        The parked states whose value has changed are not parked any more.
        """
        self.appended.clear()
        last = self._reviewed
        has_same_keys = len(values) == len(last) and list(values) == list(last)
        if has_same_keys:
            changed = list(compress(values, map(is_not, values.values(), last.values())))
        else:
            changed = list(self._parked)
        for key in {*changed, *self._fingerprints}:
            if key in self._parked and self._is_changed(key, values.get(key, ABSENT)):
                self[key]
        if has_same_keys:
            last.update((key, values[key]) for key in changed)
            self._stateless = {key for key in self._stateless if key not in self and key not in self._parked}
            return {key: values[key] for key in (*self, *self._stateless) if key in values}
        self._reviewed = dict(values)
        open_values = {key: values[key] for key in filterfalse(self._parked.__contains__, values)}
        self._stateless = {key for key in open_values if key not in self}
        return open_values

    def _is_changed(self, key: str, value: Any) -> bool:
        """Return whether a parked value has changed. Another list counts as changed, for `KeyState.list_seen`."""
        is_other = value is not self._parked_values[key]
        known = self._fingerprints.get(key)
        if known is None or (is_other and type(value) is list):
            return is_other
        if not known.matches(value):
            if isinstance(known, PlainFingerprint) and (count := known.count_appended(value)):
                self.appended[key] = (known, count)
            return True
        self._parked_values[key] = value
        return False

    def _unpark_all(self) -> None:
        self.update(self._parked)
        self._parked.clear()
        self._parked_values.clear()
        self._fingerprints.clear()
        self._reviewed = {}
        self._must_scan = True

    # -- views ---------------------------------------------------------------------------------------------------

    def widgets(self) -> dict[str, Widget]:
        """Return each widget as this session registered it last, by key."""
        return {state.key: state.widget for state in self.values() if state.widget is not None}

    def bound_keys(self) -> set[str]:
        """Return the keys of session state that have, or can have, a value in the room."""
        self._unpark_all()
        known = {state.key for state in self.values() if state.is_in_room or state.widget is not None}
        return {key for key in known.union(self.replica) if self[key].is_bindable}

    def held_back(self) -> frozenset[str]:
        """Return the keys with a local edit that waits for the first sync, as of the last push (R4)."""
        return frozenset(state.key for state in self.values() if state.is_held_back)

    @property
    def has_merged(self) -> bool:
        """True if the room merged a local edit, and the script has not seen the result."""
        return any(state.is_merged for state in self.values())

    @property
    def pending_delivery(self) -> int | None:
        """The number that the tab has to confirm (P1); None if no value is in flight."""
        return self.delivery if any(state.in_flight is not None for state in self.values()) else None

    # -- values --------------------------------------------------------------------------------------------------

    def take_changes(self, *, own: str | None = None) -> None:
        """Discard the room values that have changed, so that `read` reads them again.

        Args:
            own: a key of which this session has made the last change and knows the value.
        """
        changed = self.replica.take_changed()
        if self._must_scan:
            self._must_scan = False
            changed |= set(self.replica)
        for key in changed - {own}:
            self.appended.pop(key, None)
            if key in self or key in self._parked or key in self.replica:
                self[key].room_value = ABSENT

    def room_keys(self) -> list[str]:
        """Return the sorted keys that the room has, except those of parked states. Call it after `take_changes`."""
        return sorted(filter(self.replica.__contains__, self))

    def read(self, state: KeyState) -> Any:
        """Return the room's value, a multiple selection in the order of the options.

        An immutable value is that of the last `take_changes`. Other values are read again: the class of an Enum member
        is a new object in each script run. Returns `REFUSED`, and warns once, if the value cannot be decoded here.
        """
        if state.room_value is not ABSENT:
            return state.room_value
        try:
            value = self.replica.get(state.key)
        except ValueUnreadableError as error:
            self.warn(state, "unreadable", f"the room's value of {state.key!r} cannot be read here: {error}")
            return REFUSED
        if type(value) in IMMUTABLE:
            state.room_value = value
        if state.widget is not None and state.widget.kind in MULTIPLE:
            return state.widget.in_option_order(value)
        return value

    def rule(self, state: KeyState, value: Any) -> Rule | None:
        """Return the merge rule of a key.

        A selection with `max_selections` has none: two merged selections could exceed the limit. Neither has a field of
        a form with `clear_on_submit`: a submit is not an edit of the submit before it.
        """
        widget = state.widget
        if widget is None:
            return self.context.rule(state.key, value, None, self.replica.rule_name(state.key))
        is_limited = widget.arguments.get("max_selections") is not None
        is_cleared = widget.form is not None and widget.form.clears
        kind = "" if is_limited or is_cleared else widget.kind
        return self.context.merge_policy.rule(state.key, value, kind)

    def see(self, state: KeyState, shared: Any) -> None:
        """Set `last_seen`. A value that was held is replaced, or is in the room now."""
        state.held = ABSENT
        state.last_seen = shared if type(shared) in SCALARS else deep_copy(shared)
        if state.widget is not None and type(shared) is str:
            self.drafts.note_shown(state.key, shared)

    def refuse(self, state: KeyState, remote: Any) -> None:
        """Keep the room's value and the local value different until one of them changes (P2)."""
        state.refused = deep_copy(remote)
        self.warn(
            state,
            "refused",
            f"the widget {state.key!r} cannot show the room's value here (out of range, or not among its options); "
            "it shows its own and the room keeps its value.",
        )

    def hold(self, state: KeyState, value: Any) -> None:
        """Keep a value that code made in a run that no person caused in this session (R9).

        Args:
            value: the value, or `REMOVED`.
        """
        is_first = state.held is ABSENT
        state.held = value if value is REMOVED or type(value) in SCALARS else deep_copy(value)
        if not (state.is_written_now and is_first):
            return
        state.overwritten_runs += 1
        if state.overwritten_runs >= VOLATILE_AFTER_ROUNDS:
            self.warn(
                state,
                "volatile",
                f"st.session_state[{state.key!r}] gets a new value on each run, so each session shows another one; "
                "it is shared only after a user action. "
                f"Make it private: crdt_sync(..., private=[{state.key!r}]).",
            )

    def warn(self, state: KeyState, kind: str, text: str) -> None:
        """Log `text` once for each key and kind."""
        if (state.key, kind) not in self._warned:
            self._warned.add((state.key, kind))
            _log.warning("streamlit-crdt: %s", text)
