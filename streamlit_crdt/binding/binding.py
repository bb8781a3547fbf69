"""The mirror as the session's side calls it: the lock, and the order of its parts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Container, Iterable, Mapping
from typing import Any, Final

from streamlit_crdt.binding.form_drafts import FormDrafts
from streamlit_crdt.binding.in_flight import InFlightValues
from streamlit_crdt.binding.inspection import Inspector, VisibleValue
from streamlit_crdt.binding.key_state import KeyStates, RuleOf, Volatility
from streamlit_crdt.binding.local_edits import LocalEdits, PushContext
from streamlit_crdt.binding.remote_writes import RemoteWrites, StateWrite
from streamlit_crdt.binding.widget_registration import WidgetRegistration
from streamlit_crdt.binding.widgets import ClientState, Widget
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.errors import ValueNotShareableError
from streamlit_crdt.merge import MergePolicy

DEFAULT_RULES: Final = MergePolicy()


class StateBinding:
    """The bookkeeping between one session's state and one room's replica. Thread-safe."""

    def __init__(
        self, replica: Replica, shares: Callable[[str], bool], rule_of: RuleOf = DEFAULT_RULES.rule
    ) -> None:
        self._lock = threading.RLock()
        self._memory = KeyStates(replica, shares, rule_of)
        self._deliveries = InFlightValues(self._memory)
        self._volatility = Volatility(self._memory)
        self._fields = FormDrafts(self._memory, self._deliveries)
        self._edits = LocalEdits(self._memory, self._deliveries, self._volatility, self._fields)
        self._plan = RemoteWrites(self._memory, self._deliveries, self._volatility, self._fields)
        self._drawing = WidgetRegistration(self._memory, self._deliveries)
        self._showing = Inspector(self._memory, self._volatility)

    @property
    def widgets(self) -> dict[str, Widget]:
        """Each widget as this session last drew it, live."""
        return self._memory.widgets

    @property
    def is_read_only(self) -> bool:
        """Whether the session may only look (rule A1).

        Then nothing is pushed, and what is changed here is put back to what the room has.
        """
        return self._memory.is_read_only

    @is_read_only.setter
    def is_read_only(self, is_read_only: bool) -> None:
        self._memory.is_read_only = is_read_only

    # -- a run ---------------------------------------------------------------------------------------------------

    def begin_run(self) -> None:
        """Start counting what this run draws and is sent."""
        with self._lock:
            self._drawing.begin_run()
            self._volatility.begin_run()

    def end_run(self, *, complete: bool, remote: bool) -> None:
        """Close a run. Only a complete run tells which widgets are gone (P3)."""
        with self._lock:
            if remote:
                self._volatility.end_remote_run()
            self._drawing.end_run(complete=complete)

    def page_changed(self) -> None:
        """Forget what the former page drew: its keys may come back with values from before it (P3)."""
        with self._lock:
            self._memory.drawn = set()

    def start_over(self, replica: Replica | None = None) -> None:
        """Take nothing in the state for an edit: another room has filled it since.

        Args:
            replica: the room's new content, if the room itself was deleted and begun anew.
        """
        with self._lock:
            self._memory.start_over(replica)
            for part in (self._deliveries, self._volatility, self._drawing, self._fields):
                part.start_over()

    def hold(self, state: Mapping[str, Any]) -> None:
        """Take the plain values in `state` for nobody's edit: the session had them before it was in the room.

        The room's own values go before them. What the room has no value for stays until somebody changes it.
        """
        with self._lock:
            self._edits.hold(state)

    def keys(self) -> set[str]:
        """Return the keys of the session's state that the room has a part in: shared widgets, and plain values."""
        with self._lock:
            memory = self._memory
            known = {*memory.replica, *memory.in_room, *memory.widgets}
            return {key for key in known if memory.shares(key) and self._is_settable(key)}

    def _is_settable(self, key: str) -> bool:
        widget = self._memory.widgets.get(key)
        return widget is None or widget.is_settable

    # -- forms ---------------------------------------------------------------------------------------------------

    def receive(self, states: Container[str], submitted: Collection[str]) -> frozenset[str]:
        """Learn which forms a message of the browser submits; return of which elements it holds an outdated value.

        Args:
            states: ids of the elements of which the message holds a value.
            submitted: ids of the forms.
        """
        with self._lock:
            self._fields.submit(submitted)
            return self._fields.outdated(states)

    def note_unsubmitted(self, element_ids: Iterable[str]) -> None:
        """Learn in which fields of forms the page has drafts (see `fields`)."""
        with self._lock:
            self._fields.note_drafts(element_ids)

    def withholds(self, widget: Widget, value: Any, *, assigned: bool) -> bool:
        """Say whether the page is not to be told of a value that the state holds and that its widget now takes (P7).

        Args:
            assigned: the value was assigned, by code or by this mirror, since the browser's message.
        """
        with self._lock:
            return self._fields.withholds(widget, value, assigned=assigned)

    # -- local edits ---------------------------------------------------------------------------------------------

    def push(
        self,
        state: Mapping[str, Any],
        message: ClientState | None,
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
        with self._lock, self._memory.replica.transaction():
            if at_top and message is not None:
                self._deliveries.receive(state, message)
            if self.is_read_only:
                self._memory.held_back.clear()
                self._fields.settle()
                return []
            return self._edits.push(state, PushContext(message, synced, remote, assigned))

    @property
    def held_back(self) -> frozenset[str]:
        """Keys that were edited here, as the last push found, and wait for the room's content (R4)."""
        with self._lock:
            return frozenset(self._memory.held_back)

    # -- remote edits --------------------------------------------------------------------------------------------

    def plan(self, state: Mapping[str, Any]) -> list[StateWrite]:
        """Return what must be written into `state` for it to show the room. Call after `push`."""
        with self._lock:
            return self._plan.writes(state)

    def wrote(self, write: StateWrite, state: Mapping[str, Any]) -> None:
        """Note that a planned write was made; `state` is the snapshot from before it."""
        with self._lock:
            self._plan.wrote(write, state)

    def cannot_write(self, write: StateWrite, reason: Exception) -> None:
        """Leave out a value that Streamlit does not let us assign, such as one under a reserved key."""
        with self._lock:
            self._plan.cannot_write(write, reason)

    def is_volatile(self, key: str) -> bool:
        """Say whether `key` gets a new value on each run, of which nobody is told any more (rule P4)."""
        with self._lock:
            return key in self._volatility

    def needs_run(self) -> bool:
        """Say whether the room holds a change that this session has not been shown and would use."""
        with self._lock:
            return self._plan.has_news()

    def news(self) -> list[str]:
        """Return the keys of such changes, sorted."""
        with self._lock:
            return self._plan.news()

    def shown(self, state: Mapping[str, Any]) -> dict[str, VisibleValue]:
        """Return what the session shows of each shared key: its drawn widgets, and the plain values in its state."""
        with self._lock:
            return self._showing.shown(state)

    def note_drafts(self, drafts: Mapping[str, tuple[str, int]]) -> None:
        """Learn which texts the page's open drafts were begun on (see `drafts`)."""
        with self._lock:
            self._memory.drafts.note_open(drafts)

    def take_overwritten(
        self, commits: Mapping[str, tuple[str, str]], state: Mapping[str, Any], *, synced: bool
    ) -> None:
        """Take over what was committed in the page, and not sent because something was put over it (see `drafts`).

        Args:
            commits: digest of what it was begun on, and the text, by the class name of the widget.
        """
        if commits and synced and not self.is_read_only:
            with self._lock, self._memory.replica.transaction():
                self._edits.take_overwritten(commits, state)

    @property
    def has_merged(self) -> bool:
        """Whether an edit of this session was merged into something that its script has not been shown."""
        return bool(self._memory.merged)

    def displaced(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return what widgets show that a viewer moved, by key; the next full run puts them back (rule A1)."""
        with self._lock:
            return self._plan.displaced(state)

    # -- widgets -------------------------------------------------------------------------------------------------

    def waiting(self, widget: Widget, value: Any) -> Any:
        """Judge a value that waits for a widget about to be made: the value to use, or `REFUSED`.

        Only values that this mirror wrote are judged; what code assigned is the app's own affair.
        """
        with self._lock:
            return self._drawing.waiting(widget, value)

    def first_value(self, widget: Widget) -> Any:
        """Return the room's value for a widget that was drawn outside of the room until now, `REFUSED` if it has none.

        At the top of the run its key was still that of the other widget, and nothing was written.
        """
        with self._lock:
            return self._drawing.first_value(widget)

    def is_untold(self, key: str) -> bool:
        """Say whether a value was written for `key` that no widget has shown since.

        Streamlit tells the browser of an assignment in the same run only. A widget that comes back later, on a page
        or in a branch that was not drawn, would show its default while the script sees the room's value.
        """
        return self._drawing.is_untold(key)

    def comes_back(self, widget: Widget) -> None:
        """Note that a widget that was gone is told its value; until it has it, its default is no edit (P1)."""
        with self._lock:
            self._drawing.comes_back(widget)

    def forgotten(self, widget: Widget) -> Any:
        """Return what the room has for a widget of which the state holds nothing, and note that it is told that.

        A fragment may leave a widget out in one of its runs and draw it again in another, and Streamlit forgets the
        value meanwhile. A full run finds the key gone and writes it; before a fragment's run nobody does, and the
        widget's default would be taken for an edit (P3). `REFUSED` if there is nothing that it can show.
        """
        with self._lock:
            return self._drawing.forgotten(widget)

    def drew(self, widget: Widget, value: Any, *, assigned: bool, carried: bool = False) -> None:
        """Learn what a widget shows; the first time, that is its default and nobody's edit (R4).

        Args:
            assigned: code assigned the value.
            carried: the browser brought it along, from an earlier session or with this very edit. Then only what
                differs from the default counts, and it yields to the room.
        """
        with self._lock:
            self._drawing.drew(widget, value, assigned=assigned, carried=carried)

    def has_drawn(self, key: str) -> bool:
        """Say whether the present run has drawn the widget of `key`."""
        return key in self._memory.drawn_now

    def check_drawn(self, state: Mapping[str, Any]) -> None:
        """Notice widgets that bent the value they were given (P2). Call once the run has drawn them."""
        with self._lock:
            self._drawing.check_drawn(state)

    def is_ours(self, key: str) -> bool:
        """Say whether the value that the state holds for `key` was written by this mirror."""
        return self._drawing.is_ours(key)

    def exclude(self, widget: Widget) -> None:
        """Leave out a widget that is drawn outside of the room's block."""
        with self._lock:
            self._drawing.exclude(widget)

    def exclude_key(self, key: str) -> None:
        """Leave out a key of which only this is known: it is a widget's, perhaps drawn before the session was here."""
        with self._lock:
            self._drawing.exclude_key(key)

    def forget(self, key: str) -> None:
        """Drop a key that turned out not to be settable here (P6)."""
        with self._lock:
            self._drawing.forget(key)

    # -- confirmation --------------------------------------------------------------------------------------------

    def is_echo(self, key: str | None, state: Mapping[str, Any]) -> bool:
        """Say whether `state` holds what the browser still sends from before a value on its way to `key` (P1)."""
        with self._lock:
            return key is not None and key in state and self._deliveries.is_echo(key, state[key])

    def echoes(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is on its way to widgets of which `state` holds an older value; note that it is written again.

        Call after `push`, before fragments run: their scripts are to see what was delivered, and a widget that they
        draw would be drawn with what the browser still had.
        """
        with self._lock:
            return self._plan.rewrite_echoes(state)

    @property
    def deliveries(self) -> int:
        """The number of the newest delivery, by which the tab confirms it."""
        return self._deliveries.count

    def all_arrived(self) -> None:
        """Close all deliveries: the browser is known to show what was written."""
        with self._lock:
            self._deliveries.start_over()

    @property
    def awaits_confirmation(self) -> bool:
        return len(self._deliveries) > 0

    def confirm(self, delivery: int | None, message: ClientState | None, state: Mapping[str, Any]) -> bool:
        """Close deliveries that the browser has (P1): its message holds the value, or the widget is gone.

        A value can miss its widget: a page drops what belongs to a run that a newer one overtook. So a widget that
        still holds the old one needs a run in which it is written once more.

        Args:
            delivery: the number of the delivery that the tab confirms; an older one says nothing.

        Returns:
            Whether a run is needed.
        """
        with self._lock:
            return self._deliveries.confirm(delivery, message, state)
