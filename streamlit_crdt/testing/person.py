"""One simulated session: an AppTest, the session of the library that its script runs in, and its line to the rooms.

A browser's tab wakes its session when there is news for it. An AppTest has no tab, so here is decided when one would.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamlit.testing.v1 import AppTest

from streamlit_crdt import _compat
from streamlit_crdt.binding import Binding
from streamlit_crdt.mirror import Shown, class_of, digest_of
from streamlit_crdt.registry import registry
from streamlit_crdt.session import Session
from streamlit_crdt.testing.line import Line


class Person:
    """Somebody who has the app open.

    Attributes:
        app: the page, as a test uses it.
        line: to the rooms.
    """

    def __init__(self, app: AppTest, line: Line) -> None:
        self.app = app
        self.line = line
        self.key = _compat.key_of_app_test(app)
        self._causes: dict[str, None] = {}
        self._drafts: dict[str, tuple[str, int]] = {}
        self._draft_count = 0
        self._page: object = None

    @property
    def session(self) -> Session | None:
        """What the library knows of it; None before its script has come to a room."""
        return registry.get(self.key)

    @property
    def rooms(self) -> tuple[Binding, ...]:
        """The rooms that it is in, by its last run."""
        return () if self.session is None else self.session.rooms

    # -- the line ------------------------------------------------------------------------------------------------

    def cut(self) -> None:
        """Lose the rooms: what is edited from now on stays in the session's replica."""
        self.line.is_cut = True
        for binding in self.rooms:
            binding.detach()
            if binding.tab.status_was_read:
                self._causes["its status"] = None

    def heal(self) -> None:
        """Find the rooms again: bring along what was edited, take over what others wrote."""
        self.line.is_cut = False
        for binding in self.rooms:
            self._rejoin(binding)

    def _rejoin(self, binding: Binding) -> None:
        was_synced, unsaved = binding.synced, binding.way.door.saving.unsaved_by_cause
        version = binding.replica.version
        if self.session is not None:
            self.session.attach(binding)
        if not was_synced or binding.tab.status_was_read:
            self._causes["its status"] = None
        if binding.tab.shown.wants_run(unsaved):
            self._causes["what is saved"] = None
        if binding.replica.version != version:
            self._note_news(binding)

    def leave(self) -> None:
        """Close the page."""
        registry.forget(self.key)

    # -- waking --------------------------------------------------------------------------------------------------

    def hear(self) -> list[str]:
        """Take in what others wrote; return what the script is to be run for, nothing if it need not.

        What the session itself wrote does not wake it: its tab has that too, and knows whose it is.
        """
        self._forget_drafts()
        for binding in self.rooms:
            peer = binding.way.door.peer
            if peer is None or self.session is None:
                continue
            if peer.is_closed:  # the room has ended, as when it is deleted
                self._rejoin(binding)
                continue
            with self.session.lock:
                version = binding.replica.version
                binding.way.drain()
                if binding.replica.version != version:
                    self._note_news(binding)
        return list(self._causes)

    def _note_news(self, binding: Binding) -> None:
        self._causes.update(dict.fromkeys(map(self.label, binding.mirror.news())))
        events = binding.writing.events.news(binding.replica)
        self._causes.update(dict.fromkeys(f"the event {name!r}" for name in events))

    def wake(self) -> None:
        """Run the script as the tab would; what somebody is writing in the page stays as it is."""
        self._causes.clear()
        if self.session is None:
            return
        self.session.woke_remotely()
        begun_on = _compat.rerun_app_test(self.app)
        self._page = self.app.main
        self._note_drafts(begun_on)

    # -- drafts --------------------------------------------------------------------------------------------------

    def _note_drafts(self, begun_on: Mapping[str, str]) -> None:
        """Tell the session on which texts the page's drafts were begun, as its tab would (see `mirror.drafts`)."""
        for element_id in [known for known in self._drafts if known not in begun_on]:
            del self._drafts[element_id]
        for element_id, text in begun_on.items():
            if element_id not in self._drafts:
                self._draft_count += 1
                self._drafts[element_id] = (digest_of(text), self._draft_count)
        for binding in self.rooms:
            keys = {widget.element_id: key for key, widget in binding.mirror.widgets.items()}
            open_drafts = {
                class_of(keys[known]): draft for known, draft in self._drafts.items() if known in keys
            }
            binding.mirror.note_drafts(open_drafts)

    def _forget_drafts(self) -> None:
        """Forget drafts once the test has run the script: they are committed, or were a form's and are gone."""
        if self._drafts and self._page is not self.app.main:
            self._note_drafts({})

    # -- what can be seen ----------------------------------------------------------------------------------------

    @property
    def failure(self) -> str | None:
        """The first exception in the page, with its traceback."""
        shown = list(self.app.exception)
        return None if not shown else "\n".join([shown[0].message, *shown[0].stack_trace])

    def shown(self, binding: Binding) -> dict[str, Shown]:
        """Return what it shows of a room, by key; what it has just written itself and not read since is left out."""
        shown = binding.mirror.shown(_compat.state_of_app_test(self.app))
        unread = set(binding.mirror.news())
        return {key: one for key, one in shown.items() if key not in unread}

    def label(self, key: str) -> str:
        """Name a key so that its author knows it: a widget without one by its kind and label."""
        widgets = [binding.mirror.widgets[key] for binding in self.rooms if key in binding.mirror.widgets]
        labels = {getattr(node, "id", None): getattr(node, "label", "") for node in self.app}
        if not key.startswith("crdt:") or not widgets:
            return repr(key)
        return f"the {widgets[0].kind} {labels.get(widgets[0].element_id, '')!r}"
