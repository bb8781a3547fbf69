"""What a mirror knows of each key: its widget, the value last seen, and what this run has done with it.

Keys that get a new value on each run, by which sessions would wake each other for ever (P4).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

from streamlit_crdt.binding.text_drafts import TextDrafts
from streamlit_crdt.binding.widgets import REFUSED, Widget
from streamlit_crdt.codec import values
from streamlit_crdt.document.replica import Replica
from streamlit_crdt.errors import ValueUnreadableError
from streamlit_crdt.merge import Rule

VOLATILE_AFTER_ROUNDS: Final = 3
"""So many remote runs in a row that overwrite what they were sent make a key volatile (P4)."""


class Volatility:
    """Counts, for each key, the remote runs in a row that overwrote what they were sent."""

    def __init__(self, memory: KeyStates) -> None:
        self._memory = memory
        self._overwritten_now: set[str] = set()
        self._churn: dict[str, int] = {}
        self._volatile: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self._volatile

    def begin_run(self) -> None:
        self._overwritten_now = set()

    def end_remote_run(self) -> None:
        """Begin anew to count for each key that kept what it was sent."""
        for key in self._memory.written_now - self._overwritten_now:
            self._churn.pop(key, None)

    def start_over(self) -> None:
        self._churn.clear()

    def is_damped(self, key: str, *, remote: bool) -> bool:
        """Say whether an edit of `key` stays here; call once for each edit, which is counted."""
        if not remote or key not in self._memory.written_now or key in self._overwritten_now:
            return key in self._volatile and remote
        self._overwritten_now.add(key)
        self._churn[key] = self._churn.get(key, 0) + 1
        if self._churn[key] >= VOLATILE_AFTER_ROUNDS and key not in self._volatile:
            self._volatile.add(key)
            self._memory.warn(
                key,
                "volatile",
                f"st.session_state[{key!r}] gets a new value on each run, so sessions would wake each other for ever; "
                f"it is now shared only when somebody acts. Make it private: crdt_sync(..., private=[{key!r}]).",
            )
        return key in self._volatile


_log = logging.getLogger("streamlit_crdt")


RuleOf = Callable[[str, Any, str | None], Rule | None]
"""By which rule a value is stored under a key, given the kind of the key's widget; None where the last writer wins."""


class KeyStates:
    """What the parts of a mirror share.

    Attributes:
        replica: the room's content.
        shares: whether a key is shared.
        rule_of: by which rule a value is stored.
        is_read_only: whether the session may only look (rule A1).
        widgets: each widget as it was last drawn, or excluded.
        seen: the value of each key, in shared form, in which state and room last agreed, or which is nobody's edit.
        refused: values of the room that cannot be shown here (P2).
        in_room: keys of which the room has, or had, a value.
        before_sync: first values that came before the room's content was here (R4).
        held_back: keys whose edits wait for the room's content (R4).
        assigned: widgets that code assigned before their first drawing; that is an edit, not a default (R4).
        untold: keys that were written and that no widget has shown since.
        drawn: widgets that former runs drew and that are still there (P3).
        drawn_now: widgets that this run has drawn.
        written_now: keys that this run was sent.
        drafts: which texts were shown, and which of them the page's open drafts were begun on.
        merged: keys that this session edited, and whose value is another one since: it was merged with others' edits.
    """

    def __init__(self, replica: Replica, shares: Callable[[str], bool], rule_of: RuleOf) -> None:
        self.replica = replica
        self.shares = shares
        self.rule_of = rule_of
        self.is_read_only = False
        self.widgets: dict[str, Widget] = {}
        self.seen: dict[str, Any] = {}
        self.refused: dict[str, Any] = {}
        self.in_room: set[str] = set()
        self.before_sync: dict[str, Any] = {}
        self.held_back: set[str] = set()
        self.assigned: set[str] = set()
        self.untold: set[str] = set()
        self.drawn: set[str] = set()
        self.drawn_now: set[str] = set()
        self.written_now: set[str] = set()
        self.merged: set[str] = set()
        self.drafts = TextDrafts()
        self._warned: set[tuple[str, str]] = set()

    def is_drawn(self, key: str) -> bool:
        return key in self.drawn or key in self.drawn_now

    def see(self, key: str, shared: Any) -> None:
        self.seen[key] = values.deep_copy(shared)
        if key in self.widgets:
            self.drafts.note_shown(key, shared)

    def read(self, key: str) -> Any:
        """Return the room's value, `REFUSED` if it cannot be read here; what has no order, in that of the options."""
        try:
            value, widget = self.replica.get(key), self.widgets.get(key)
            return value if widget is None else widget.in_option_order(value)
        except ValueUnreadableError as error:
            self.warn(key, "unreadable", f"the room's value of {key!r} cannot be read here: {error}")
            return REFUSED

    def rule(self, key: str, value: Any) -> Rule | None:
        """Return the merge rule of a key. Two selections that a widget limits together could be too many for it."""
        widget = self.widgets.get(key)
        if widget is None:
            return self.rule_of(key, value, None)
        is_limited = widget.arguments.get("max_selections") is not None
        is_cleared = (
            widget.form is not None and widget.form.clears
        )  # what is sent is no edit of what was sent before
        return self.rule_of(key, value, "" if is_limited or is_cleared else widget.kind)

    def refuse(self, key: str, remote: Any) -> None:
        """Keep the room's value and the local one apart until either changes (P2)."""
        self.refused[key] = values.deep_copy(remote)
        self.warn(
            key,
            "refused",
            f"the widget {key!r} cannot show the room's value here (out of range, or not among its options); it "
            "shows its own and the room keeps its value.",
        )

    def is_refused(self, key: str, remote: Any) -> bool:
        return key in self.refused and values.equal(self.refused[key], remote)

    def forget(self, key: str) -> None:
        """Drop what is known of a widget that is gone for good."""
        for known in (self.widgets, self.seen, self.refused):
            known.pop(key, None)

    def start_over(self, replica: Replica | None) -> None:
        self.replica = self.replica if replica is None else replica
        self.drafts.start_over()
        for known in (self.seen, self.refused, self.before_sync):
            known.clear()
        for keys in (
            self.held_back,
            self.assigned,
            self.in_room,
            self.drawn,
            self.drawn_now,
            self.written_now,
            self.untold,
            self.merged,
        ):
            keys.clear()

    def warn(self, key: str, kind: str, text: str) -> None:
        """Say `text` once for each key and kind."""
        if (key, kind) not in self._warned:
            self._warned.add((key, kind))
            _log.warning("streamlit-crdt: %s", text)
