"""One simulated session: an AppTest, the session of the library that its script runs in, and its line to the rooms.

A browser's tab wakes its session when there is news for it. An AppTest has no tab, so here is decided when one would.
"""

from __future__ import annotations

from collections.abc import Mapping

from streamlit.testing.v1 import AppTest

from streamlit_crdt import _compat
from streamlit_crdt.binding import VisibleValue, class_of, digest_of
from streamlit_crdt.session.room_session import RoomSession
from streamlit_crdt.session.session import Session
from streamlit_crdt.session.streamlit_hooks import registry
from streamlit_crdt.testing.network import SimulatedNetwork


class SimulatedUser:
    """Somebody who has the app open.

    Attributes:
        app: the page, as a test uses it.
        line: to the rooms.
    """

    def __init__(self, app: AppTest, line: SimulatedNetwork) -> None:
        self.app = app
        self.line = line
        self.key = _compat.key_of_app_test(app)
        self._causes: dict[str, None] = {}
        self._caused_on: object = None
        self._greeted: set[RoomSession] = set()
        self._drafts: dict[str, tuple[str, int]] = {}
        self._draft_count = 0
        self._drafts_on: object = None

    @property
    def session(self) -> Session | None:
        """What the library knows of it; None before its script has come to a room."""
        return registry.get(self.key)

    @property
    def rooms(self) -> tuple[RoomSession, ...]:
        """The rooms that it is in, by its last run."""
        return () if self.session is None else self.session.rooms

    @property
    def _page(self) -> object:
        """What the last run has drawn: another object with each run."""
        return self.app.main if len(self.app) else None

    # -- the line ------------------------------------------------------------------------------------------------

    def cut(self) -> None:
        """Lose the rooms: what is edited from now on stays in the session's replica."""
        self.line.is_cut = True
        for room_session in self.rooms:
            room_session.detach()
            if room_session.tab.status_was_read:
                self._add_causes("its status")

    def heal(self) -> None:
        """Find the rooms again: bring along what was edited, take over what others wrote."""
        self.line.is_cut = False
        for room_session in self.rooms:
            self._rejoin(room_session)

    def _rejoin(self, room_session: RoomSession) -> None:
        was_synced, unsaved = room_session.synced, room_session.connection.door.saving.unsaved_by_cause
        version = room_session.replica.version
        if self.session is not None:
            self.session.attach(room_session)
        if not was_synced or room_session.tab.status_was_read:
            self._add_causes("its status")
        if room_session.tab.shown.wants_run(unsaved):
            self._add_causes("what is saved")
        if room_session.replica.version != version:
            self._note_news(room_session)

    def leave(self) -> None:
        """Close the page."""
        registry.forget(self.key)

    # -- waking --------------------------------------------------------------------------------------------------

    def hear(self) -> list[str]:
        """Take in what others wrote; return what the script is to be run for, nothing if it need not.

        What the session itself wrote does not wake it: its tab has that too, and knows whose it is. But a tab that is
        mounted says hello, and then whatever the session has not been shown counts.
        """
        if self._caused_on is not self._page:
            self._causes.clear()  # its author has run the script
        self._forget_drafts()
        greeted, self._greeted = self._greeted, set(self.rooms)
        for room_session in self.rooms:
            peer = room_session.connection.door.peer
            if peer is None or self.session is None:
                continue
            if peer.is_closed:  # the room has ended, as when it is deleted
                self._rejoin(room_session)
                continue
            with self.session.lock:
                version = room_session.replica.version
                room_session.connection.drain()
                if room_session.replica.version != version or room_session not in greeted:
                    self._note_news(room_session)
        return list(self._causes)

    def _note_news(self, room_session: RoomSession) -> None:
        events = room_session.writer.events.news(room_session.replica)
        self._add_causes(
            *map(self.label, room_session.binding.news()), *(f"the event {name!r}" for name in events)
        )

    def _add_causes(self, *causes: str) -> None:
        self._causes.update(dict.fromkeys(causes))
        self._caused_on = self._page

    def wake(self) -> None:
        """Run the script as the tab would; what somebody is writing in the page stays as it is."""
        self._causes.clear()
        if self.session is None:
            return
        self.session.woke_remotely()
        begun_on = _compat.rerun_app_test(self.app)
        self._drafts_on = self._page
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
        for room_session in self.rooms:
            keys = {widget.element_id: key for key, widget in room_session.binding.widgets.items()}
            open_drafts = {
                class_of(keys[known]): draft for known, draft in self._drafts.items() if known in keys
            }
            room_session.binding.note_drafts(open_drafts)

    def _forget_drafts(self) -> None:
        """Forget drafts once the test has run the script: they are committed, or were a form's and are gone."""
        if self._drafts and self._drafts_on is not self._page:
            self._note_drafts({})

    # -- what can be seen ----------------------------------------------------------------------------------------

    @property
    def failure(self) -> str | None:
        """The first exception in the page, with its traceback."""
        shown = list(self.app.exception)
        return None if not shown else "\n".join([shown[0].message, *shown[0].stack_trace])

    def shown(self, room_session: RoomSession) -> dict[str, VisibleValue]:
        """Return what it shows of a room, by key; what it has just written itself and not read since is left out."""
        shown = room_session.binding.shown(_compat.state_of_app_test(self.app))
        unread = set(room_session.binding.news())
        return {key: one for key, one in shown.items() if key not in unread}

    def label(self, key: str) -> str:
        """Name a key so that its author knows it: a widget without one by its kind and label."""
        widgets = [
            room_session.binding.widgets[key]
            for room_session in self.rooms
            if key in room_session.binding.widgets
        ]
        labels = {getattr(node, "id", None): getattr(node, "label", "") for node in self.app}
        if not key.startswith("crdt:") or not widgets:
            return repr(key)
        return f"the {widgets[0].kind} {labels.get(widgets[0].element_id, '')!r}"
